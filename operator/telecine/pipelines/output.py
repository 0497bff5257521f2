"""What a handler prints, as lines: cut, counted, without secrets."""

from __future__ import annotations

import re
from collections.abc import Collection

LINE_BYTES = 8 << 10
ASSET_BYTES = 1 << 20
_MASK = b"***"
_BREAK = re.compile(rb"\r\n|\n|\r(?=.)", re.DOTALL)


class Masking:
    """Puts `***` in the place of secrets."""

    def __init__(self, secrets: Collection[str]) -> None:
        """`secrets`: every form in which one may be written."""
        forms = sorted({s.encode("utf-8", "surrogateescape") for s in secrets}, key=len)
        self.longest = len(forms[-1]) if forms else 0
        self._pattern = re.compile(b"|".join(re.escape(f) for f in reversed(forms)))
        self._none = not forms

    def masked(self, data: bytes, length: int) -> bytes:
        """The first bytes, up to `length`; a secret that begins there counts as a whole."""
        if self._none:
            return data[:length]
        out, position = bytearray(), 0
        for match in self._pattern.finditer(data):
            if match.start() >= length:
                break
            out += data[position : match.start()] + _MASK
            position = match.end()
        return bytes(out + data[position:length])

    def text(self, text: str) -> str:
        """A whole text."""
        data = text.encode("utf-8", "surrogateescape")
        return self.masked(data, len(data)).decode(errors="replace")


class Output:
    """The output of one runner, of one asset after another."""

    def __init__(self, masking: Masking) -> None:
        self._masking = masking
        self._buffer = bytearray()
        self._skipping = False
        self._left = ASSET_BYTES

    def begin(self) -> None:
        """What comes now is another asset's."""
        self._buffer.clear()
        self._skipping, self._left = False, ASSET_BYTES

    def feed(self, data: bytes) -> list[str]:
        """The lines that are whole with this, at most 8 KiB each and 1 MiB in all."""
        if self._left <= 0:
            return []
        self._buffer += data
        lines: list[str] = []
        position = 0
        for found in _BREAK.finditer(bytes(self._buffer)):
            self._end_line(bytes(self._buffer[position : found.start()]), lines)
            position = found.end()
        del self._buffer[:position]
        if self._skipping:
            self._buffer.clear()
        elif len(self._buffer) > LINE_BYTES + self._masking.longest:
            self._tell(bytes(self._buffer), lines)
            self._buffer.clear()
            self._skipping = True
        return lines

    def flush(self) -> list[str]:
        """The last line, which has no end."""
        lines: list[str] = []
        if self._buffer:
            self._end_line(bytes(self._buffer), lines)
            self._buffer.clear()
        return lines

    def _end_line(self, line: bytes, lines: list[str]) -> None:
        if not self._skipping:
            self._tell(line, lines)
        self._skipping = False

    def _tell(self, line: bytes, lines: list[str]) -> None:
        if self._left <= 0:
            return
        shown = self._masking.masked(line, LINE_BYTES)
        self._left -= len(shown) + 1
        if self._left <= 0:
            lines.append(f"[it printed more than {ASSET_BYTES >> 20} MiB; the rest is left out]")
            return
        text = shown.decode(errors="replace")
        if len(line) > LINE_BYTES:
            text += f" [the line goes on; cut at {LINE_BYTES >> 10} KiB]"
        lines.append(text)

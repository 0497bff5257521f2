"""Frames between host, supervisor and runner: two lengths, a JSON header, raw bytes.

No input or output here: bytes in, frames out. The reader trusts nothing.
"""

from __future__ import annotations

import json
import struct
from typing import Any, NamedTuple

_LENGTHS = struct.Struct("<II")
MOST_HEADER = 4 << 20
MOST_BLOB = 64 << 20
READ_BYTES = 1 << 18


class WireError(ValueError):
    """What came is no frame."""


class Frame(NamedTuple):
    """One message."""

    kind: str
    fields: dict[str, Any]
    blob: bytes


def encode(kind: str, fields: dict[str, Any] | None = None, blob: bytes = b"") -> bytes:
    """The bytes of one frame.

    Raises:
        WireError: it is longer than a reader would take.
        TypeError, ValueError: the fields are not JSON.
    """
    header = json.dumps([kind, fields or {}], allow_nan=False, separators=(",", ":")).encode()
    if len(header) > MOST_HEADER or len(blob) > MOST_BLOB:
        raise WireError(f"a frame of {len(header):,} and {len(blob):,} bytes is too long")
    return _LENGTHS.pack(len(header), len(blob)) + header + blob


class Frames:
    """Takes bytes as they come and gives whole frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that are whole with this.

        Raises:
            WireError: it is no frame, or longer than any honest one.
        """
        self._buffer += data
        found: list[Frame] = []
        while len(self._buffer) >= _LENGTHS.size:
            header, blob = _LENGTHS.unpack_from(self._buffer)
            if header > MOST_HEADER or blob > MOST_BLOB:
                raise WireError(f"a frame of {header:,} and {blob:,} bytes")
            middle = _LENGTHS.size + header
            if len(self._buffer) < middle + blob:
                break
            kind, fields = _header(bytes(self._buffer[_LENGTHS.size : middle]))
            found.append(Frame(kind, fields, bytes(self._buffer[middle : middle + blob])))
            del self._buffer[: middle + blob]
        return found


def _header(text: bytes) -> tuple[str, dict[str, Any]]:
    try:
        value = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise WireError(f"no header: {error}") from error
    match value:
        case [str(kind), dict(fields)]:
            return kind, fields
    raise WireError("a header without a kind")


def _no_number(name: str) -> float:
    raise WireError(f"{name} is no JSON")

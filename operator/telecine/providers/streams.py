"""Content on its way from a source."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import BinaryIO, cast

_BUFFER = 1 << 16


class CheckedStream(io.RawIOBase):
    """Raw bytes from a function, whose faults the function has made `ProviderError`s."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        super().__init__()
        self._read = read

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        piece = self._read(len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)


def buffered(read: Callable[[int], bytes]) -> BinaryIO:
    """A readable, unseekable stream; `read(n)` gives at most n bytes and none at the end."""
    return cast("BinaryIO", io.BufferedReader(CheckedStream(read), _BUFFER))

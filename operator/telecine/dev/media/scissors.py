"""What broken media are cut from: a good film, a good photograph, and the boxes of MP4."""

from __future__ import annotations

import struct
import tempfile
import zlib
from collections.abc import Iterable
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

from telecine.dev.media import filming, photos

SENTENCE = "The lighthouse keeper counts the ships every night."
"""What is said in the good film, from second 0.5 on."""


@cache
def film_bytes(ending: str = ".mp4", *, sound: bool = True, index_first: bool = False) -> bytes:
    """The good film: 4 seconds of 320x180, two photographs, one sentence."""
    shots = [filming.Shot(photos.photograph(name), 2.0, zoom=1.2) for name in ("cat", "rocket")]
    said = [filming.Sentence(SENTENCE, 0.5)] if sound else []
    style = filming.Style(size=(320, 180), key_frame_every=1.0, index_first=index_first)
    with tempfile.TemporaryDirectory(prefix="telecine-media-") as folder:
        path = Path(folder) / f"good{ending}"
        filming.film(path, shots, said, style)
        return path.read_bytes()


@cache
def sound_bytes(ending: str) -> bytes:
    """The good film's sentence alone."""
    with tempfile.TemporaryDirectory(prefix="telecine-media-") as folder:
        path = Path(folder) / f"good{ending}"
        filming.sound(path, [filming.Sentence(SENTENCE, 0.5)], 4.0)
        return path.read_bytes()


def photo_bytes(form: str, mode: str = "RGB", **options: Any) -> bytes:
    """The good photograph, 451x300, saved by Pillow in this format and mode."""
    if form == "HEIF":
        import pillow_heif

        pillow_heif.register_heif_opener()
    target = BytesIO()
    photos.photograph("cat").convert(mode).save(target, form, **options)
    return target.getvalue()


def box(data: bytes, *path: bytes) -> tuple[int, int]:
    """First byte (of the header) and end of the first box at this path, like moov, trak, tkhd.

    Raises:
        ValueError: there is none.
    """
    start, end = 0, len(data)
    for name in path:
        at = start
        while at + 8 <= end and data[at + 4 : at + 8] != name:
            at += max(8, int.from_bytes(data[at : at + 4], "big"))
        if at + 8 > end:
            raise ValueError(f"there is no box {name!r} in {path}")
        end = at + int.from_bytes(data[at : at + 4], "big")
        start = at + 8
    return start - 8, end


def patched(data: bytes, at: int, new: bytes) -> bytes:
    """The data with the bytes at this place replaced by as many others."""
    return data[:at] + new + data[at + len(new) :]


def renamed(data: bytes, old: bytes, new: bytes) -> bytes:
    """The data with every four-letter name `old` replaced.

    Raises:
        ValueError: the name is nowhere, or the two differ in length.
    """
    if old not in data or len(old) != len(new):
        raise ValueError(f"cannot replace {old!r} by {new!r}")
    return data.replace(old, new)


def png(
    width: int,
    height: int,
    rows: bytes,
    *,
    depth: int = 8,
    colour: int = 0,
    chunks: Iterable[tuple[bytes, bytes]] = (),
) -> bytes:
    """A PNG whose header, rows (already compressed) and further chunks need not agree."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", rows), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, body) for name, body in parts)


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


@cache
def zeros(count: int) -> bytes:
    """This many zero bytes, compressed by zlib."""
    packer, piece = zlib.compressobj(9), bytes(1 << 20)
    pieces = [packer.compress(piece) for _ in range(count >> 20)]
    return b"".join([*pieces, packer.compress(bytes(count & 0xFFFFF)), packer.flush()])

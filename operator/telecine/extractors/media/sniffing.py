"""Which decoder an asset is given to, told from its first bytes and never from its name.

The list says what is allowed; everything else is refused, with what it looks like. Playlists and
documents that point elsewhere are refused by name: the media they name may be local files.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

from telecine.extractors.media.faults import MediaError

HEAD = 8192
"""Bytes from the start that are looked at."""

ReadAt = Callable[[int, int], bytes]
"""Reads `(count, offset)`; shorter at the end of the asset."""


class Form(NamedTuple):
    """What an asset is decoded as."""

    kind: Literal["film", "picture"]
    """Sound is a film without pictures here: both go to the same decoder."""
    format: str
    """Name of libavformat's demuxer or of Pillow's format."""


_FILM = {
    b"\x1aE\xdf\xa3": "matroska",
    b"OggS": "ogg",
    b"fLaC": "flac",
    b"FLV\x01": "flv",
    b"0&\xb2u\x8ef\xcf\x11": "asf",
    b"\x00\x00\x01\xba": "mpeg",
    b"\x06\x0e+4\x02\x05\x01\x01\r\x01\x02\x01": "mxf",
    b"caff\x00\x01": "caf",
    b"#!AMR": "amr",
    b".snd": "au",
    b"wvpk": "wv",
    b"\x0bw": "ac3",
    b"DKIF\x00\x00": "ivf",
    b"RF64": "wav",
    b"BW64": "wav",
}
_PICTURES = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"II*\x00": "TIFF",
    b"MM\x00*": "TIFF",
    b"II+\x00": "TIFF",
    b"MM\x00+": "TIFF",
    b"\x00\x00\x00\x0cjP  \r\n\x87\n": "JPEG2000",
    b"\xff\x4f\xff\x51": "JPEG2000",
}
_RIFF = {
    b"WAVE": Form("film", "wav"),
    b"AVI ": Form("film", "avi"),
    b"WEBP": Form("picture", "WEBP"),
}
_HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_MOV_BOXES = frozenset({b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"moof"})

_POINTERS = (
    (b"#extm3u", "an HLS or M3U playlist"),
    (b"#ext-x-", "an HLS playlist"),
    (b"ffconcat", "an ffconcat playlist"),
    (b"[playlist]", "a PLS playlist"),
    (b"[reference]", "an ASX playlist"),
    (b"v=0", "an SDP session description"),
    (b"<svg", "an SVG drawing"),
    (b"<mpd", "a DASH manifest"),
    (b"<smoothstreamingmedia", "a Smooth Streaming manifest"),
    (b"<playlist", "an XSPF playlist"),
    (b"<asx", "an ASX playlist"),
    (b"<smil", "a SMIL presentation"),
    (b"<imf", "an IMF composition"),
    (b"<compositionplaylist", "an IMF composition"),
    (b"rtsp://", "a list of addresses"),
    (b"http://", "a list of addresses"),
    (b"https://", "a list of addresses"),
    (b"file ", "a concat list"),
    (b"file:", "a list of addresses"),
)
_OTHERS = (
    (b"%PDF-", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive or office document"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"Rar!", "a RAR archive"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
    (b"%!PS", "a PostScript document"),
    (b"8BPS", "a Photoshop document"),
    (b"MThd", "MIDI notes"),
    (b".RMF", "RealMedia"),
    (b"CWS", "Flash"),
    (b"FWS", "Flash"),
    (b"\x00\x00\x00\x0cJXL ", "JPEG XL, which cannot be decoded"),
    (b"\xff\x0a", "JPEG XL, which cannot be decoded"),
    (b"\x00\x00\x01\x00", "an icon"),
)
_ALLOWED = (
    "MP4, QuickTime, Matroska, WebM, AVI, MPEG, FLV, ASF, MXF, Ogg, WAV, AIFF, FLAC, MP3, AAC, "
    "AC-3, AMR, CAF, JPEG, PNG, GIF, WebP, TIFF, BMP, HEIC, AVIF, JPEG 2000"
)


def sniff(read_at: ReadAt) -> Form:
    """What the asset is decoded as.

    Raises:
        MediaError: EmptyContent, or NotMedia with what it looks like.
    """
    head = read_at(HEAD, 0)
    if not head:
        raise MediaError("EmptyContent", "it has no bytes; upload it again")
    form = _known(head, read_at)
    if form is None:
        raise MediaError("NotMedia", _looks_like(head))
    return form


def _known(head: bytes, read_at: ReadAt) -> Form | None:
    for magic, name in _FILM.items():
        if head.startswith(magic):
            return Form("film", name)
    for magic, name in _PICTURES.items():
        if head.startswith(magic):
            return Form("picture", name)
    return _container(head) or _elementary(head, read_at)


def _container(head: bytes) -> Form | None:
    if head[:4] == b"RIFF":
        return _RIFF.get(head[8:12])
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return Form("film", "aiff")
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in (
        12,
        40,
        52,
        56,
        64,
        108,
        124,
    ):
        return Form("picture", "BMP")
    if head[4:8] in _MOV_BOXES:
        return _iso(head)
    return Form("film", "mpegts") if _is_transport_stream(head) else None


def _iso(head: bytes) -> Form:
    """ISO base media: pictures and films differ by the brands of their first box."""
    length = min(int.from_bytes(head[:4], "big"), 256)
    brands = {head[8:12]} | {head[at : at + 4] for at in range(16, length - 3, 4)}
    if head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS | _AVIF_BRANDS:
        return Form("picture", "AVIF" if brands & _AVIF_BRANDS else "HEIF")
    return Form("film", "mov")


def _is_transport_stream(head: bytes) -> bool:
    """Five sync bytes in their distance: packets of 188, or 192 and 204 with extras."""
    for size in (188, 192, 204):
        for start in range(size):
            marks = head[start : start + 5 * size : size]
            if len(marks) == 5 and marks == b"G" * 5:
                return True
    return False


def _elementary(head: bytes, read_at: ReadAt) -> Form | None:
    """Bare audio streams, behind an ID3 tag or not."""
    if head[:3] == b"ID3" and len(head) >= 10:
        size = 0
        for byte in head[6:10]:
            size = size << 7 | byte & 0x7F
        behind = read_at(HEAD, 10 + size).lstrip(b"\x00")
        if behind.startswith(b"fLaC"):
            return Form("film", "flac")
        return _elementary(behind, lambda count, at: b"") or Form("film", "mp3")
    if len(head) > 6 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0:
        return Form("film", "aac")
    return Form("film", "mp3") if _is_mpeg_audio(head) else None


_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_BITS_1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_BITS_2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)


def _is_mpeg_audio(head: bytes) -> bool:
    """A layer III header with a second one where the first frame ends (ISO 11172-3, 2.4.1)."""
    length = _layer_3_length(head[:4])
    return length > 0 and (len(head) <= length or _layer_3_length(head[length : length + 4]) > 0)


def _layer_3_length(header: bytes) -> int:
    """Bytes of the frame, 0 when it is none."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE6 != 0xE2:
        return 0
    version, bits, rate = header[1] >> 3 & 3, header[2] >> 4, header[2] >> 2 & 3
    if version == 1 or bits in (0, 15) or rate == 3:
        return 0
    kilobits = (_BITS_1 if version == 3 else _BITS_2)[bits]
    factor = 144_000 if version == 3 else 72_000
    return factor * kilobits // _RATES[version][rate] + (header[2] >> 1 & 1)


def _looks_like(head: bytes) -> str:
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    pointer = next((label for start, label in _POINTERS if text.startswith(start)), "")
    if not pointer and text.startswith((b"<?xml", b"<!--", b"<!doctype")):
        tags = [(text.find(start), label) for start, label in _POINTERS if start[:1] == b"<"]
        pointer = min((tag for tag in tags if tag[0] >= 0), default=(0, ""))[1]
    if pointer:
        return (
            f"it is {pointer}, which points at or draws from other files and is never followed; "
            "index the media themselves"
        )
    label = next((label for start, label in _OTHERS if head.startswith(start)), "") or _guess(head)
    return f"it looks like {label}; what can be decoded: {_ALLOWED}"


def _guess(head: bytes) -> str:
    if not head.strip(b"\x00"):
        return "zeros only (an upload that never finished?)"
    if b"\x00" in head[:1024] or not head[:1024].isascii():
        return f"unknown data (it begins with {head[:8].hex(' ')})"
    return "HTML" if b"<html" in head[:1024].lower() else "text"

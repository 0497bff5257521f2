"""Broken and hostile media: what a library holds when nobody has looked, and what an attacker
would put there. Each kind says what is expected when it is extracted.

`make_all(folder)` writes one file of each; beside them lies `BAIT`, a good film that playlists
and other pointers name: whoever follows them finds something usable, and fails the test.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from telecine.dev.media import hostile_films as films
from telecine.dev.media import hostile_pictures as pictures
from telecine.dev.media.scissors import film_bytes

USABLE = "usable"
"""The outcome of media that give documents: of the whole, or of what can still be decoded."""

BAIT = "bait.mp4"
_HERE = b"@BAIT@"
"""Where a pointer's content gets the absolute path of the bait."""


@dataclass(frozen=True)
class Kind:
    """A kind of broken or hostile medium."""

    file: str
    """Name of the file, and of the kind; its ending may lie."""
    content: Callable[[], bytes]
    outcomes: frozenset[str]
    """`USABLE`, or reasons of ExtractionError; several where a decoder may choose."""
    about: str


@dataclass(frozen=True)
class Hostile:
    """A file of a kind."""

    kind: Kind
    path: Path


def make(kind: Kind, folder: Path) -> Hostile:
    """Writes the file, and the bait beside it unless it is there."""
    bait = folder / BAIT
    if not bait.exists():
        bait.write_bytes(film_bytes())
    path = folder / kind.file
    path.write_bytes(kind.content().replace(_HERE, str(bait.resolve()).encode()))
    return Hostile(kind, path)


def make_all(folder: Path, kinds: Iterable[Kind] | None = None) -> list[Hostile]:
    """Writes a file of each kind."""
    folder.mkdir(parents=True, exist_ok=True)
    return [make(kind, folder) for kind in (KINDS if kinds is None else kinds)]


def kind_of(file: str) -> Kind:
    """Raises KeyError when there is no such kind."""
    return {kind.file: kind for kind in KINDS}[file]


def _random() -> bytes:
    return random.Random(4).randbytes(100_000)


def _playlist() -> bytes:
    return b"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n@BAIT@\n#EXT-X-ENDLIST\n"


def _concat() -> bytes:
    return b"ffconcat version 1.0\nfile '@BAIT@'\nduration 4\n"


def _dash() -> bytes:
    return (
        b'<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
        b'mediaPresentationDuration="PT4S"><Period><BaseURL>file://@BAIT@</BaseURL>'
        b'<AdaptationSet mimeType="video/mp4"><Representation id="1" bandwidth="1"/>'
        b"</AdaptationSet></Period></MPD>\n"
    )


def _session() -> bytes:
    lines = (
        "v=0",
        "o=- 0 0 IN IP4 127.0.0.1",
        "s=x",
        "c=IN IP4 127.0.0.1",
        "m=video 5004 RTP/AVP 96",
    )
    return "".join(f"{line}\r\n" for line in lines).encode()


def _drawing() -> bytes:
    return (
        b'<?xml version="1.0"?>\n<!DOCTYPE svg [<!ENTITY file SYSTEM "file:///etc/passwd">]>\n'
        b'<svg xmlns="http://www.w3.org/2000/svg" width="200" height="100">'
        b'<text y="20">&file;</text><image href="file://@BAIT@"/></svg>\n'
    )


def _postscript() -> bytes:
    return b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) (r) file\nshowpage\n"


def _page() -> bytes:
    return b"<!doctype html><html><body>Please log in to download this file.</body></html>\n"


_OK = frozenset({USABLE})
_NOT_MEDIA = frozenset({"NotMedia"})
_BROKEN = frozenset({"Truncated", "DamagedMedia", "NoUsableStreams"})
_ANY = _BROKEN | _OK
"""Nothing good can be asked, but that it ends, and in one of these ways."""

KINDS: tuple[Kind, ...] = (
    # Films and sounds that were damaged.
    Kind("truncated.mp4", films.truncated, _OK, "index first, 60% of it there"),
    Kind("truncated-matroska.mkv", films.truncated_matroska, _OK, "60% of it there"),
    Kind("truncated-before-index.mp4", films.truncated_before_index, _BROKEN, "60%, no index"),
    Kind("without-index.mp4", films.without_index, _BROKEN, "its moov box is gone"),
    Kind("hidden-index.mp4", films.hidden_index, _ANY, "its moov box is called free"),
    Kind("header-only.mp4", films.header_only, _BROKEN, "ends after the first box"),
    Kind("corrupt-in-the-middle.mp4", films.corrupt_in_the_middle, _OK, "a sixth is noise"),
    Kind("wav-too-long.wav", films.wav_too_long, _OK, "lengths of 4 GB in its header"),
    Kind("wav-of-no-rate.wav", films.wav_of_no_rate, _ANY, "0 Hz and 65,535 channels"),
    # Films and sounds that are unusual.
    Kind("audio-only.mp4", films.audio_only, _OK, "sound in a film's container"),
    Kind("video-only.mp4", films.video_only, _OK, "no audio stream"),
    Kind("sound-without-samples.mkv", films.sound_without_samples, _OK, "an empty audio stream"),
    Kind("one-frame.mp4", films.one_frame, _OK, "a single frame"),
    Kind("zero-frames-a-second.mp4", films.zero_frames_a_second, _OK, "no rate, no duration"),
    Kind("variable-frame-rate.mp4", films.variable_frame_rate, _OK, "0.03 to 2 s a frame"),
    Kind("rotated-by-metadata.mp4", films.rotated_by_metadata, _OK, "shown as 180x320"),
    Kind("surround.flac", films.surround, _OK, "six channels at 96 kHz"),
    Kind("huge-id3-tag.mp3", films.huge_id3_tag, _OK, "8 MB before the sound"),
    Kind("subtitles-only.mp4", films.subtitles_only, _OK | {"NoUsableStreams"}, "text alone"),
    Kind("unknown-codec.mp4", films.unknown_codec, _BROKEN, "a codec that nobody has"),
    # Films that attack.
    Kind("many-streams.mp4", films.many_streams, frozenset({"TooManyStreams"}), "300 streams"),
    Kind("absurd-duration.mkv", films.absurd_duration, _OK | {"TooLong"}, "126 years"),
    Kind("leaps-in-time.mkv", films.leaps_in_time, _OK | {"TooLong"}, "11 days between frames"),
    Kind("absurd-sample-count.mp4", films.absurd_sample_count, _ANY | {"DecoderOutOfMemory"},
         "a table of 4 billion frames"),
    Kind("absurd-box-length.mp4", films.absurd_box_length, _ANY, "a box of 4 exabytes"),
    Kind("nested-boxes.mp4", films.nested_boxes, _BROKEN, "100,000 boxes in each other"),
    Kind("pixel-bomb.mov", films.pixel_bomb,
         _BROKEN | {"TooManyPixels", "DecoderOutOfMemory"}, "frames of 900 million pixels"),
    Kind("names-another-file.mp4", films.names_another_file, _ANY, "media in /etc/passwd"),
    # Pictures that are unusual.
    Kind("grey-16-bit.png", pictures.grey_16_bit, _OK, "16 bits a pixel"),
    Kind("colour-16-bit.png", pictures.colour_16_bit, _OK, "48 bits a pixel"),
    Kind("cmyk.jpg", pictures.cmyk, _OK, "for a printing press"),
    Kind("grey-and-alpha.png", pictures.grey_and_alpha, _OK, "two channels"),
    Kind("palette.png", pictures.palette_with_transparency, _OK, "32 colours, one transparent"),
    Kind("animated.gif", pictures.animated_gif, _OK, "four frames"),
    Kind("animated.webp", pictures.animated_webp, _OK, "four frames"),
    Kind("phone.heic", pictures.heic, _OK, "HEVC in HEIF"),
    Kind("phone.avif", pictures.avif, _OK, "AV1 in HEIF"),
    Kind("turned-by-exif.jpg", pictures.turned_by_exif, _OK, "shown as 300x451"),
    Kind("one-pixel.png", pictures.one_pixel, _OK, "1x1"),
    Kind("thin.png", pictures.thin, _OK, "1x20000"),
    # Pictures that were damaged.
    Kind("broken-exif.jpg", pictures.broken_exif, _OK, "EXIF that leaves the file"),
    Kind("truncated.jpg", pictures.truncated_jpeg, _OK, "60% of it there"),
    Kind("truncated-header.jpg", pictures.truncated_jpeg_header, _BROKEN, "200 bytes"),
    Kind("truncated.png", pictures.truncated_png, _OK, "60% of it there"),
    Kind("wrong-checksum.png", pictures.wrong_checksum, _ANY, "one bit flipped"),
    Kind("no-pixels.png", pictures.no_pixels, _BROKEN, "0x0"),
    # Pictures that attack.
    Kind("pixel-bomb.png", pictures.pixel_bomb, frozenset({"TooManyPixels"}), "900 megapixels"),
    Kind("screen-bomb.gif", pictures.screen_bomb, frozenset({"TooManyPixels"}), "65535x65535"),
    Kind("text-bomb.png", pictures.text_bomb, _OK | {"DamagedMedia", "DecoderOutOfMemory"},
         "a comment of 128 MB"),
    Kind("many-texts.png", pictures.many_texts, _OK | {"DamagedMedia"}, "90 MB of comments"),
    Kind("many-frames.gif", pictures.many_frames, _OK | {"TooManyFrames"}, "20,000 frames"),
    Kind("endless.tiff", pictures.endless_tiff, _ANY, "a directory that follows itself"),
    Kind("jpeg-with-archive.jpg", pictures.jpeg_with_archive, _OK, "a ZIP at its end"),
    # Files that are something else.
    Kind("empty.mp4", bytes, frozenset({"EmptyContent"}), "zero bytes"),
    Kind("film-named.jpg", film_bytes, _OK, "an MP4"),
    Kind("picture-named.mp4", pictures.jpeg, _OK, "a JPEG"),
    Kind("random.mp4", _random, _NOT_MEDIA, "random bytes"),
    Kind("zeros.mp4", lambda: bytes(100_000), _NOT_MEDIA, "an upload that never came"),
    Kind("text-named.jpg", lambda: b"Dear diary, today it rained.\n" * 40, _NOT_MEDIA, "a text"),
    Kind("page-named.mp4", _page, _NOT_MEDIA, "a web page that asks to log in"),
    Kind("playlist.m3u8", _playlist, _NOT_MEDIA, "HLS that points at a local file"),
    Kind("playlist-named.mp4", _playlist, _NOT_MEDIA, "the same, disguised"),
    Kind("concat-named.mp4", _concat, _NOT_MEDIA, "an ffmpeg script that points at a local file"),
    Kind("manifest.mpd", _dash, _NOT_MEDIA, "DASH that points at a local file"),
    Kind("session-named.mp4", _session, _NOT_MEDIA, "SDP that opens a port"),
    Kind("drawing.svg", _drawing, _NOT_MEDIA, "SVG with an external entity"),
    Kind("postscript-named.jpg", _postscript, _NOT_MEDIA, "a program for Ghostscript"),
)  # fmt: skip

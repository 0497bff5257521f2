"""Broken and hostile films and sounds, each as bytes. `hostile` says what is expected of them."""

from __future__ import annotations

import struct
from fractions import Fraction
from io import BytesIO
from typing import TYPE_CHECKING

from telecine.dev.media import photos, speaking
from telecine.dev.media.scissors import (
    box,
    film_bytes,
    patched,
    png,
    renamed,
    sound_bytes,
    zeros,
)

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.stream import Stream
    from av.subtitles.stream import SubtitleStream

_MILLISECONDS = Fraction(1, 1000)
_VIDEO = (b"moov", b"trak")
"""The first track of the good film is its video."""


def truncated() -> bytes:
    """Its index comes first, so that the half that arrived can be shown."""
    data = film_bytes(index_first=True)
    return data[: len(data) * 6 // 10]


def truncated_matroska() -> bytes:
    data = film_bytes(".mkv")
    return data[: len(data) * 6 // 10]


def truncated_before_index() -> bytes:
    data = film_bytes()
    return data[: len(data) * 6 // 10]


def without_index() -> bytes:
    data = film_bytes()
    start, end = box(data, b"moov")
    return data[:start] + data[end:]


def hidden_index() -> bytes:
    """Its index is called free space, as half-finished edits leave it; decoders look there."""
    return renamed(film_bytes(), b"moov", b"free")


def header_only() -> bytes:
    return film_bytes()[: box(film_bytes(), b"ftyp")[1]]


def corrupt_in_the_middle() -> bytes:
    """The media of one second are overwritten; index and the rest are whole."""
    data = film_bytes()
    start, end = box(data, b"mdat")
    third = (end - start) // 3
    noise = bytes((number * 73 + 41) % 251 for number in range(third // 2))
    return patched(data, start + third, noise)


def audio_only() -> bytes:
    return sound_bytes(".m4a")


def video_only() -> bytes:
    return film_bytes(sound=False)


def one_frame() -> bytes:
    return _silent_film([0])


def zero_frames_a_second() -> bytes:
    """One frame that lasts no time: the header gives no rate to calculate with."""
    data = _silent_film([0])
    for path, offset in (
        ((b"moov", b"mvhd"), 24),
        ((*_VIDEO, b"tkhd"), 28),
        ((*_VIDEO, b"mdia", b"mdhd"), 24),
        ((*_VIDEO, b"mdia", b"minf", b"stbl", b"stts"), 20),
    ):
        data = patched(data, box(data, *path)[0] + offset, bytes(4))
    return data


def variable_frame_rate() -> bytes:
    """Frames after 40 ms, 700 ms, 1 s and so on."""
    return _silent_film([0, 40, 740, 1740, 1780, 1900, 3900, 3933])


def rotated_by_metadata() -> bytes:
    """320x180 as stored, 180x320 as shown."""
    data = film_bytes()
    one = 1 << 16
    matrix = struct.pack(">9i", 0, one, 0, -one, 0, 0, 180 * one, 0, 1 << 30)
    return patched(data, box(data, *_VIDEO, b"tkhd")[0] + 48, matrix)


def many_streams(count: int = 300) -> bytes:
    """Hundreds of subtitle streams of one line each."""
    target = BytesIO()
    with _container(target, "mp4") as container:
        streams = [_subtitle_stream(container) for _ in range(count)]
        container.start_encoding()
        for stream in streams:
            _mux(container, stream, b"\x00\x02hi", 0, 1000)
    return target.getvalue()


def subtitles_only() -> bytes:
    target = BytesIO()
    with _container(target, "mp4") as container:
        stream = _subtitle_stream(container)
        container.start_encoding()
        _mux(container, stream, b"\x00\x05Hello", 500, 1500)
    return target.getvalue()


def absurd_duration() -> bytes:
    """126 years, as the header says, of 4 seconds of film."""
    data = film_bytes(".mkv")
    # The element Duration (RFC 9559, 5.1.2.10) as a float of 8 bytes, in milliseconds.
    at = data.index(b"\x44\x89\x88") + 3
    return patched(data, at, struct.pack(">d", 4e12))


def absurd_sample_count() -> bytes:
    """The index promises four billion frames in a table of a hundred bytes."""
    data = film_bytes()
    table = box(data, *_VIDEO, b"mdia", b"minf", b"stbl", b"stsz")[0]
    return patched(data, table + 16, struct.pack(">I", 0xFFFFFFFF))


def absurd_box_length() -> bytes:
    """A box of 4 exabytes."""
    data = film_bytes()
    start = box(data, b"moov")[0]
    head = struct.pack(">I4sQ", 1, b"udta", 1 << 62)
    return data[:start] + head + data[start:]


def nested_boxes(depth: int = 100_000) -> bytes:
    """Boxes within boxes, deeper than a recursive parser's stack."""
    start = film_bytes()[: box(film_bytes(), b"ftyp")[1]]
    sizes = range(8 * depth, 0, -8)
    return start + b"".join(struct.pack(">I4s", size, b"moov") for size in sizes)


def unknown_codec() -> bytes:
    return renamed(film_bytes(sound=False), b"avc1", b"zzzz")


def names_another_file() -> bytes:
    """A track whose data reference says that its media are in a file of this machine."""
    data = film_bytes()
    start, end = box(data, *_VIDEO, b"mdia", b"minf", b"dinf", b"dref")
    elsewhere = b"file:///etc/passwd\x00"
    entry = struct.pack(">I4sI", 12 + len(elsewhere), b"url ", 0) + elsewhere
    new = struct.pack(">I4sII", 16 + len(entry), b"dref", 0, 1) + entry
    grown = len(new) - (end - start)
    data = data[:start] + new + data[end:]
    for depth in range(1, len((*_VIDEO, b"mdia", b"minf", b"dinf")) + 1):
        at = box(data, *(*_VIDEO, b"mdia", b"minf", b"dinf")[:depth])[0]
        size = int.from_bytes(data[at : at + 4], "big")
        data = patched(data, at, struct.pack(">I", size + grown))
    return data


def pixel_bomb() -> bytes:
    """Frames that are PNGs of 900 million pixels in a container that says 64x64."""
    picture = png(30_000, 30_000, zeros(30_000 * 3_751), depth=1)
    target = BytesIO()
    with _container(target, "mov") as container:
        stream = container.add_mux_stream("png", 1, width=64, height=64)
        container.start_encoding()
        for second in range(3):
            _mux(container, stream, picture, second * 1000, 1000)
    return target.getvalue()


def leaps_in_time() -> bytes:
    """Its last frame comes eleven days after the one before."""
    return _silent_film([0, 40, 80, 120, 1_000_000_000], "matroska")


def huge_id3_tag(size: int = 8_000_000) -> bytes:
    """An MP3 that begins with a tag of 8 MB: a cover picture, as it says."""
    body = b"\x00image/jpeg\x00\x03\x00" + bytes(size)
    frame = b"APIC" + struct.pack(">IH", len(body), 0) + body
    sizes = bytes(len(frame) >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x03\x00\x00" + sizes + frame + sound_bytes(".mp3")


def wav_too_long() -> bytes:
    """A recording that was never closed: its lengths are the largest there are."""
    data = sound_bytes(".wav")
    data = patched(data, 4, b"\xff\xff\xff\xff")
    return patched(data, data.index(b"data") + 4, b"\xff\xff\xff\xff")


def wav_of_no_rate() -> bytes:
    """No samples a second, in 65,535 channels."""
    data = sound_bytes(".wav")
    return patched(data, data.index(b"fmt ") + 10, struct.pack("<HI", 65_535, 0))


def surround() -> bytes:
    """Six channels at 96 kHz."""
    import numpy as np
    from av.audio.frame import AudioFrame

    target = BytesIO()
    with _container(target, "flac") as container:
        stream = container.add_stream("flac", 96_000)
        stream.codec_context.layout = "5.1"
        tone = np.sin(np.arange(96_000) * 0.03) * 8000
        samples = np.repeat(tone.astype(np.int16), 6).reshape(1, -1)
        frame = AudioFrame.from_ndarray(samples, format="s16", layout="5.1")
        frame.sample_rate = 96_000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return target.getvalue()


def sound_without_samples() -> bytes:
    """A film whose audio stream has not one packet."""
    from av.video.frame import VideoFrame

    target = BytesIO()
    with _container(target, "matroska") as container:
        video = container.add_stream("libx264", 12, width=320, height=180, pix_fmt="yuv420p")
        container.add_stream("aac", speaking.RATE)
        for number in range(12):
            frame = VideoFrame(320, 180, "yuv420p")
            for plane in frame.planes:
                plane.update(bytes([number * 20]) * plane.buffer_size)
            frame.pts, frame.time_base = number, Fraction(1, 12)
            container.mux(video.encode(frame))
        container.mux(video.encode())
    return target.getvalue()


def _container(target: BytesIO, form: str) -> OutputContainer:
    import av

    return av.open(target, "w", format=form, options={"fflags": "+bitexact"})


def _subtitle_stream(container: OutputContainer) -> SubtitleStream:
    stream = container.add_stream("mov_text")
    # The encoder opens with one only, and is not used: the packets below are ready.
    stream.codec_context.subtitle_header = b""
    return stream


def _mux(container: OutputContainer, stream: Stream, data: bytes, start: int, length: int) -> None:
    from av.packet import Packet

    packet = Packet(data)
    packet.pts = packet.dts = start
    packet.duration, packet.time_base, packet.stream = length, _MILLISECONDS, stream
    packet.is_keyframe = True
    container.mux(packet)


def _silent_film(times: list[int], form: str = "mp4") -> bytes:
    """Frames at these milliseconds."""
    import numpy as np
    from av.video.frame import VideoFrame

    target = BytesIO()
    still = np.asarray(photos.fitted(photos.photograph("coffee"), (320, 180)))
    with _container(target, form) as container:
        stream = container.add_stream("libx264", 1000, width=320, height=180, pix_fmt="yuv420p")
        stream.codec_context.time_base = _MILLISECONDS
        stream.codec_context.thread_count = 1
        stream.codec_context.max_b_frames = 0
        for time in times:
            frame = VideoFrame.from_ndarray(still, format="rgb24")
            frame.pts, frame.time_base = time, _MILLISECONDS
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return target.getvalue()

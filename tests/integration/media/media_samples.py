"""Tiny films and sounds, made by PyAV, for the tests of decoding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

RATE = 48_000


@dataclass
class Clip:
    """A film to make: each scene is a plain colour of its own with a bright corner."""

    seconds: float = 3.0
    size: tuple[int, int] = (160, 120)
    fps: int = 25
    gop: int = 25
    scenes: Sequence[float] = ()
    """Seconds at which another colour begins."""
    video: str = "libx264"
    audio: str = "aac"
    options: dict[str, str] = field(default_factory=lambda: {"preset": "ultrafast"})
    beep_at: float = 1.0
    """When a tone of half a second begins; silence around it."""
    sound_from: float = 0.0
    """Seconds by which the sound is late in the file."""
    silent_hole: tuple[float, float] = (0.0, 0.0)
    """Sound of that time is left out of the file."""
    captions: Sequence[tuple[float, float, str]] = ()
    times: Sequence[float] = ()
    """Of the frames, instead of a steady rate."""
    metadata: dict[str, str] = field(default_factory=dict)


_COLOURS = ((200, 40, 40), (40, 200, 40), (40, 40, 200), (200, 200, 40), (40, 200, 200))


def make_film(path: Path, clip: Clip | None = None, form: str | None = None) -> Path:
    """Writes it; the ending of `path` names the container unless `form` does."""
    given = clip or Clip()
    with av.open(str(path), "w", format=form) as container:
        container.metadata.update(given.metadata)
        video = _video(container, given) if given.video else None
        audio = container.add_stream(given.audio, rate=RATE) if given.audio else None
        if audio is not None:
            audio.bit_rate = 128_000
        texts = container.add_stream("mov_text") if given.captions else None
        if texts is not None:
            # The encoder wants one to open, and is not used: the packets are ready.
            texts.codec_context.subtitle_header = b""
            texts.metadata["language"] = "eng"
        packets: list[Any] = []
        if texts is not None:
            packets += [_caption(texts, *caption) for caption in given.captions]
        if video is not None:
            packets += [p for frame in _frames(given) for p in video.encode(frame)]
            packets += video.encode()
        if audio is not None:
            packets += _sound(given, audio)
        for packet in sorted(packets, key=lambda p: p.dts * p.time_base):
            container.mux(packet)
    return path


def _video(container: Any, given: Clip) -> Any:
    stream = container.add_stream(given.video, rate=given.fps)
    stream.width, stream.height = given.size
    stream.pix_fmt = "yuv420p" if given.video != "mjpeg" else "yuvj420p"
    stream.gop_size = given.gop
    stream.options = given.options if given.video == "libx264" else {}
    if given.times:
        stream.codec_context.time_base = Fraction(1, 1000)
    return stream


def _frames(given: Clip) -> Any:
    width, height = given.size
    times = given.times or [n / given.fps for n in range(round(given.seconds * given.fps))]
    for number, time in enumerate(times):
        scene = sum(1 for begin in given.scenes if time >= begin - 1e-9)
        pixels = np.empty((height, width, 3), np.uint8)
        pixels[:] = _COLOURS[scene % len(_COLOURS)]
        pixels[: height // 4, : width // 4] = 250
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
        frame.pts = round(time * 1000) if given.times else number
        yield frame


def _sound(given: Clip, stream: Any) -> Any:
    """Packets, moved and left out as the clip says."""
    begin, end = given.silent_hole
    for packet in [p for frame in _beeping(given) for p in stream.encode(frame)] + stream.encode():
        if not begin <= float(packet.pts * packet.time_base) < end:
            shift = round(given.sound_from / packet.time_base)
            packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
            yield packet


def _beeping(given: Clip) -> Any:
    for at in range(0, round(given.seconds * RATE), 1024):
        time = (at + np.arange(1024)) / RATE
        loud = (time >= given.beep_at) & (time < given.beep_at + 0.5)
        tone = np.where(loud, 0.5 * np.sin(2 * np.pi * 440 * time), 0).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(np.stack([tone, tone]), format="fltp", layout="stereo")
        frame.sample_rate, frame.pts = RATE, at
        yield frame


def _caption(stream: Any, start: float, end: float, text: str) -> Any:
    body = text.encode()
    packet = av.Packet(len(body).to_bytes(2, "big") + body)
    packet.stream, packet.is_keyframe = stream, True
    packet.time_base = Fraction(1, 1000)
    packet.pts = packet.dts = round(start * 1000)
    packet.duration = round((end - start) * 1000)
    return packet


def beeps(samples: np.ndarray[Any, Any], rate: int = 16_000) -> tuple[float, float]:
    """Seconds at which the tone begins and ends."""
    loud = np.flatnonzero(np.abs(samples) > 0.1)
    return float(loud[0] / rate), float(loud[-1] / rate)

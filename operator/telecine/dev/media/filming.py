"""Films made of photographs and spoken sentences by PyAV, and sound files of sentences alone.

What is shown and said when is known to the frame, so that tests can ask for it. The codecs are
those inside PyAV's wheel; the same film gives the same bytes with the same wheel.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from telecine.dev.media import speaking

if TYPE_CHECKING:
    import numpy as np
    from av.audio.stream import AudioStream
    from av.container import InputContainer, OutputContainer
    from av.subtitles.stream import SubtitleStream
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream
    from numpy.typing import NDArray
    from PIL.Image import Image

# Without it the muxer writes its version and the time, and no two films are alike.
_EXACT = {"fflags": "+bitexact"}

_ASS_HEADER = b"""[Script Info]
ScriptType: v4.00+

[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, \
Italic, Underline, StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, \
Alignment, MarginL, MarginR, MarginV, Encoding
Style: Default,Arial,16,&Hffffff,&Hffffff,&H0,&H0,0,0,0,0,100,100,0,0,1,1,0,2,10,10,10,0

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
"""


@dataclass(frozen=True)
class Shot:
    """A picture that is shown for some seconds. Between two shots is a cut."""

    picture: Image
    seconds: float
    zoom: float = 1.0
    """How far the camera has moved in at the shot's end: 1.2 shows 1/1.2 of the width."""


@dataclass(frozen=True)
class Sentence:
    """What is said, and at which second of the film it begins."""

    text: str
    start: float
    voice: str = speaking.VOICES[0]


@dataclass(frozen=True)
class Spoken:
    """A sentence in a film, with the seconds in which it is heard."""

    text: str
    start: float
    end: float


@dataclass(frozen=True)
class Subtitle:
    """A line of subtitles, in seconds."""

    start: float
    end: float
    text: str


@dataclass(frozen=True)
class Style:
    """How a film is encoded."""

    size: tuple[int, int] = (640, 360)
    """Width and height, both even."""
    fps: int = 12
    key_frame_every: float = 2.0
    """Seconds between key frames."""
    key_frame_at_cut: bool = True
    """False: a cut between two key frames can be found only by decoding everything."""
    crf: int = 28
    video_codec: str = "libx264"
    audio_codec: str = "aac"
    audio_bit_rate: int = 48_000
    # With mbtree x264 does not give the same bytes twice when the picture moves.
    options: dict[str, str] = field(default_factory=lambda: {"preset": "veryfast", "mbtree": "0"})
    """For the video codec."""
    index_first: bool = False
    """An MP4 whose index is before its media: it can be played while it is fetched."""
    language: str = "eng"
    title: str = ""


@dataclass(frozen=True)
class Film:
    """A film that was made, and what is in it."""

    path: Path
    seconds: float
    cuts: tuple[float, ...]
    """Seconds at which a shot begins, but for the first."""
    spoken: tuple[Spoken, ...]


def film(
    path: Path,
    shots: Sequence[Shot],
    sentences: Sequence[Sentence] = (),
    style: Style | None = None,
    *,
    subtitles: Sequence[Subtitle] = (),
) -> Film:
    """Writes a film; the ending of `path` names the container (.mp4, .mov, .mkv).

    Without sentences it has no audio stream, without subtitles no subtitle stream.

    Raises:
        ValueError: a sentence overlaps the one before it or the film's end.
        SpeakingError: espeak-ng is missing.
    """
    style = style or Style()
    seconds = sum(_frames(shot, style) for shot in shots) / style.fps
    track = Track(sentences, seconds)
    with _opened(path, style) as container:
        video = _video_stream(container, style)
        audio = _audio_stream(container, style) if sentences else None
        text = _subtitle_stream(container, path, style) if subtitles else None
        pending = sorted(subtitles, key=lambda line: line.start)
        for frame in _pictures(shots, style):
            for packet in video.encode(frame):
                container.mux(packet)
            until = float((frame.pts or 0) + 1) / style.fps
            if audio is not None:
                _write_sound(container, audio, track, until)
            while text is not None and pending and pending[0].start < until:
                _write_subtitle(container, text, pending.pop(0))
        container.mux(video.encode())
        if audio is not None:
            container.mux(audio.encode())
    return Film(path, seconds, _cuts(shots, style), track.spoken)


def sound(path: Path, sentences: Sequence[Sentence], seconds: float, codec: str = "") -> Film:
    """Writes sound alone; the ending names container and codec (.wav, .mp3, .flac, .m4a).

    Raises:
        ValueError: a sentence overlaps the one before it or the end.
        SpeakingError: espeak-ng is missing.
    """
    codecs = {".wav": "pcm_s16le", ".mp3": "libmp3lame", ".flac": "flac", ".m4a": "aac"}
    style = Style(audio_codec=codec or codecs[path.suffix])
    track = Track(sentences, seconds)
    with _opened(path, style) as container:
        stream = _audio_stream(container, style)
        _write_sound(container, stream, track, seconds)
        container.mux(stream.encode())
    return Film(path, seconds, (), track.spoken)


def repeat(source: Path, target: Path, times: int) -> float:
    """Joins a film to itself without encoding it again: a film of hours in seconds.

    Returns the seconds of one repetition, a little more than those of the film.
    """
    import av

    with av.open(str(source)) as first, av.open(str(target), "w", options=_EXACT) as container:
        streams = {s.index: container.add_stream_from_template(s) for s in first.streams}
        length = _extent(first)
        for turn in range(times):
            first.seek(0)
            for packet in first.demux():
                if packet.dts is None or packet.pts is None or packet.time_base is None:
                    continue
                shift = round(turn * length / packet.time_base)
                packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                packet.stream = streams[packet.stream.index]
                container.mux(packet)
    return float(length)


def _extent(container: InputContainer) -> Fraction:
    """Seconds from the first decoding time of any stream, which can be negative, to the end."""
    first, last = Fraction(0), Fraction(0)
    for packet in container.demux():
        if packet.dts is not None and packet.pts is not None and packet.time_base is not None:
            first = min(first, packet.dts * packet.time_base)
            last = max(last, (packet.pts + (packet.duration or 1)) * packet.time_base)
    return last - first


def write_sidecar(path: Path, subtitles: Sequence[Subtitle]) -> Path:
    """Writes subtitles as SubRip (.srt) or WebVTT (.vtt), by the ending of `path`."""
    webvtt = path.suffix == ".vtt"
    blocks = ["WEBVTT"] if webvtt else []
    for number, line in enumerate(subtitles, 1):
        times = f"{_clock(line.start)} --> {_clock(line.end)}"
        blocks.append(f"{number}\n{times if webvtt else times.replace('.', ',')}\n{line.text}")
    path.write_text("\n\n".join(blocks) + "\n", encoding="utf-8")
    return path


def _clock(seconds: float) -> str:
    whole, thousandths = divmod(round(seconds * 1000), 1000)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}.{thousandths:03}"


class Track:
    """The sound of a film, given out piece by piece so that its length costs no memory."""

    def __init__(self, sentences: Sequence[Sentence], seconds: float) -> None:
        """Raises ValueError when a sentence overlaps another or the end."""
        self.position = 0
        self.length = round(seconds * speaking.RATE)
        self._parts: list[tuple[int, NDArray[np.int16]]] = []
        self.spoken: tuple[Spoken, ...] = ()
        for sentence in sorted(sentences, key=lambda one: one.start):
            self._add(sentence)

    def _add(self, sentence: Sentence) -> None:
        samples = speaking.speak(sentence.text, sentence.voice)
        first = round(sentence.start * speaking.RATE)
        end = (first + len(samples)) / speaking.RATE
        if self.spoken and sentence.start < self.spoken[-1].end:
            raise ValueError(
                f"{sentence.text!r} at {sentence.start} s begins before "
                f"{self.spoken[-1].text!r} ends at {self.spoken[-1].end:.2f} s"
            )
        if first + len(samples) > self.length:
            raise ValueError(f"{sentence.text!r} ends at {end:.2f} s, after the film")
        self._parts.append((first, samples))
        self.spoken += (Spoken(sentence.text, sentence.start, end),)

    def take(self, until: float) -> Iterator[NDArray[np.int16]]:
        """The sound up to this second, in pieces of at most one second."""
        import numpy as np

        stop = min(round(until * speaking.RATE), self.length)
        while self.position < stop:
            end = min(self.position + speaking.RATE, stop)
            piece = np.zeros(end - self.position, np.int16)
            for first, samples in self._parts:
                left, right = max(first, self.position), min(first + len(samples), end)
                if left < right:
                    piece[left - self.position : right - self.position] = samples[
                        left - first : right - first
                    ]
            self.position = end
            yield piece


def _opened(path: Path, style: Style) -> OutputContainer:
    import av

    options = {**_EXACT, "movflags": "+faststart"} if style.index_first else _EXACT
    container = av.open(str(path), "w", options=options)
    if style.title:
        container.metadata["title"] = style.title
    return container


def _single_threaded(stream: Any) -> None:
    from av.codec.context import Flags

    # What an encoder makes can depend on its number of threads, and that on the machine.
    stream.codec_context.thread_count = 1
    stream.codec_context.flags |= Flags.bitexact


def _video_stream(container: OutputContainer, style: Style) -> VideoStream:
    gop = max(1, round(style.key_frame_every * style.fps))
    options = {"crf": str(style.crf), **style.options}
    if not style.key_frame_at_cut:
        options["sc_threshold"] = "0"
    stream: VideoStream = container.add_stream(style.video_codec, style.fps, options)  # type: ignore[assignment]
    stream.width, stream.height = style.size
    stream.pix_fmt = "yuv420p"
    stream.codec_context.gop_size = gop
    _single_threaded(stream)
    return stream


def _audio_stream(container: OutputContainer, style: Style) -> AudioStream:
    stream: AudioStream = container.add_stream(style.audio_codec, speaking.RATE)  # type: ignore[assignment]
    stream.codec_context.layout = "mono"
    if not style.audio_codec.startswith(("pcm", "flac")):
        stream.codec_context.bit_rate = style.audio_bit_rate
    stream.metadata["language"] = style.language
    _single_threaded(stream)
    return stream


def _subtitle_stream(container: OutputContainer, path: Path, style: Style) -> SubtitleStream:
    codec = "subrip" if path.suffix == ".mkv" else "mov_text"
    stream: SubtitleStream = container.add_stream(codec)  # type: ignore[assignment]
    stream.time_base = Fraction(1, 1000)
    stream.codec_context.subtitle_header = _ASS_HEADER
    stream.metadata["language"] = style.language
    return stream


def _write_sound(
    container: OutputContainer, stream: AudioStream, track: Track, until: float
) -> None:
    from av.audio.frame import AudioFrame

    start = track.position
    for piece in track.take(until):
        frame = AudioFrame.from_ndarray(piece.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate, frame.time_base = speaking.RATE, Fraction(1, speaking.RATE)
        frame.pts = start
        start += len(piece)
        container.mux(stream.encode(frame))


def _write_subtitle(container: OutputContainer, stream: SubtitleStream, line: Subtitle) -> None:
    from av.subtitles.subtitle import SubtitleSet

    start, end = round(line.start * 1000), round(line.end * 1000)
    dialogue = f"0,0,Default,,0,0,0,,{line.text}".replace("\n", "\\N")
    packet = stream.codec_context.encode_subtitle(
        SubtitleSet.create(dialogue.encode(), 0, end - start)
    )
    packet.pts = packet.dts = start
    packet.duration, packet.time_base, packet.stream = end - start, Fraction(1, 1000), stream
    container.mux(packet)


def _frames(shot: Shot, style: Style) -> int:
    return round(shot.seconds * style.fps)


def _cuts(shots: Sequence[Shot], style: Style) -> tuple[float, ...]:
    counts = [_frames(shot, style) for shot in shots]
    return tuple(sum(counts[:number]) / style.fps for number in range(1, len(counts)))


def _pictures(shots: Sequence[Shot], style: Style) -> Iterator[VideoFrame]:
    from PIL import ImageOps

    number = 0
    for shot in shots:
        count = _frames(shot, style)
        still = ImageOps.fit(shot.picture.convert("RGB"), style.size)
        frame = _frame(still)
        for turn in range(count):
            if shot.zoom != 1.0:
                moved = _zoomed(still, 1 + (shot.zoom - 1) * turn / count)
                frame = _frame(moved)
            frame.pts, frame.time_base = number, Fraction(1, style.fps)
            yield frame
            number += 1


def _frame(image: Image) -> VideoFrame:
    import numpy as np
    from av.video.frame import VideoFrame

    return VideoFrame.from_ndarray(np.asarray(image), format="rgb24").reformat(format="yuv420p")


def _zoomed(image: Image, factor: float) -> Image:
    from PIL import Image as Images

    width, height = image.size
    left, top = width * (1 - 1 / factor) / 2, height * (1 - 1 / factor) / 2
    box = (left, top, width - left, height - top)
    return image.resize(image.size, Images.Resampling.BILINEAR, box=box)

"""Opening a film or sound, and choosing what of it is decoded. Runs in the decoder only."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from io import FileIO
from typing import TYPE_CHECKING, Any

from telecine.extractors.media.captions import TEXT_CODECS, caption_language
from telecine.extractors.media.events import MediaRequest, Probe
from telecine.extractors.media.faults import MediaError
from telecine.extractors.media.limits import MediaLimits

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.stream import Stream
    from av.subtitles.stream import SubtitleStream
    from av.video.stream import VideoStream

_BUFFER = 1 << 16
_MOST_TAGS = 64
_MOST_TEXT = 2000
_WORST_SHAPE = 16
"""Pixels this many times longer than wide are a damaged header, not a lens."""


@dataclass
class Chosen:
    """The streams that are decoded."""

    video: VideoStream | None
    audio: AudioStream | None
    captions: SubtitleStream | None
    languages: tuple[str, ...]
    """Of all text subtitle streams, the chosen one's first."""


def open_container(file: FileIO, form: str, limits: MediaLimits) -> InputContainer:
    """The container, by the demuxer of that name and no other.

    Raises:
        MediaError: Truncated, DamagedMedia, TooManyStreams, TooLong.
    """
    import av

    av.logging.set_level(av.logging.ERROR)
    try:
        with av.logging.Capture() as said:
            container = av.open(
                file,
                "r",
                format=form,
                options={"max_pixels": str(limits.max_pixels), "threads": "1"},
                container_options={
                    "format_whitelist": form,
                    "protocol_whitelist": "none",
                    "enable_drefs": "0",
                },
                metadata_errors="replace",
                buffer_size=_BUFFER,
                io_open=_refuse,
            )
    except MemoryError:
        raise
    except (av.error.FFmpegError, ValueError, OSError) as error:
        raise _unreadable(form, error, [line[2].strip() for line in said]) from None
    finally:
        av.logging.set_level(None)
    _check(container, limits)
    return container


def _refuse(url: str, flags: int, options: dict[str, str]) -> Any:
    raise PermissionError("media may not name other files")


def _unreadable(form: str, error: Exception, said: list[str]) -> MediaError:
    words = "; ".join(dict.fromkeys(said[-3:])) or str(error)
    if "moov atom not found" in words:
        return MediaError(
            "Truncated",
            "its index (the moov box, often at the end) is missing, so that nothing can be "
            "decoded; upload it again, whole",
        )
    if "exceeds max_streams" in words:
        return MediaError("TooManyStreams", f"it has more streams than can be read ({words[:200]})")
    return MediaError(
        "DamagedMedia",
        f"it begins like {form} and cannot be read ({words[:300]}); upload it again",
    )


def _check(container: InputContainer, limits: MediaLimits) -> None:
    count = len(container.streams)
    if count > limits.max_streams:
        raise MediaError(
            "TooManyStreams",
            f"it has {count} streams and the limit is {limits.max_streams}; "
            "remove some, or raise parameter max_streams",
        )
    check_duration(duration_of(container), limits)
    for stream in filter(_decodable, container.streams.video):
        width, height = stream.codec_context.width, stream.codec_context.height
        if width * height > limits.max_pixels:
            raise MediaError(
                "TooManyPixels",
                f"its frames have {width}x{height} pixels, {width * height:,} in all, and the "
                f"limit is {limits.max_pixels:,}; encode it smaller, or raise parameter max_pixels",
            )


def check_duration(seconds: float, limits: MediaLimits) -> None:
    """Raises MediaError TooLong."""
    if seconds > limits.max_duration:
        raise MediaError(
            "TooLong",
            f"it is {seconds:,.0f} s long ({_hours(seconds)}) by its own timestamps, and the "
            f"limit is {limits.max_duration:,.0f} s ({_hours(limits.max_duration)}); "
            "cut it, mend its timestamps, or raise parameter max_duration",
        )


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:,.1f} h"


def duration_of(container: InputContainer) -> float:
    """Seconds as told by the header, 0.0 when unknown."""
    return max(container.duration, 0) / 1e6 if container.duration else 0.0


def choose(container: InputContainer, request: MediaRequest) -> Chosen:
    """The best stream of each kind.

    Raises:
        MediaError: NoUsableStreams: there is neither picture nor sound that can be decoded.
    """
    video = _best([s for s in container.streams.video if _is_film(s)])
    audio = _best([s for s in container.streams.audio if _decodable(s)])
    if video is None and audio is None:
        raise MediaError("NoUsableStreams", _unusable(container))
    texts = _by_language(container, audio.language if audio is not None else None)
    return Chosen(
        video=video,
        audio=audio,
        captions=texts[0] if texts and request.captions else None,
        languages=tuple(caption_language(s.language) for s in texts),
    )


def _decodable(stream: Stream) -> bool:
    return getattr(stream, "codec_context", None) is not None


def _is_film(stream: VideoStream) -> bool:
    """No cover of an album, and decodable."""
    from av.stream import Disposition

    return (
        _decodable(stream)
        and not stream.disposition & (Disposition.attached_pic | Disposition.timed_thumbnails)
        and stream.codec_context.width > 0
        and stream.codec_context.height > 0
    )


def _best(streams: list[Any]) -> Any:
    """The one that a player takes: marked as default, for everyone, the largest, the first."""
    from av.stream import Disposition

    special = (
        Disposition.hearing_impaired
        | Disposition.visual_impaired
        | Disposition.comment
        | Disposition.dependent
    )

    def rank(stream: Any) -> tuple[bool, bool, int, int]:
        context = stream.codec_context
        size = context.width * context.height if stream.type == "video" else 0
        marks = stream.disposition
        return (not marks & special, bool(marks & Disposition.default), size, -stream.index)

    return max(streams, key=rank, default=None)


def _by_language(container: InputContainer, spoken: str | None) -> list[SubtitleStream]:
    """Text subtitle streams, those in the language spoken and for everything said first."""
    from av.stream import Disposition

    texts = [
        s
        for s in container.streams.subtitles
        if _decodable(s) and s.codec_context.name in TEXT_CODECS
    ]

    def rank(stream: SubtitleStream) -> tuple[bool, bool, bool, int]:
        marks = stream.disposition
        return (
            bool(marks & Disposition.forced),
            bool(spoken) and stream.language != spoken,
            not marks & Disposition.default,
            stream.index,
        )

    return sorted(texts, key=rank)


def _unusable(container: InputContainer) -> str:
    kinds: dict[str, int] = {}
    for stream in container.streams:
        kinds[stream.type] = kinds.get(stream.type, 0) + 1
    there = ", ".join(f"{count} {kind}" for kind, count in kinds.items()) or "none"
    return (
        f"it has no picture or sound that can be decoded (streams: {there}); "
        "encode it with a common codec such as H.264 and AAC"
    )


def shape_of(video: VideoStream) -> tuple[int, int]:
    """Width and height in square pixels, before rotation."""
    context = video.codec_context
    return square(context.width, context.height, context.sample_aspect_ratio)


def square(width: int, height: int, aspect: Fraction | None) -> tuple[int, int]:
    """The size at which pixels of that aspect ratio are square."""
    if not aspect or not 1 / _WORST_SHAPE <= aspect <= _WORST_SHAPE:
        return width, height
    return max(round(width * aspect), 1), height


def probe(container: InputContainer, form: str, chosen: Chosen, rotation: int) -> Probe:
    """What the asset is; `rotation` in degrees clockwise."""
    width = height = 0
    rate = 0.0
    if chosen.video is not None:
        width, height = shape_of(chosen.video)
        rate = _rate(chosen.video)
    if rotation % 180:
        width, height = height, width
    return Probe(
        kind="film" if chosen.video is not None else "sound",
        format=form,
        duration=duration_of(container),
        width=width,
        height=height,
        fps=rate,
        rotation=rotation,
        video_codec=_codec(chosen.video),
        audio_codec=_codec(chosen.audio),
        streams=len(container.streams),
        tags=_tags(container),
        captions=chosen.languages,
    )


def _rate(video: VideoStream) -> float:
    """Frames a second; 0.0 when there is no telling, or when it is told and absurd."""
    rate = float(video.average_rate or 0)
    return rate if math.isfinite(rate) and 0 < rate <= 1000 else 0.0


def _codec(stream: Stream | None) -> str:
    return stream.codec_context.codec.canonical_name if stream is not None else ""


def _tags(container: InputContainer) -> dict[str, str]:
    found = {}
    for name, value in list(container.metadata.items())[:_MOST_TAGS]:
        text = value.replace("\x00", "").strip()[:_MOST_TEXT]
        if text:
            found[name.lower()[:64]] = text
    return found

"""What a decoder is asked and what it tells, in order of time as far as the file has it so."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np

SAMPLE_RATE = 16_000
"""Samples a second of every `Sound`."""

SIGNATURE_EDGE = 16
"""Width and height of the grey thumbnail in `Frame.signature`."""


@dataclass(frozen=True)
class MediaRequest:
    """What is wanted of one asset. Of a picture always its `Probe` and `Frame`s are told."""

    frames: Literal["key", "accurate", "none"] = "key"
    """`key`: only key frames are decoded. `accurate`: frames at `frames_per_second`, which takes
    a decode of the film without its non-reference frames."""
    sound: bool = True
    captions: bool = True
    cuts: bool = False
    scene_threshold: float = 0.3
    """Share of the colour histogram, 0..1, that differs between two scenes."""
    frame_size: int = 1280
    """Pixels of a told frame's longest side, at most."""
    start: float = 0.0
    """Seconds; only what is at or after it is told."""
    frames_per_second: float = 2.0
    """Rate of frames in accurate mode; in key mode the most there are of them."""

    def fields(self) -> dict[str, Any]:
        """For the wire."""
        return asdict(self)


@dataclass(frozen=True)
class Probe:
    """What the asset is. Always the first event."""

    kind: Literal["film", "sound", "picture"]
    format: str
    """Name of the demuxer or of the picture's format, such as `mov` or `PNG`."""
    duration: float = 0.0
    """Seconds as the header tells them; 0.0 when unknown. Of an animation, one round."""
    width: int = 0
    """Pixels as seen: after rotation and with square pixels."""
    height: int = 0
    fps: float = 0.0
    """Frames a second on average; 0.0 when unknown."""
    rotation: int = 0
    """Degrees (0, 90, 180, 270) clockwise that were applied; 0 when no frames were asked for."""
    video_codec: str = ""
    audio_codec: str = ""
    """Of the stream that is told; empty when there is none that can be decoded."""
    streams: int = 0
    tags: dict[str, str] = field(default_factory=dict)
    """The container's metadata, such as title and artist."""
    exif: dict[str, Any] = field(default_factory=dict)
    """Of pictures; plain JSON values, `latitude` and `longitude` in degrees."""
    frames: int = 0
    """Of a picture: 1, or the frames of an animation."""
    captions: tuple[str, ...] = ()
    """Languages (ISO 639, "" unknown) of the text subtitle streams; the first is told."""


@dataclass(frozen=True)
class Frame:
    """One picture: upright, RGB."""

    time: float
    pixels: np.ndarray[Any, np.dtype[np.uint8]]
    """(height, width, 3) uint8 RGB; the longest side is at most `MediaRequest.frame_size`."""
    key: bool
    signature: bytes
    """A grey thumbnail of 16x16 bytes, to tell repeated frames apart."""


@dataclass(frozen=True)
class Cut:
    """A scene begins here, in seconds."""

    time: float


@dataclass(frozen=True)
class Sound:
    """Mono float32 samples, 16,000 a second, -1..1. Pieces follow each other without a gap from
    `MediaRequest.start` on; what the file leaves out is silence."""

    start: float
    samples: np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True)
class Caption:
    """One caption of the container's chosen subtitle stream, in seconds, markup stripped."""

    start: float
    end: float
    text: str
    language: str
    """ISO 639, two letters where there are two; "" when unknown."""


@dataclass(frozen=True)
class Position:
    """Everything before this second has been told; the last one is the asset's end."""

    time: float


@dataclass(frozen=True)
class Damage:
    """The asset is partly damaged: what could be decoded was told. At most once, near the end."""

    time: float
    """Seconds at which the first damage was met."""
    message: str


Event = Probe | Frame | Cut | Sound | Caption | Position | Damage

"""Pieces of an asset as handlers get them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SAMPLE_RATE = 16_000
MOST_SECONDS = 600.0
"""Of one chunk of film or sound."""


@dataclass(frozen=True)
class VideoFrame:
    """One picture of a film."""

    time: float
    """Seconds from the film's start."""
    pixels: NDArray[np.uint8] = field(repr=False)
    """RGB, (height, width, 3), upright."""


@dataclass(frozen=True)
class AudioChunk:
    """A span of sound, in seconds from the start."""

    index: int
    start: float
    end: float
    samples: NDArray[np.float32] | None = field(repr=False)
    """Mono, 16,000 a second, -1..1; None where the asset has no sound."""
    sample_rate: int = SAMPLE_RATE

    def to_dict(self) -> dict[str, Any]:
        """Its place, for a document: `chunk_index`, `start_time`, `end_time` (seconds)."""
        return {"chunk_index": self.index, "start_time": self.start, "end_time": self.end}


@dataclass(frozen=True)
class VideoChunk(AudioChunk):
    """A span of a film: its frames, and its sound where it has some."""

    frames: list[VideoFrame] = field(default_factory=list, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """As of sound, and `frame_times` (seconds)."""
        return {**super().to_dict(), "frame_times": [frame.time for frame in self.frames]}


@dataclass(frozen=True)
class ImageChunk:
    """One picture, or one frame of an animation."""

    index: int
    time: float
    """Seconds; 0.0 of a still picture."""
    pixels: NDArray[np.uint8] = field(repr=False)
    """RGB, (height, width, 3), upright."""

    def to_dict(self) -> dict[str, Any]:
        """`chunk_index`, `start_time` (seconds), `width` and `height` (pixels)."""
        height, width = self.pixels.shape[:2]
        return {
            "chunk_index": self.index,
            "start_time": self.time,
            "width": width,
            "height": height,
        }


@dataclass(frozen=True)
class TextChunk:
    """Some sentences of a text."""

    index: int
    start: int
    """Of its first character in the text, counted from 0."""
    end: int
    text: str

    def __str__(self) -> str:
        return self.text

    def to_dict(self) -> dict[str, Any]:
        """`text`, `chunk_index`, and `start_offset` and `end_offset` in characters."""
        return {
            "text": self.text,
            "chunk_index": self.index,
            "start_offset": self.start,
            "end_offset": self.end,
        }

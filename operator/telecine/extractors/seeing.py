"""Pictures and key frames: which of them to look at, what is written in them, a thumbnail."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from telecine.extractors.splitting import Span

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from telecine.extractors.media.events import Frame
    from telecine.extractors.ocr import Line, TextRecognizer

    Pixels = NDArray[np.uint8]

_SAME, _SPOT = 4.0, 48
"""Differences of grey values, of 255, below which two frames show the same: in the mean, and
anywhere, which is how a line of text on the same ground shows."""
_FOR_MODELS = 288
"""Pixels of the shorter side that visual models are given; they want 224 or less, cropped."""
_THUMBNAIL, _QUALITY = 240, 60


@dataclass(slots=True)
class Seen:
    """One picture that was looked at."""

    time: float
    text: str
    small: Any
    """RGB pixels for visual models, (H, W, 3) uint8."""
    thumbnail: str = ""
    """JPEG, base64; empty when not wanted."""


def look(
    pixels: Pixels, time: float, recognizer: TextRecognizer | None, *, thumbnail: bool
) -> Seen:
    """Reads what is written in a picture, and makes it small."""
    text = written(recognizer.read(pixels)) if recognizer is not None else ""
    small = for_models(pixels)
    return Seen(time, text, small, thumbnail_of(small) if thumbnail else "")


def written(lines: list[Line]) -> str:
    return "\n".join(line.text.strip() for line in lines if line.text.strip())


def for_models(pixels: Pixels) -> Pixels:
    """The picture as small as visual models want it."""
    return shrunk(pixels, shortest=_FOR_MODELS)


def shrunk(pixels: Pixels, *, shortest: int = 0, longest: int = 0) -> Pixels:
    """The picture with its shorter or longer side at most so many pixels."""
    import numpy as np
    from PIL import Image

    height, width = pixels.shape[:2]
    side, wanted = (min(height, width), shortest) if shortest else (max(height, width), longest)
    if side <= wanted:
        return np.ascontiguousarray(pixels)
    scale = wanted / side
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    return np.asarray(
        Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC, reducing_gap=2)
    )


def thumbnail_of(pixels: Pixels) -> str:
    """A JPEG of at most 240 pixels, base64."""
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(shrunk(pixels, longest=_THUMBNAIL)).save(out, "JPEG", quality=_QUALITY)
    return base64.b64encode(out.getvalue()).decode()


class Watching:
    """The key frames of a film, each scene's first few different ones, in the order of time."""

    def __init__(
        self,
        recognizer: Callable[[], TextRecognizer | None],
        *,
        most: int,
        every: float,
        thumbnail: bool,
        known_until: float = 0.0,
    ) -> None:
        """At most `most` frames of `every` seconds are kept; those before `known_until` are only
        made small."""
        self._recognizer, self._thumbnail = recognizer, thumbnail
        self._most, self._every, self._known_until = most, every, known_until
        self._seen: list[Seen] = []
        self._recent: list[float] = []
        self._last: bytes = b""

    def add(self, frame: Frame) -> None:
        """Looks at a frame unless it repeats the last one or there were enough."""
        if self._last and same(self._last, frame.signature):
            return
        self._recent = [t for t in self._recent if t > frame.time - self._every]
        if len(self._recent) >= self._most:
            return
        self._last = frame.signature
        self._recent.append(frame.time)
        if frame.time < self._known_until:
            self._seen.append(look(frame.pixels, frame.time, None, thumbnail=False))
        else:
            self._seen.append(
                look(frame.pixels, frame.time, self._recognizer(), thumbnail=self._thumbnail)
            )

    def take(self, span: Span) -> list[Seen]:
        """The frames of a span; each is given once."""
        mine = [s for s in self._seen if s.time < span.end]
        self._seen = [s for s in self._seen if s.time >= span.end]
        return mine


def same(one: bytes, other: bytes) -> bool:
    """Whether two signatures are of frames that show the same."""
    import numpy as np

    left, right = (np.frombuffer(s, np.uint8).astype(np.int16) for s in (one, other))
    apart = np.abs(left - right)
    return bool(apart.mean() < _SAME and apart.max() < _SPOT)

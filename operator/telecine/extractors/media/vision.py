"""Decoded frames as told: upright RGB in a bounded size, signatures, cuts. Runs in the decoder
only."""

from __future__ import annotations

from collections import deque
from itertools import product
from typing import TYPE_CHECKING, Any

from telecine.extractors.media.container import square
from telecine.extractors.media.events import SIGNATURE_EDGE, Frame

if TYPE_CHECKING:
    import numpy as np
    from av.video.frame import VideoFrame
    from av.video.reformatter import VideoReformatter

    Pixels = np.ndarray[Any, np.dtype[np.uint8]]

_BINS = 8
_CUT_SIZE = (64, 36)
_CUT_SPAN = 0.6
"""Seconds that a change may take to count as a cut: dissolves are as long as that."""
_SHORTEST_SCENE = 0.5
"""Seconds; what changes sooner after a cut is the rest of its dissolve."""


class Camera:
    """Makes told frames. Keeps one scaler for each size: making them anew costs a frame's time."""

    def __init__(self, frame_size: int) -> None:
        self._edge = frame_size
        self._scalers: dict[str, VideoReformatter] = {}

    def frame(self, frame: VideoFrame, time: float, *, key: bool, aspect: Any = None) -> Frame:
        """`aspect` is the stream's sample aspect ratio."""
        import numpy as np

        width, height = square(frame.width, frame.height, aspect)
        scale = min(self._edge / max(width, height), 1.0)
        size = (max(round(width * scale), 1), max(round(height * scale), 1))
        turns = quarter_turns(frame)
        pixels = self._scaled("frame", frame, size, "rgb24")
        grey = self._scaled("signature", frame, (SIGNATURE_EDGE, SIGNATURE_EDGE), "gray")
        return Frame(
            time=time,
            pixels=np.ascontiguousarray(np.rot90(pixels, turns)),
            key=key,
            signature=np.ascontiguousarray(np.rot90(grey, turns)).tobytes(),
        )

    def small(self, frame: VideoFrame) -> Pixels:
        """(36, 64, 3) RGB, for telling scenes apart."""
        return self._scaled("cut", frame, _CUT_SIZE, "rgb24")

    def _scaled(self, use: str, frame: VideoFrame, size: tuple[int, int], form: str) -> Pixels:
        from av.video.reformatter import VideoReformatter

        scaler = self._scalers.get(use)
        if scaler is None:
            scaler = self._scalers[use] = VideoReformatter()
        small = scaler.reformat(
            frame, size[0], size[1], format=form, interpolation="AREA", threads=1
        )
        return small.to_ndarray()  # type: ignore[return-value]


def quarter_turns(frame: VideoFrame) -> int:
    """Quarters counterclockwise that bring the frame upright (its display matrix)."""
    return round(frame.rotation / 90) % 4


class CutFinder:
    """Tells where scenes begin, from the colours of successive pictures.

    A picture is compared with the first one of the last moments: a hard cut shows at once, a
    dissolve when enough of it is over.
    """

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._seen: deque[tuple[float, np.ndarray[Any, Any]]] = deque()
        self._last_cut = -_SHORTEST_SCENE

    def is_cut(self, pixels: Pixels, time: float) -> bool:
        """Whether a scene begins with this picture. The first picture begins none."""
        colours = histogram(pixels)
        seen = self._seen
        while len(seen) > 1 and time - seen[0][0] > _CUT_SPAN:
            seen.popleft()
        settled = time - self._last_cut >= _SHORTEST_SCENE
        cut = settled and bool(seen) and difference(seen[0][1], colours) >= self._threshold
        if cut:
            self._last_cut = time
        if cut or not settled:
            seen.clear()
        seen.append((time, colours))
        return cut


def histogram(pixels: Pixels) -> np.ndarray[Any, Any]:
    """Shares of 8x8x8 colours. A pixel between two bins counts for both, so that noise on a
    plain ground at their border is no change."""
    import numpy as np

    scaled = pixels.reshape(-1, 3).astype(np.float32) / (256 / _BINS) - 0.5
    scaled = np.clip(scaled, 0, _BINS - 1.001)
    low = scaled.astype(np.intp)
    share = scaled - low
    strides = np.array([_BINS * _BINS, _BINS, 1])
    base = low @ strides
    total = np.zeros(_BINS**3)
    for corner in product((0, 1), repeat=3):
        weights = np.where(corner, share, 1 - share).prod(axis=1)
        total += np.bincount(base + int(strides @ corner), weights, _BINS**3)
    return total / len(scaled)


def difference(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> float:
    """Share of two histograms that differs, 0..1."""
    return float(abs(one - other).sum() / 2)

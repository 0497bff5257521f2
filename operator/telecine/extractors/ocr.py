"""Text seen in pictures, with RapidOCR (PaddleOCR's models on ONNX Runtime)."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from telecine.extractors.loading import Loaded, ModelUnavailableError, told

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_INSTALL = "pip install 'telecine[media]'"
_LEAST_SCORE = 0.6
_SMALLEST, _MOST_LARGER = 640, 3.0
"""Pixels of the longer side to which small pictures are enlarged, and how far at most."""
_GAP = 0.28
"""Share of the letters' height from which an empty column between two of them is a space."""
_INK = 0.35
"""Share of a line's contrast from which a pixel is ink."""
_SHORTEST = 6
"""Letters of a line in which spaces are looked for."""
_SAME_LINE = 0.5
"""Share of a line's height by which the next may lie lower and still be on it."""


class Line(NamedTuple):
    """Text on one line."""

    text: str
    score: float
    """0..1."""
    box: tuple[float, float, float, float]
    """Left, top, right, bottom as shares of the picture, 0..1."""


class TextRecognizer:
    """Finds and reads text; one call at a time."""

    def __init__(self, engine: Any) -> None:
        self._engine, self._mutex = engine, threading.Lock()

    def read(self, pixels: NDArray[np.uint8]) -> list[Line]:
        """The lines of a picture, RGB (H, W, 3) uint8, in reading order."""
        height, width = pixels.shape[:2]
        if min(height, width) < 8:
            return []
        import cv2

        scale = min(max(_SMALLEST / max(height, width), 1.0), _MOST_LARGER)
        bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
        if scale > 1:
            bgr = cv2.resize(bgr, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
        with self._mutex:
            found, _ = self._engine(bgr, return_word_box=True)
        grey: Any = cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY)
        shape = (width * scale, height * scale)
        return in_reading_order(
            [
                Line(spaced(letters, boxes, grey), float(score), _box(corners, shape))
                for corners, _text, score, boxes, letters, *_ in found or []
                if float(score) >= _LEAST_SCORE and len(letters) > 1
            ]
        )


def _box(corners: Any, shape: tuple[float, float]) -> tuple[float, float, float, float]:
    xs, ys = [c[0] / shape[0] for c in corners], [c[1] / shape[1] for c in corners]
    return (min(xs), min(ys), max(xs), max(ys))


def spaced(letters: Sequence[str], boxes: Any, grey: NDArray[np.uint8]) -> str:
    """The text of a line, with spaces where empty columns part its letters.

    The recognizer often leaves out all spaces between capitals, and hardly ever only some of a
    line's. `boxes` are the corners of each letter, to within a quarter of its width; `grey` is the
    whole picture.
    """
    import numpy as np

    if " " in letters or len(letters) < _SHORTEST:
        return "".join(letters)
    corners = np.array(boxes, np.float32).reshape(-1, 2)
    (left, top), (right, bottom) = corners.min(axis=0).astype(int), corners.max(axis=0).astype(int)
    line = grey[max(top, 0) : bottom + 1, max(left, 0) : right + 1].astype(np.float32)
    if not line.size or line.max() - line.min() < 32:
        return "".join(letters)
    ground = np.median(line)
    ink = np.abs(line - ground) > _INK * np.abs(line - ground).max()
    columns, rows = ink.any(axis=0), np.flatnonzero(ink.any(axis=1))
    wide = _GAP * (rows[-1] - rows[0] + 1)
    middles = [int((box[0][0] + box[2][0]) / 2) - max(left, 0) for box in boxes]
    text = letters[0]
    for (_, start), (letter, end) in pairwise(zip(letters, middles, strict=True)):
        text += (" " if _widest_gap(columns[start : end + 1]) > wide else "") + letter
    return text


def _widest_gap(columns: NDArray[np.bool_]) -> int:
    """The longest run of columns without ink between two with."""
    import numpy as np

    inked = np.flatnonzero(columns)
    return int(np.diff(inked).max()) - 1 if len(inked) > 1 else 0


def in_reading_order(lines: list[Line]) -> list[Line]:
    """From top to bottom, and from left to right where lines stand side by side."""
    rows: list[list[Line]] = []
    for line in sorted(lines, key=lambda one: (one.box[1] + one.box[3]) / 2):
        middle = (line.box[1] + line.box[3]) / 2
        if rows:
            last = rows[-1][-1]
            height = min(last.box[3] - last.box[1], line.box[3] - line.box[1])
            if middle - (last.box[1] + last.box[3]) / 2 < _SAME_LINE * height:
                rows[-1].append(line)
                continue
        rows.append([line])
    return [line for row in rows for line in sorted(row, key=lambda one: one.box[0])]


_loaded: Loaded[TextRecognizer] = Loaded()


def load_text_recognizer() -> TextRecognizer:
    """Raises ModelUnavailableError: rapidocr-onnxruntime is missing or cannot be loaded."""
    return _loaded.get("rapidocr", "cpu", _load)


def _load() -> TextRecognizer:
    try:
        from rapidocr_onnxruntime import RapidOCR

        threads = len(os.sched_getaffinity(0))
        return TextRecognizer(RapidOCR(intra_op_num_threads=threads, inter_op_num_threads=1))
    except ImportError as error:
        # OpenCV needs system libraries (libGL) that a lean image may lack.
        raise ModelUnavailableError(
            f"text recognition: {told(error)}; install it with: {_INSTALL}"
        ) from error

"""Text seen in pictures, with RapidOCR (PaddleOCR's models on ONNX Runtime)."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from telecine.extractors.loading import Loaded, ModelUnavailableError, cores, told

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_INSTALL = "pip install 'telecine[media]'"
_FILES = {
    "rec_model_path": "rec.onnx",
    "det_model_path": "det.onnx",
    "cls_model_path": "cls.onnx",
    "rec_keys_path": "keys.txt",
}
_LEAST_SCORE = 0.6
_SMALLEST, _MOST_LARGER = 640, 3.0
"""Pixels of the longer side to which small pictures are enlarged, and how far at most."""
_LEAST_SIDE = 8
"""Pixels: no letter is smaller."""
_THINNEST = 3
"""Times that the longer side may be the shorter one. Thinner pictures get a margin: the detector
enlarges the shorter side to 736 pixels, which would cost a strip of 1280 x 20 a minute."""
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
        if min(height, width) < _LEAST_SIDE:
            return []
        import cv2

        scale = min(max(_SMALLEST / max(height, width), 1.0), _MOST_LARGER)
        bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
        left, top = (max(-(-max(height, width) // _THINNEST) - n, 0) // 2 for n in (width, height))
        if left or top:
            bgr = cv2.copyMakeBorder(bgr, top, top, left, left, cv2.BORDER_REPLICATE)
        if scale > 1:
            bgr = cv2.resize(bgr, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
        with self._mutex:
            found, _ = self._engine(bgr, return_word_box=True)
        grey: Any = cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY)
        place = (left, top, width, height)
        return in_reading_order(
            [
                Line(spaced(letters, boxes, grey), float(score), _box(corners, scale, place))
                for corners, _text, score, boxes, letters, *_ in found or []
                if float(score) >= _LEAST_SCORE and len(letters) > 1
            ]
        )


def _box(
    corners: Any, scale: float, place: tuple[int, int, int, int]
) -> tuple[float, float, float, float]:
    """Corners in an enlarged picture with margins as shares of the picture at `place` in it."""
    left, top, width, height = place
    xs, ys = (
        [min(max((float(corner[axis]) / scale - start) / length, 0.0), 1.0) for corner in corners]
        for axis, start, length in ((0, left, width), (1, top, height))
    )
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


def load_text_recognizer(model: str | None = None) -> TextRecognizer:
    """RapidOCR with the models of its package, or with those of a directory.

    A directory holds PaddleOCR models in ONNX: `rec.onnx`, and where they differ from the
    package's `det.onnx`, `cls.onnx` and `keys.txt` (the characters, one a line, where `rec.onnx`
    does not carry them).

    Raises:
        ModelUnavailableError: rapidocr-onnxruntime is missing, or a model cannot be loaded.
    """
    name = (model or "").strip()
    return _loaded.get(name, "cpu", lambda: _load(name))


def _load(name: str) -> TextRecognizer:
    given = _files(Path(name).expanduser()) if name else {}
    try:
        from rapidocr_onnxruntime import RapidOCR
    except ImportError as error:
        # OpenCV needs system libraries (libGL) that a lean image may lack.
        raise ModelUnavailableError(
            f"text recognition: {told(error)}; install it with: {_INSTALL}"
        ) from error
    try:
        engine = RapidOCR(intra_op_num_threads=cores(), inter_op_num_threads=1, **given)
    except Exception as error:  # those of ONNX Runtime and of files share no base class
        raise ModelUnavailableError(
            f"text recognition {name or 'of the package'}: its models cannot be loaded "
            f"({told(error)}); give parameter ocr_model a directory with PaddleOCR models in ONNX"
        ) from error
    return TextRecognizer(engine)


def _files(folder: Path) -> dict[str, str]:
    """Options of RapidOCR for the files that are there."""
    if not (folder / "rec.onnx").is_file():
        raise ModelUnavailableError(
            f"text recognition {folder}: there is no rec.onnx in such a directory on the worker; "
            "mount the model there, or leave parameter ocr_model out"
        )
    return {
        option: str(folder / file) for option, file in _FILES.items() if (folder / file).is_file()
    }

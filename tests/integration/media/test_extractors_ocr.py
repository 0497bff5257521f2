"""Text in pictures: where it stands, in which pictures, and at what cost."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from telecine.dev.media.photos import text_picture
from telecine.extractors.ocr import TextRecognizer, load_text_recognizer

SIGN = "DO NOT FEED THE SWANS"


@pytest.fixture(scope="module")
def recognizer() -> TextRecognizer:
    return load_text_recognizer()


def sign(width: int = 640) -> NDArray[np.uint8]:
    picture = text_picture(SIGN, font_size=36)
    height = width * picture.height // picture.width
    return np.asarray(picture.resize((width, height), Image.Resampling.LANCZOS))


def inked(picture: NDArray[np.uint8]) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of what differs from the ground, in pixels."""
    ground = np.median(picture.reshape(-1, 3), axis=0)
    ys, xs = np.where(np.abs(picture - ground).sum(axis=2) > 60)
    return int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1


@pytest.mark.parametrize("width", [1280, 640, 320, 240])
def test_text_is_read_in_pictures_large_and_small(recognizer: TextRecognizer, width: int) -> None:
    assert [line.text for line in recognizer.read(sign(width))] == [SIGN]


def test_a_line_s_box_is_where_the_text_stands(recognizer: TextRecognizer) -> None:
    picture = sign()
    (line,) = recognizer.read(picture)
    height, width = picture.shape[:2]
    stands = np.array(inked(picture)) / [width, height, width, height]
    assert np.allclose(line.box, stands, atol=0.02)
    assert all(type(share) is float for share in line.box)


def test_text_that_fills_a_strip_is_read_within_it(recognizer: TextRecognizer) -> None:
    picture = sign()
    left, top, right, bottom = inked(picture)
    strip = np.ascontiguousarray(picture[top - 1 : bottom + 1, left - 1 : right + 1])
    (line,) = recognizer.read(strip)
    assert line.text == SIGN
    assert np.allclose(line.box, (0, 0, 1, 1), atol=0.1)
    assert min(line.box) >= 0
    assert max(line.box) <= 1


@pytest.mark.parametrize("shape", [(8, 4000), (4000, 8), (1280, 20), (1, 1), (8, 8)])
def test_pictures_of_odd_shapes_are_no_fault(
    recognizer: TextRecognizer, shape: tuple[int, int]
) -> None:
    noise = np.random.default_rng(2).integers(0, 255, (*shape, 3), dtype=np.uint8)
    assert recognizer.read(noise) == []


def test_a_picture_may_be_a_part_of_another_and_not_to_be_written(
    recognizer: TextRecognizer,
) -> None:
    picture = sign()[:, ::-1].copy()[:, ::-1]
    picture.setflags(write=False)
    assert [line.text for line in recognizer.read(picture)] == [SIGN]


def test_it_takes_no_more_threads_than_there_are_processors(recognizer: TextRecognizer) -> None:
    for part in (recognizer._engine.text_det.infer, recognizer._engine.text_rec.session):
        options = part.session.get_session_options()
        assert options.intra_op_num_threads == len(os.sched_getaffinity(0))


class Engine:
    """Stands for RapidOCR: finds given lines, and keeps what it was shown."""

    def __init__(self, *found: tuple[tuple[float, float, float, float], str, float]) -> None:
        self.found, self.seen = found, (0, 0)

    def __call__(self, bgr: NDArray[np.uint8], **_: Any) -> tuple[list[Any], None]:
        self.seen = bgr.shape[:2]
        lines = []
        for (left, top, right, bottom), text, score in self.found:
            corners = [[left, top], [right, top], [right, bottom], [left, bottom]]
            lines.append([corners, text, score, [corners] * len(text), list(text), []])
        return lines, None


@pytest.mark.parametrize("shape", [(20, 1280), (1280, 20), (9, 200), (640, 100), (8, 9)])
def test_what_a_thin_picture_costs_is_bounded(shape: tuple[int, int]) -> None:
    """The detector makes the shorter side 736 pixels long, whatever that makes of the longer."""
    engine = Engine()
    TextRecognizer(engine).read(np.zeros((*shape, 3), np.uint8))
    assert max(engine.seen) / min(engine.seen) < 3.2
    assert max(engine.seen) >= max(shape)


def test_boxes_are_shares_of_the_picture_and_not_of_its_margins() -> None:
    engine = Engine(((640, 320 - 48, 960, 320 + 48), "Exit", 0.9))
    (line,) = TextRecognizer(engine).read(np.zeros((96, 1920, 3), np.uint8))
    assert engine.seen == (640, 1920)
    assert np.allclose(line.box, (1 / 3, 0, 1 / 2, 1))


def test_boxes_of_an_enlarged_picture_are_shares_of_it() -> None:
    engine = Engine(((300, 0, 600, 90), "Exit", 0.9))
    (line,) = TextRecognizer(engine).read(np.zeros((100, 200, 3), np.uint8))
    assert engine.seen == (300, 600)
    assert np.allclose(line.box, (0.5, 0, 1, 0.3))


@pytest.mark.parametrize(("score", "kept"), [(0.59, []), (0.61, ["Exit"])])
def test_what_is_hardly_legible_is_left_out(score: float, kept: list[str]) -> None:
    engine = Engine(((10, 10, 90, 40), "Exit", score))
    read = TextRecognizer(engine).read(np.zeros((480, 640, 3), np.uint8))
    assert [line.text for line in read] == kept


def test_lines_come_in_reading_order_whatever_the_engine_s() -> None:
    below, right, left = (10, 300, 90, 330), (300, 12, 400, 42), (10, 10, 90, 40)
    engine = Engine((below, "below", 0.9), (right, "right", 0.9), (left, "left", 0.9))
    read = TextRecognizer(engine).read(np.zeros((480, 640, 3), np.uint8))
    assert [line.text for line in read] == ["left", "right", "below"]

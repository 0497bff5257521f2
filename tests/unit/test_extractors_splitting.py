"""Splitting: the same segments however the sound and the cuts arrive."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from telecine.extractors.splitting import (
    CutSplitter,
    SilenceSplitter,
    Span,
    SplitMethod,
    Splitter,
    TimeSplitter,
    splitter,
)

RATE = 16_000


def speech(seconds: float) -> np.ndarray:
    rng = np.random.default_rng(1)
    return (rng.standard_normal(int(seconds * RATE)) * 0.1).astype(np.float32)


def quiet(seconds: float) -> np.ndarray:
    return np.zeros(int(seconds * RATE), np.float32)


def test_time_gives_equal_segments_and_a_shorter_last_one() -> None:
    made = TimeSplitter(10)
    assert made.closed(9.9) == []
    assert made.closed(20.0) == [Span(0, 10), Span(10, 20)]
    assert made.finish(25.5) == [Span(20, 25.5)]


def test_time_gives_no_segment_for_a_rounding_rest() -> None:
    made = TimeSplitter(10)
    assert made.closed(20.01) == [Span(0, 10), Span(10, 20)]
    assert made.finish(20.01) == []


@pytest.mark.parametrize("method", list(SplitMethod))
def test_a_medium_of_no_length_is_one_segment(method: SplitMethod) -> None:
    assert splitter(method, interval=10, silence_db=-40).finish(0.0) == [Span(0, 0)]


def test_scenes_end_at_cuts_and_none_is_shorter_than_a_second() -> None:
    made = CutSplitter()
    for cut in (0.0, 4.0, 4.4, 9.0):
        made.cut(cut)
    assert made.closed(8.0) == [Span(0, 4)]
    assert made.finish(12.0) == [Span(4, 9), Span(9, 12)]


def test_a_long_scene_is_cut_by_time() -> None:
    made = CutSplitter()
    made.cut(130.0)
    assert made.finish(140.0) == [Span(0, 60), Span(60, 120), Span(120, 130), Span(130, 140)]


def test_silence_cuts_in_the_middle_of_a_pause() -> None:
    made = SilenceSplitter(-40)
    made.sound(0.0, np.concatenate([speech(3), quiet(1), speech(3), quiet(0.2), speech(3)]))
    assert made.closed(10.2) == [Span(0, pytest.approx(3.5, abs=0.06))]
    assert [span.end for span in made.finish(10.2)] == [10.2]


def test_nothing_is_closed_within_a_silence_that_goes_on() -> None:
    made = SilenceSplitter(-40)
    made.sound(0.0, np.concatenate([speech(59), quiet(20)]))
    assert made.closed(79.0) == []
    made.sound(79.0, speech(1))
    assert made.closed(80.0)[0] == Span(0, 60)


@given(
    st.lists(st.floats(0.05, 200), max_size=12),
    st.lists(st.floats(0, 200), max_size=12),
    st.sampled_from(["time", "scene"]),
)
def test_segments_touch_and_do_not_depend_on_when_they_are_asked_for(
    cuts: list[float], asks: list[float], method: str
) -> None:
    def run(asked: list[float]) -> list[Span]:
        made: Splitter = splitter(SplitMethod(method), interval=7, silence_db=-40)
        told = iter(sorted(cuts))
        upcoming = next(told, None)
        spans = []
        for ask in sorted(asked):
            while upcoming is not None and upcoming <= ask:
                made.cut(upcoming)
                upcoming = next(told, None)
            spans += made.closed(ask)
        while upcoming is not None:
            made.cut(upcoming)
            upcoming = next(told, None)
        return spans + made.finish(201.0)

    spans = run(asks)
    assert spans == run([])
    assert spans[0].start == 0
    assert all(a.end == b.start for a, b in itertools.pairwise(spans))
    assert spans[-1].end == pytest.approx(201, abs=0.06)

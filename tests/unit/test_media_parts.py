"""Markup of captions, languages, cuts and clocks, without a process."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest
from telecine.extractors.media.captions import caption_language, plain
from telecine.extractors.media.clock import Clock
from telecine.extractors.media.vision import CutFinder, difference, histogram


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (r"{\an8\i1}Hello{\i0}\Nworld", "Hello\nworld"),
        (r"{\p1}m 0 0 l 100 0 100 100{\p0}Seen", "Seen"),
        (r"<font color=\"#fff\">A</font> <b>B</b>", "A B"),
        (r"3 < 4 and 5 > 2", "3 < 4 and 5 > 2"),
        (r"Tom &amp; Jerry\h!", "Tom & Jerry !"),
        (r"<00:00:01.000>karaoke", "karaoke"),
        (r"  \N ", ""),
    ],
)
def test_captions_lose_their_markup_and_nothing_else(event: str, text: str) -> None:
    assert plain(event) == text


@pytest.mark.parametrize(
    ("tag", "language"),
    [
        ("eng", "en"),
        ("ger", "de"),
        ("en-US", "en"),
        ("pt_BR", "pt"),
        ("fil", "fil"),
        ("und", ""),
        ("", ""),
        (None, ""),
        ("English", ""),
    ],
)
def test_languages_are_two_letters_where_there_are_two(tag: str | None, language: str) -> None:
    assert caption_language(tag) == language


def picture(colour: tuple[int, int, int], noise: int = 0, seed: int = 0) -> np.ndarray:
    pixels = np.full((36, 64, 3), colour, np.int16)
    pixels += np.random.default_rng(seed).integers(-noise, noise + 1, pixels.shape, dtype=np.int16)
    return np.clip(pixels, 0, 255).astype(np.uint8)


def test_noise_on_a_plain_ground_between_two_bins_is_no_change() -> None:
    one, other = picture((128, 128, 128), 2, 1), picture((127, 127, 127), 2, 2)
    assert difference(histogram(one), histogram(other)) < 0.1


def test_other_colours_are_a_change() -> None:
    one, other = picture((200, 40, 40)), picture((40, 40, 200))
    assert difference(histogram(one), histogram(other)) == pytest.approx(1.0)
    assert histogram(one).sum() == pytest.approx(1.0)


def test_a_hard_cut_is_found_at_its_first_picture() -> None:
    finder = CutFinder(0.3)
    colours = [(200, 40, 40)] * 10 + [(40, 40, 200)] * 10 + [(40, 200, 40)] * 3
    cuts = [n for n, c in enumerate(colours) if finder.is_cut(picture(c), n / 10)]
    assert cuts == [10, 20]


def test_a_dissolve_is_one_cut() -> None:
    finder = CutFinder(0.3)
    red = 200 - 40 * np.clip((np.arange(40) - 15) / 5, 0, 1)
    cuts = [n for n, r in enumerate(red) if finder.is_cut(picture((int(r), 40, 40)), n / 10)]
    assert len(cuts) == 1


def test_one_picture_is_no_cut() -> None:
    assert not CutFinder(0.3).is_cut(picture((1, 2, 3)), 0.0)


def test_a_clock_that_starts_anew_goes_on() -> None:
    clock, told = Clock(), []
    for seconds in (5.0, 5.5, 6.0, 90_000.0, 90_000.5, 1.0, 1.5):
        packet = av.Packet(b"x")
        packet.time_base = Fraction(1, 1000)
        packet.pts = packet.dts = int(seconds * 1000)
        clock.mend(packet)
        told.append(packet.dts / 1000)
    assert told == [5.0, 5.5, 6.0, 6.0, 6.5, 6.5, 7.0]

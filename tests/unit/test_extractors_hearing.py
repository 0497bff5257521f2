"""Hearing: words keep their seconds, pieces are cut where it is quiet, nothing is heard twice."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from telecine.extractors.hearing import Hearing, Sentence, sentences
from telecine.extractors.splitting import Span

RATE = 16_000


class Word(NamedTuple):
    start: float
    end: float
    text: str
    probability: float = 1.0


class Utterance(NamedTuple):
    start: float
    end: float
    text: str
    words: tuple[Word, ...]


class Transcript(NamedTuple):
    language: str
    probability: float
    utterances: tuple[Utterance, ...]


class Beeps:
    """Hears one word for each second that is not silent, named by its loudness."""

    def __init__(self) -> None:
        self.heard: list[tuple[float, str | None]] = []

    def transcribe(self, samples: np.ndarray, *, language: str | None, words: bool) -> Transcript:
        self.heard.append((len(samples) / RATE, language))
        told = []
        for at in range(0, len(samples) - RATE // 2, RATE):
            loud = float(np.abs(samples[at + RATE // 4 : at + RATE // 2]).max())
            if loud > 0.001:
                second = at / RATE
                told.append(Word(second + 0.2, second + 0.8, f" w{round(loud * 1000)}."))
        spoken = tuple(Utterance(w.start, w.end, w.text, (w,)) for w in told)
        return Transcript("en", 0.9, spoken)


def beeps(seconds: int) -> np.ndarray:
    """Each second louder than the last, with a quiet edge."""
    sound = np.zeros(seconds * RATE, np.float32)
    for second in range(seconds):
        sound[second * RATE + 1600 : (second + 1) * RATE - 1600] = (second + 1) / 1000
    return sound


def hear(sound: np.ndarray, step: int, **given: Any) -> tuple[Hearing, Beeps]:
    model = Beeps()
    hearing = Hearing(lambda: model, **given)  # type: ignore[arg-type, return-value]
    for at in range(0, len(sound), step):
        hearing.add(sound[at : at + step])
    hearing.finish()
    return hearing, model


def test_a_long_sound_is_heard_in_pieces_and_every_word_once() -> None:
    hearing, model = hear(beeps(800), RATE * 7)
    assert len(model.heard) == 3
    assert max(length for length, _ in model.heard) <= 320
    assert sum(length for length, _ in model.heard) == 800
    words = hearing.take(Span(0, 1000))
    assert len(words) == 800
    assert abs(words[300].start - 300.2) < 0.3


def test_pieces_do_not_depend_on_how_the_sound_arrives() -> None:
    lengths = {tuple(hear(beeps(800), RATE * step)[1].heard) for step in (1, 13, 800)}
    assert len({tuple(length for length, _ in heard) for heard in lengths}) == 1


def test_a_sentence_goes_to_the_segment_of_its_middle() -> None:
    hearing, _ = hear(beeps(20), RATE)
    assert [s.text for s in hearing.take(Span(0, 10))] == [f"w{n}." for n in range(1, 11)]
    assert [s.text for s in hearing.take(Span(10, 20))] == [f"w{n}." for n in range(11, 21)]


def test_the_language_of_the_first_piece_is_kept() -> None:
    _, model = hear(beeps(800), RATE * 10)
    assert [language for _, language in model.heard] == [None, "en", "en"]
    _, model = hear(beeps(10), RATE, language="de")
    assert [language for _, language in model.heard] == ["de"]


def test_what_an_earlier_attempt_heard_is_not_heard_again_and_the_rest_is_the_same() -> None:
    whole, _ = hear(beeps(800), RATE * 5)
    hearing, model = hear(beeps(800), RATE * 5, known_until=320.0)
    assert len(model.heard) == 2
    whole.take(Span(0, 320))
    hearing.take(Span(0, 320))
    assert hearing.take(Span(320, 800)) == whole.take(Span(320, 800))


def test_words_of_several_utterances_become_sentences() -> None:
    heard = Transcript(
        "en",
        1.0,
        (
            Utterance(0, 2, " The ship", (Word(0, 0.5, " The"), Word(0.5, 1, " ship"))),
            Utterance(2, 4, " sank. We", (Word(1.1, 1.5, " sank."), Word(2, 2.4, " We"))),
            Utterance(9, 9.5, " swam.", (Word(9, 9.5, " swam."),)),
        ),
    )
    assert [(s.start, s.end, s.text) for s in sentences(heard, 100.0)] == [  # type: ignore[arg-type]
        (100.0, 101.5, "The ship sank."),
        (102.0, 102.4, "We"),
        (109.0, 109.5, "swam."),
    ]
    assert Sentence(1, 3, "x").middle == 2

"""Chunks: what every text must keep, and where a reader would cut."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from telecine.extractors.chunking import chunks, sentences

TEXTS = st.one_of(
    st.text(max_size=400),
    st.text(alphabet="aB. !?\n。\u0301\u200d\"'…1", max_size=400),
    st.lists(st.sampled_from(["Dr. ", "One two. ", "x" * 40, "\n\n", "  ", "No. 5 ", "# H\n"])).map(
        "".join
    ),
)
SIZES = st.integers(1, 60).flatmap(lambda size: st.tuples(st.just(size), st.integers(0, size // 2)))


def found(text: str) -> list[str]:
    return [text[start:end] for start, end in sentences(text)]


@given(TEXTS, SIZES)
@example("a" * 100, (10, 5))
@example("e\u0301" * 100, (3, 1))
def test_chunks_keep_every_character_in_order_and_in_size(
    text: str, limits: tuple[int, int]
) -> None:
    size, overlap = limits
    made = list(chunks(text, size, overlap))
    covered: set[int] = set()
    for chunk in made:
        assert 0 < len(chunk.text) <= size
        assert text[chunk.start : chunk.end] == chunk.text == chunk.text.strip()
        covered.update(range(chunk.start, chunk.end))
    for before, after in pairwise(made):
        assert before.start < after.start
        assert before.end < after.end
        assert before.end - after.start <= overlap
    assert not [at for at, char in enumerate(text) if not char.isspace() and at not in covered]
    assert made == list(chunks(text, size, overlap))


@given(TEXTS)
def test_sentences_follow_each_other_and_miss_nothing(text: str) -> None:
    spans = list(sentences(text))
    position = 0
    for start, end in spans:
        assert text[position:start].strip() == ""
        assert start < end
        position = end
    assert text[position:].strip() == ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
        ("Dr. Smith met J. R. R. Tolkien.", ["Dr. Smith met J. R. R. Tolkien."]),
        ("It cost 3.14 euros. Cheap.", ["It cost 3.14 euros.", "Cheap."]),
        ("See Fig. 3 and No. 5. No. Never.", ["See Fig. 3 and No. 5.", "No.", "Never."]),
        (
            "Well ... maybe. They left... Then rain.",
            ["Well ... maybe.", "They left...", "Then rain."],
        ),
        ('"Stop!" he said. "Why?" Silence.', ['"Stop!" he said.', '"Why?"', "Silence."]),
        ("He came (late.) She left.", ["He came (late.)", "She left."]),
        ("The U.S. Army, e.g. Bob, vs. Al.", ["The U.S. Army, e.g. Bob, vs. Al."]),
        ("今日は。「どこ？」元気！", ["今日は。", "「どこ？」", "元気！"]),
        ("# Title\nBody text\n\nNext", ["# Title", "Body text", "Next"]),
        ("- one\n- two\n1. Three. Four", ["- one", "- two", "1. Three.", "Four"]),
        ("name: Ada\nborn: 1815", ["name: Ada", "born: 1815"]),
        ("a\r\n\r\nb\r\n", ["a", "b"]),
        ("", []),
        (" \n\t ", []),
    ],
)
def test_a_text_is_cut_where_a_reader_sees_sentences_end(text: str, expected: list[str]) -> None:
    assert found(text) == expected


def test_wrapped_prose_goes_on_over_line_ends() -> None:
    text = (
        "It was the best of times, it was the worst of times, it was the\n"
        "age of wisdom, it was the age of foolishness. It was Mr.\nDarnay."
    )
    assert found(text) == [text[:109], "It was Mr.\nDarnay."]


def test_the_last_whole_sentences_are_repeated_as_overlap() -> None:
    text = "Aaaa aaaa. Bbbb bbbb. Cccc cccc. Dddd dddd. Eeee eeee."
    assert [chunk.text for chunk in chunks(text, 33, 12)] == [
        "Aaaa aaaa. Bbbb bbbb. Cccc cccc.",
        "Cccc cccc. Dddd dddd. Eeee eeee.",
    ]


def test_a_sentence_longer_than_a_chunk_is_cut_between_words() -> None:
    text = " ".join(f"word{number}" for number in range(200))
    words = set(text.split())
    made = list(chunks(text, 100, 20))
    assert all(set(chunk.text.split()) <= words for chunk in made)
    assert all(before.end > after.start for before, after in pairwise(made))


def test_a_character_is_never_parted_from_its_marks() -> None:
    family = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
    for cluster in ("e\u0301", "\U0001f44d\U0001f3fd", family, "n\u0303\u0323"):
        made = list(chunks(cluster * 500, 101, 0))
        assert all(len(chunk.text) % len(cluster) == 0 for chunk in made)


@pytest.mark.parametrize(("size", "overlap"), [(0, 0), (10, 6), (10, -1)])
def test_impossible_sizes_are_refused(size: int, overlap: int) -> None:
    with pytest.raises(ValueError, match="cannot cut chunks"):
        list(chunks("text", size, overlap))


@pytest.mark.parametrize(
    "unit", ["a", "word ", "!", "!a", "(", " \u0301", "a\n", '."', "Two words. "], ids=repr
)
def test_time_grows_with_the_length_and_not_with_its_square(unit: str) -> None:
    def seconds(length: int) -> float:
        text = unit * (length // len(unit)) + "x"
        began = time.process_time()
        assert sum(1 for _ in chunks(text, 800, 100)) > 0
        return time.process_time() - began

    short = min(seconds(100_000) for _ in range(3))
    # Ten times the text; the square would be a hundred times the time.
    assert min(seconds(1_000_000) for _ in range(2)) < 40 * max(short, 0.002)


def test_the_first_chunk_comes_before_the_rest_is_looked_at() -> None:
    text = "Two words. " * 500_000
    began = time.process_time()
    first = next(chunks(text, 800, 100))
    assert first.start == 0
    assert time.process_time() - began < 0.1

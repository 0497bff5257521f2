"""Fusion: comparable scores, one result a moment, with its reasons."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from telecine.index.fusion import PICTURE_BY_TEXT, TEXT, WORDS, Found, Space, fuse
from telecine.index.search import Hit


def found(
    why: str, space: Space, score: float, obj: int, document: int, **properties: Any
) -> Found:
    hit = Hit(
        score=score,
        object_id=UUID(int=obj),
        bucket="b",
        path=f"{obj}",
        text="",
        properties=properties,
        source_metadata={},
        fields={},
        document_id=UUID(int=document),
        explain="",
    )
    return Found(why, space, "c", hit)


def test_meaning_and_words_of_one_document_are_one_result_with_both_told() -> None:
    moments = fuse(
        [
            found("says", TEXT, 0.8, 1, 11),
            found("says", TEXT, 0.3, 2, 21),
            found("says", WORDS, 4.0, 1, 11),
        ],
        10,
    )
    assert [m.hit.path for m in moments] == ["1", "2"]
    assert moments[0].reasons[0].told() == "says (similarity 0.80, words 4.0)"
    assert moments[0].score == 1.0


def test_a_segment_and_its_frames_are_one_moment_and_agree() -> None:
    moments = fuse(
        [
            found("said", TEXT, 0.7, 1, 11, segment=3, kind="segment"),
            found("seen written", TEXT, 0.6, 1, 12, segment=3, kind="frame"),
            found("said", TEXT, 0.2, 1, 13, segment=4, kind="segment"),
        ],
        10,
    )
    assert len(moments) == 2
    assert [r.why for r in moments[0].reasons] == ["said", "seen written"]
    assert [d.document_id.int for d in moments[0].documents] == [11, 12]


def test_the_least_bad_of_nothing_does_not_beat_a_match() -> None:
    moments = fuse(
        [
            found("looks like", PICTURE_BY_TEXT, 0.16, 1, 11),
            found("looks like", PICTURE_BY_TEXT, 0.15, 2, 21),
            found("says", TEXT, 0.6, 3, 31),
            found("says", TEXT, 0.55, 4, 41),
            found("says", TEXT, 0.1, 5, 51),
        ],
        10,
    )
    assert [m.hit.path for m in moments][:2] == ["3", "4"]


def test_a_whole_film_is_a_result_only_where_no_moment_of_it_is() -> None:
    moments = fuse(
        [
            found("said", TEXT, 0.9, 1, 10, kind="whole"),
            found("said", TEXT, 0.8, 1, 11, segment=0, kind="segment"),
            found("said", TEXT, 0.7, 2, 20, kind="whole"),
        ],
        10,
    )
    assert [m.hit.document_id.int for m in moments] == [11, 20]


def test_nothing_found_is_no_result() -> None:
    assert fuse([], 5) == []

"""Metadata filters: every operator over every kind of value."""

from __future__ import annotations

import datetime as dt
import math
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from telecine.api.sync import FilterOperator, MetadataFilter
from telecine.planning.metadata import ABSENT, look_up, matches

MUX = {
    "passthrough": "myapp|vi:1|v:abc",
    "duration": 23.86,
    "resolution_tier": "audio-only",
    "status": "ready",
    "meta": {"external_id": "a-1", "title": ""},
    "playback_ids": [{"id": "p1", "policy": "public"}, {"id": "p2", "policy": "signed"}],
    "tracks": ["audio", "text"],
    "max_height": "1080",
    "is_live": False,
    "live_stream_id": None,
    "errors": {},
    "zero": 0,
    "created_at": "2026-05-17T10:00:00Z",
    "nested": [["deep"], []],
    "huge": "123456789012345678901",
    "a.b": {"c.d": 1},
    "a": {"b": {"c.d": 2}, "x": 3},
}


def holds(field: str, operator: str, value: Any = True) -> bool:
    # Not validated: the filters decide about any value, also one that the models refuse.
    rule = MetadataFilter.model_construct(
        field=field, operator=FilterOperator(operator), value=value
    )
    return matches(rule, MUX)


TABLE = [
    # The examples of the documentation.
    ("passthrough", "contains", "vi:1", True),
    ("passthrough", "contains", "vi:0", False),
    ("status", "equals", "ready", True),
    ("resolution_tier", "not_equals", "audio_only", False),
    ("passthrough", "not_contains", "skip", True),
    ("duration", "gt", 10, True),
    ("passthrough", "exists", True, True),
    # Two spellings of one tier, of that field alone.
    ("resolution_tier", "equals", "audio_only", True),
    ("resolution_tier", "equals", "audio-only", True),
    ("resolution_tier", "contains", "o_o", True),
    ("meta.external_id", "equals", "a_1", False),
    # Text.
    ("status", "equals", "Ready", False),
    ("status", "equals", "read", False),
    ("status", "contains", "", True),
    ("status", "contains", "READ", False),
    ("status", "gt", 1, False),
    ("status", "lte", 1, False),
    # Numbers, also as text.
    ("duration", "gt", 23.86, False),
    ("duration", "gte", 23.86, True),
    ("duration", "gte", "23.86", True),
    ("duration", "lt", 24, True),
    ("duration", "lte", 23, False),
    ("duration", "equals", "23.860", True),
    ("duration", "equals", "nan", False),
    ("duration", "contains", 3.8, True),
    ("max_height", "equals", 1080, True),
    ("max_height", "equals", 1080.0, True),
    ("max_height", "equals", "1080.0", False),
    ("max_height", "gt", "720", True),
    ("max_height", "gt", "9", True),
    ("huge", "equals", 123456789012345678901, True),
    ("huge", "equals", 123456789012345678902, False),
    ("huge", "gt", 123456789012345678900, True),
    # Booleans.
    ("is_live", "equals", False, True),
    ("is_live", "equals", "False", True),
    ("is_live", "equals", "no", False),
    ("is_live", "equals", 0, False),
    ("is_live", "not_equals", True, True),
    ("is_live", "contains", "als", True),
    ("is_live", "lt", 1, False),
    ("zero", "equals", False, False),
    # Absent, null, empty.
    ("no.such", "equals", "x", False),
    ("no.such", "not_equals", "x", True),
    ("no.such", "contains", "", False),
    ("no.such", "not_contains", "x", True),
    ("no.such", "gt", 0, False),
    ("no.such", "lt", 0, False),
    ("no.such", "exists", True, False),
    ("no.such", "exists", False, True),
    ("live_stream_id", "equals", "None", False),
    ("live_stream_id", "contains", "None", False),
    ("live_stream_id", "not_equals", "None", True),
    ("live_stream_id", "exists", True, False),
    ("meta.title", "exists", True, False),
    ("errors", "exists", True, False),
    ("errors", "exists", False, True),
    ("errors", "contains", "", False),
    ("zero", "exists", True, True),
    ("is_live", "exists", True, True),
    ("is_live", "exists", False, False),
    ("meta", "exists", True, True),
    ("meta", "equals", "a-1", False),
    # Lists.
    ("tracks", "equals", "text", True),
    ("tracks", "not_equals", "text", False),
    ("tracks", "not_equals", "video", True),
    ("tracks", "contains", "aud", True),
    ("tracks", "not_contains", "aud", False),
    ("nested", "equals", "deep", True),
    ("nested", "equals", "", False),
    ("playback_ids", "contains", "p1", False),
    ("playback_ids.policy", "equals", "signed", True),
    ("playback_ids.policy", "not_equals", "drm", True),
    ("playback_ids.no", "exists", True, False),
    # Dotted names: the whole name first, at every level.
    ("meta.external_id", "equals", "a-1", True),
    ("a.b.c.d", "equals", 1, True),
    ("a.x", "equals", 3, True),
    ("a.b.c", "exists", True, False),
    ("status.x", "exists", True, False),
    # Times.
    ("created_at", "gt", "2026-05-17T11:59:59+02:00", True),
    ("created_at", "gt", "2026-05-17T10:00:00", False),
    ("created_at", "gte", "2026-05-17T10:00:00", True),
    ("created_at", "lt", "2027-01-01", True),
    ("created_at", "lt", 5, False),
    ("created_at", "gt", "yesterday", False),
]


@pytest.mark.parametrize(("field", "operator", "value", "expected"), TABLE)
def test_a_filter_holds_as_documented(
    field: str, operator: str, value: Any, expected: bool
) -> None:
    assert holds(field, operator, value) is expected


@pytest.mark.parametrize(
    "text", ["1_0", "٣", "0x1F", "1e", "inf", "nan", "", " ", "--1", "9" * 401]
)
def test_text_that_only_python_takes_for_a_number_is_text(text: str) -> None:
    rule = MetadataFilter.model_validate({"field": "n", "operator": "gt", "value": -1})
    assert matches(rule, {"n": text}) is False


def test_a_field_of_many_dots_is_looked_up_in_time() -> None:
    assert look_up({"a": {"a": {"a": 1}}}, "a." * 255 + "a") is ABSENT


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.sampled_from([0.0, 1.0, -1.5, 0.5, math.nan, math.inf])
    | st.sampled_from(["", "1", "1.0", " 1 ", "0.5", "-1.5", "true", "False", "a", "ab", "1e0"])
    | st.sampled_from(["audio-only", "audio_only", "2026-01-01", "2026-01-01T00:00:00Z"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("xy"), inner, max_size=2)
    ),
    max_leaves=5,
)
WANTED = (
    st.booleans()
    | st.integers(-3, 3)
    | st.sampled_from([0.5, 1.0, -1.5])
    | st.sampled_from(["", "1", "1.0", "true", "FALSE", "a", "audio_only", "2026-01-01"])
)


def oracle(operator: str, found: list[Any], value: Any, wanted: Any, tier: bool) -> bool:
    """The documentation's sentences, written down once more and in another way."""
    if operator == "exists":
        empty = not found or value is None or (hasattr(value, "__len__") and len(value) == 0)
        return (not empty) == wanted
    if operator.startswith("not_"):
        return not oracle(operator.removeprefix("not_"), found, value, wanted, tier)
    if tier and isinstance(wanted, str):
        wanted = wanted.replace("-", "_")
    return any(satisfies(operator, leaf, wanted, tier) for leaf in leaves(found))


def leaves(values: list[Any]) -> list[Any]:
    out: list[Any] = []
    for value in values:
        out += leaves(value) if isinstance(value, list) else [value]
    return out


def satisfies(operator: str, leaf: Any, wanted: Any, tier: bool) -> bool:
    if leaf is None or (isinstance(leaf, dict) and operator != "equals"):
        return False
    if tier and isinstance(leaf, str):
        leaf = leaf.replace("-", "_")
    if operator == "contains":
        return plain(leaf).find(plain(wanted)) >= 0
    kinds = {type(leaf), type(wanted)}
    if operator == "equals":
        if bool in kinds:
            return plain(leaf).casefold() == plain(wanted).casefold()
        if kinds & {int, float}:
            return as_number(leaf) is not None and as_number(leaf) == as_number(wanted)
        return kinds == {str} and leaf == wanted
    left, right = as_number(leaf), as_number(wanted)
    if left is None or right is None:
        left, right = as_seconds(leaf), as_seconds(wanted)
    if left is None or right is None:
        return False
    return {"gt": left > right, "gte": left >= right, "lt": left < right, "lte": left <= right}[
        operator
    ]


def plain(value: Any) -> str:
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else f"{value}"


def as_number(value: Any) -> float | None:
    if isinstance(value, bool) or not re.match(r"\s*[-+]?[\d.]+(e\d+)?\s*$", str(value)):
        return None
    return float(value)


def as_seconds(value: Any) -> float | None:
    if not re.match(r"\d{4}-\d\d-\d\d", str(value)):
        return None
    return dt.datetime.fromisoformat(f"{value[:10]}T00:00:00Z").timestamp()


@given(
    st.sampled_from(FilterOperator), st.lists(VALUES, max_size=1), WANTED, st.booleans(), st.data()
)
def test_every_operator_decides_as_an_independent_reading_of_its_rule(
    operator: FilterOperator, found: list[Any], wanted: Any, tier: bool, data: st.DataObject
) -> None:
    if operator is FilterOperator.EXISTS:
        wanted = data.draw(st.booleans())
    field = "resolution_tier" if tier else "other"
    rule = MetadataFilter.model_construct(field=field, operator=operator, value=wanted)
    metadata = {field: found[0]} if found else {}
    value = found[0] if found else None
    assert matches(rule, metadata) is oracle(operator.value, found, value, wanted, tier)


@given(VALUES, WANTED, st.sampled_from(["equals", "contains"]))
def test_a_negated_operator_is_the_opposite(value: Any, wanted: Any, operator: str) -> None:
    rule, negated = (
        MetadataFilter.model_validate({"field": "f", "operator": o, "value": wanted})
        for o in (operator, f"not_{operator}")
    )
    assert matches(rule, {"f": value}) is not matches(negated, {"f": value})

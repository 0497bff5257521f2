"""What a handler may return."""

from __future__ import annotations

import json
import math
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from telecine.pipelines.results import LINEAGE, RESERVED, RubbishError, check


def test_a_document_is_its_fields_and_its_vector() -> None:
    found = check({"title": "a", "embedding": (1, 2.5), "n": None}, 0)
    assert found.fields == {"title": "a", "n": None}
    assert found.vector == [1.0, 2.5]
    assert found.whole() == {"title": "a", "n": None, "embedding": [1.0, 2.5]}


def test_a_document_may_have_no_vector() -> None:
    assert check({"title": "a"}, 0).vector is None
    assert check({"title": "a", "embedding": None}, 0).whole() == {"title": "a"}


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "2026-01-02T03:04:05+00:00"),
        (date(2026, 1, 2), "2026-01-02"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        ((1, (2, {"a": (3,)})), [1, [2, {"a": [3]}]]),
        (-(1 << 63), -(1 << 63)),
    ],
)
def test_values_become_json(value: object, plain: object) -> None:
    found = check({"a": value}, 0).fields
    assert found == {"a": plain}
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("text", "document 7 is a str ('text')"),
        (5, "document 7 is an int (5)"),
        (None, "document 7 is None"),
        ([{"a": 1}], "document 7 is a list"),
        ({1: 2}, "document 7 has an int (1) as a key"),
        ({"a": {1: 2}}, "document 7, key 'a' has an int (1) as a key"),
        ({"a": b"x"}, "key 'a' is a bytes (b'x'); bytes are no JSON"),
        ({"a": {1, 2}}, "key 'a' is a set, which is no JSON value"),
        ({"a": [0, object()]}, "key 'a'[1] is an object"),
        ({"a": math.nan}, "key 'a' is nan"),
        ({"a": np.array([1, np.inf])}, "key 'a'[1] is inf"),
        ({"a": 1 << 63}, "beyond 64 bits"),
        ({"a": "\ud800"}, "text that is not Unicode"),
        ({"a b": 1}, "key 'a b'"),
        ({"a\n": 1}, "key 'a\\n'"),
        ({"é": 1}, "key 'é'"),
        ({"a" * 232: 1}, "at most 230"),
        ({"a": "x" * (1 << 20)}, "1,048,576 are allowed"),
        ({"embedding": []}, "has 0 numbers"),
        ({"embedding": [1.0] * 16_385}, "has 16,385 numbers"),
        ({"embedding": [0.0, 0]}, "zeros only"),
        ({"embedding": [1, math.inf]}, "[1] is inf"),
        ({"embedding": [10**400]}, "finite"),
        ({"embedding": [True]}, "[0] is a bool"),
        ({"embedding": ["1"]}, "[0] is a str ('1')"),
        ({"embedding": [[1.0]]}, "[0] is a list"),
        ({"embedding": np.ones((2, 2))}, "[0] is a list"),
        ({"embedding": {"a": 1}}, "is a dict; a vector is a list of numbers"),
        ({"embedding": np.float32(1)}, "a vector is a list of numbers"),
    ],
)
def test_rubbish_is_named(value: object, words: str) -> None:
    with pytest.raises(RubbishError) as caught:
        check(value, 7)
    assert words in str(caught.value)
    assert str(caught.value).startswith("document 7")


@pytest.mark.parametrize("name", sorted(RESERVED | LINEAGE))
def test_names_that_are_taken_are_refused_by_name(name: str) -> None:
    with pytest.raises(RubbishError, match=f"key '{name}'"):
        check({name: 1}, 0)


def test_what_nests_without_end_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(RubbishError, match="nested deeper"):
        check({"a": endless}, 0)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 63) - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text("abc"), inner),
    max_leaves=20,
)


@given(st.dictionaries(st.from_regex(r"x[a-z0-9_]{0,20}", fullmatch=True), JSON))
def test_what_is_checked_once_is_the_same_when_checked_again(fields: dict[str, Any]) -> None:
    once = check(fields, 0)
    assert once.fields == fields
    assert check(json.loads(json.dumps(once.fields)), 0) == once


@given(
    st.recursive(
        st.binary() | st.floats() | st.integers() | st.text() | st.none(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_anything_is_a_document_or_named_rubbish(value: object) -> None:
    try:
        found = check(value, 0)
    except RubbishError:
        return
    json.dumps(found.fields, allow_nan=False).encode()

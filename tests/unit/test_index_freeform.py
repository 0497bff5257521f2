"""What a value that a document brings itself becomes in Weaviate."""

from __future__ import annotations

from typing import Any

import pytest
from telecine.index.freeform import plain


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (None, None),
        ([], None),
        (True, ("boolean", True)),
        (3, ("number", 3.0)),
        (0.5, ("number", 0.5)),
        ("text", ("text", "text")),
        (["a", "b"], ("text[]", ["a", "b"])),
        ([1, 2.5], ("number[]", [1, 2.5])),
        ([True], ("boolean[]", [True])),
        ([1, "a"], ("text", '[1, "a"]')),
        ([None], ("text", "[null]")),
        ([{"a": 1}], ("text", '[{"a": 1}]')),
        ([[1], [2]], ("text", "[[1], [2]]")),
        ({"b": 1, "a": "é"}, ("text", '{"a": "é", "b": 1}')),
    ],
)
def test_a_value_has_one_type(value: Any, wanted: Any) -> None:
    assert plain(value) == wanted

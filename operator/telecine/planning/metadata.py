"""Metadata filters: one field, one operator, one value.

What is decided where the rules could be read in two ways:

* A field is looked up by its whole name first and then by its dotted parts, at every level.
* An absent field equals and contains nothing: `not_equals` and `not_contains` hold, comparisons
  do not. `exists false` holds for what is absent or empty (null, "", [], {}); 0 and false exist.
* A list matches `equals`, `contains` and comparisons when one of its elements does; `not_equals`
  and `not_contains` when none does.
* Numbers given as text compare as numbers when both sides are finite numbers; two texts are equal
  only as texts. Booleans equal `true` and `false` in any case. ISO 8601 times compare as times.
* A comparison of anything else does not hold.
* `resolution_tier`: `audio-only` and `audio_only` are one value.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from telecine.api.sync import FilterOperator, MetadataFilter

ABSENT: Any = object()


def look_up(metadata: Mapping[str, Any], field: str) -> Any:
    """The value at a dotted field, or ABSENT."""
    if field in metadata:
        return metadata[field]
    head, _, rest = field.partition(".")
    while rest:
        inner = metadata.get(head, ABSENT)
        if isinstance(inner, Mapping):
            found = look_up(inner, rest)
            if found is not ABSENT:
                return found
        more, _, rest = rest.partition(".")
        head = f"{head}.{more}"
    return ABSENT


def matches(rule: MetadataFilter, metadata: Mapping[str, Any]) -> bool:
    """Whether an asset's metadata satisfies one filter."""
    value, wanted = look_up(metadata, rule.field), rule.value
    if rule.field == "resolution_tier":
        value, wanted = _tier(value), _tier(wanted)
    operator = rule.operator
    if operator is FilterOperator.EXISTS:
        return exists(value) == truth(wanted)
    if operator is FilterOperator.NOT_EQUALS:
        return not _any(equal, value, wanted)
    if operator is FilterOperator.NOT_CONTAINS:
        return not _any(contains, value, wanted)
    return _any(_TESTS[operator], value, wanted)


def exists(value: Any) -> bool:
    """Present and not empty."""
    return value is not ABSENT and value is not None and value not in ("", [], {})


def truth(value: Any) -> bool:
    """The `value` of `exists`: false only for false, "false", 0 and "0"."""
    return str(value).strip().lower() not in ("false", "0", "no")


def _tier(value: Any) -> Any:
    return value.replace("-", "_") if isinstance(value, str) else value


def _any(test: Callable[[Any, Any], bool], value: Any, wanted: Any) -> bool:
    if value is ABSENT or value is None:
        return False
    if isinstance(value, list | tuple):
        return any(_any(test, item, wanted) for item in value)
    return test(value, wanted)


def equal(value: Any, wanted: Any) -> bool:
    if isinstance(value, bool) or isinstance(wanted, bool):
        return _text(value).lower() == _text(wanted).lower()
    if isinstance(value, int | float) or isinstance(wanted, int | float):
        left, right = number(value), number(wanted)
        return left is not None and right is not None and left == right
    return isinstance(value, str) and value == str(wanted)


def contains(value: Any, wanted: Any) -> bool:
    return not isinstance(value, Mapping) and _text(wanted) in _text(value)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def number(value: Any) -> float | int | None:
    """A finite number, also from text; None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    try:
        parsed = float(value)
    except (TypeError, ValueError):
        return None
    return parsed if math.isfinite(parsed) else None


def moment(value: Any) -> datetime | None:
    """An ISO 8601 time; without a zone it is UTC."""
    if not isinstance(value, str):
        return None
    try:
        parsed = datetime.fromisoformat(value)
    except ValueError:
        return None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def _compared(test: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def compare(value: Any, wanted: Any) -> bool:
        left, right = number(value), number(wanted)
        if left is not None and right is not None:
            return test(left, right)
        earlier, later = moment(value), moment(wanted)
        return earlier is not None and later is not None and test(earlier, later)

    return compare


_TESTS: dict[FilterOperator, Callable[[Any, Any], bool]] = {
    FilterOperator.EQUALS: equal,
    FilterOperator.CONTAINS: contains,
    FilterOperator.GT: _compared(lambda a, b: bool(a > b)),
    FilterOperator.LT: _compared(lambda a, b: bool(a < b)),
    FilterOperator.GTE: _compared(lambda a, b: bool(a >= b)),
    FilterOperator.LTE: _compared(lambda a, b: bool(a <= b)),
}

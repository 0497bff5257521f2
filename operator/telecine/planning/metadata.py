"""Metadata filters: one field, one operator, one value.

What is decided where the rules could be read in two ways:

* A field is looked up by its whole name first and then by its dotted parts, the longest name first,
  at every level. A list on the way gives the values found in its elements, as a list.
* An absent field, and null, equals and contains nothing: `not_equals` and `not_contains` hold,
  comparisons do not. `exists false` holds for what is absent or empty (null, "", [], {}); 0 and
  false exist.
* A list matches `equals`, `contains` and comparisons when one of its elements does; `not_equals`
  and `not_contains` when none does.
* Numbers given as text count as numbers in comparisons, and in `equals` where the other side is a
  number; two texts are equal only as texts. Booleans equal `true` and `false` in any case and are
  no numbers. Two ISO 8601 times compare as times, without a zone in UTC.
* `contains` looks into the text of a value, in its case. A comparison of anything else than two
  numbers or two times does not hold.
* `resolution_tier`: `audio-only` and `audio_only` are one value.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from operator import ge, gt, le, lt
from typing import Any

from telecine.api.sync import FilterOperator, MetadataFilter

ABSENT: Any = object()

_EMPTY: tuple[Any, ...] = (None, "", [], (), {})
#: Narrower than Python's: no `1_000`, no `nan`, no digits of other scripts.
_WHOLE = re.compile(r"\s*[+-]?[0-9]{1,400}\s*", re.ASCII)
_FRACTION = re.compile(r"\s*[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?\s*", re.ASCII)


def look_up(metadata: Mapping[str, Any], field: str) -> Any:
    """The value at a dotted field, or ABSENT."""
    if field in metadata:
        return metadata[field]
    dot = field.rfind(".")
    while dot >= 0:
        inner, rest = metadata.get(field[:dot], ABSENT), field[dot + 1 :]
        found = ABSENT
        if isinstance(inner, Mapping):
            found = look_up(inner, rest)
        elif isinstance(inner, list | tuple):
            each = (look_up(item, rest) for item in inner if isinstance(item, Mapping))
            found = [value for value in each if value is not ABSENT] or ABSENT
        if found is not ABSENT:
            return found
        dot = field.rfind(".", 0, dot)
    return ABSENT


def matches(rule: MetadataFilter, metadata: Mapping[str, Any]) -> bool:
    """Whether an asset's metadata satisfies one filter."""
    value, wanted = look_up(metadata, rule.field), rule.value
    if rule.operator is FilterOperator.EXISTS:
        return exists(value) is bool(wanted)
    test = _TESTS[rule.operator]
    if rule.field == "resolution_tier":
        test = _of_tiers(test)
    return _any(test, value, wanted) is not (rule.operator in _NEGATED)


def exists(value: Any) -> bool:
    """Present and not empty."""
    return value is not ABSENT and not any(value is e or value == e for e in _EMPTY)


def _any(test: Callable[[Any, Any], bool], value: Any, wanted: Any) -> bool:
    """Whether a value, or one of those in it when it is a list, passes."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, list | tuple):
            waiting.extend(one)
        elif one is not ABSENT and one is not None and test(one, wanted):
            return True
    return False


def _of_tiers(test: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def tier(value: Any) -> Any:
        return value.replace("-", "_") if isinstance(value, str) else value

    return lambda value, wanted: test(tier(value), tier(wanted))


def equal(value: Any, wanted: Any) -> bool:
    """Whether two values that are no lists are one."""
    if isinstance(value, bool) or isinstance(wanted, bool):
        return _text(value).lower() == _text(wanted).lower()
    if isinstance(value, int | float) or isinstance(wanted, int | float):
        left, right = number(value), number(wanted)
        return left is not None and left == right
    return isinstance(value, str) and value == wanted


def contains(value: Any, wanted: Any) -> bool:
    """Whether the text of a value has the wanted text as a part."""
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
    if isinstance(value, str):
        if _WHOLE.fullmatch(value):
            return int(value)
        if not _FRACTION.fullmatch(value):
            return None
        value = float(value)
    return value if isinstance(value, float) and math.isfinite(value) else None


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


_NEGATED = frozenset({FilterOperator.NOT_EQUALS, FilterOperator.NOT_CONTAINS})
_TESTS: dict[FilterOperator, Callable[[Any, Any], bool]] = {
    FilterOperator.EQUALS: equal,
    FilterOperator.NOT_EQUALS: equal,
    FilterOperator.CONTAINS: contains,
    FilterOperator.NOT_CONTAINS: contains,
    FilterOperator.GT: _compared(gt),
    FilterOperator.LT: _compared(lt),
    FilterOperator.GTE: _compared(ge),
    FilterOperator.LTE: _compared(le),
}

"""As much of PromQL as tests need: which metrics an expression reads, and with which labels."""

from __future__ import annotations

import re
from typing import NamedTuple

_TEXT = re.compile(r'"(?:[^"\\]|\\.)*"')
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_SELECTOR = re.compile(r"\b([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(?:\{([^}]*)\})?")
_MATCHER = re.compile(r'([a-zA-Z_]\w*)\s*(?:=~|!~|!=|=)\s*("(?:[^"\\]|\\.)*")')
_FUNCTIONS = frozenset({"sum", "rate", "increase", "histogram_quantile", "time", "min_over_time"})
_WORDS = _FUNCTIONS | {"unless"}
_SUFFIX = re.compile(r"_(bucket|sum|count)$")


class Read(NamedTuple):
    """One selector."""

    metric: str
    """Without a histogram's ending."""
    matchers: dict[str, str]
    """Label -> the text that it is compared with."""


def reads(expression: str) -> list[Read]:
    """The selectors of an expression.

    Raises:
        ValueError: brackets do not match.
    """
    bare = _TEXT.sub('""', expression)
    for pair in ("()", "{}", "[]"):
        if bare.count(pair[0]) != bare.count(pair[1]):
            raise ValueError(f"{pair} do not match: {expression}")
    found = []
    for name, inside in _SELECTOR.findall(_GROUPING.sub("", re.sub(r"\[[^\]]*\]", "", expression))):
        if name in _WORDS:
            continue
        matchers = {label: text[1:-1] for label, text in _MATCHER.findall(inside)}
        found.append(Read(_SUFFIX.sub("", name), matchers))
    return found


def groupings(expression: str) -> set[str]:
    """The labels that an expression groups or joins by."""
    return {
        label.strip()
        for inside in _GROUPING.findall(expression)
        for label in inside.split(",")
        if label.strip()
    }

"""Metadata as `key=value` strings, by which search filters."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from telecine.index.wire import escape

#: A longer pair is indexed by its digest, so that a huge value does not become a huge key.
_LONGEST = 512


def pair(key: str, value: str) -> str:
    """What a filter `key=value` looks for."""
    text = escape(f"{key}={value}")
    if len(text) <= _LONGEST:
        return text
    return f"sha256={hashlib.sha256(text.encode()).hexdigest()}"


def metadata_pairs(metadata: Mapping[str, Any]) -> set[str]:
    """A pair for each scalar, keys dotted; elements of lists stand under the list's key.

    Strings stand as they are, all else as in JSON: `true`, `null`, `1.5`.
    """
    return {pair(key, value) for key, value in _scalars("", metadata)}


def _scalars(key: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _scalars(f"{key}.{name}" if key else str(name), inner)
    elif isinstance(value, str):
        yield key, value
    elif isinstance(value, Sequence):
        for element in value:
            yield from _scalars(key, element)
    else:
        yield key, json.dumps(value)

"""What a handler may return: checked documents. Runs in the runner, which has the user's objects,
and once more in the host, which believes nothing of what the runner sent."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Any, NamedTuple
from uuid import UUID

EMBEDDING = "embedding"
MOST_DIMENSIONS = 16_384
MOST_BYTES = 1 << 20
"""Of a document as JSON, without its vector."""
MOST_DOCUMENTS = 100_000
"""Of one asset."""
_DEEPEST = 32
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,230}\Z")
_INT64 = 1 << 63

RESERVED = frozenset({"id", "_id", "vector", "vectors", "additional", "_additional"})
"""Names that Weaviate keeps for itself."""
LINEAGE = frozenset(
    {
        "object_id",
        "kube_namespace",
        "bucket",
        "path",
        "index",
        "owner",
        "recipe",
        "content_hash",
        "source_metadata",
        "metadata_pairs",
        "fields",
        "commit",
        "pipeline",
    }
)
"""Names of the asset's lineage, which every document gets without its handler."""


class RubbishError(ValueError):
    """A returned document is none. `str()` names what it was, at which index and key."""


class Checked(NamedTuple):
    """One document."""

    fields: dict[str, Any]
    """JSON values."""
    vector: list[float] | None

    def whole(self) -> dict[str, Any]:
        """With the vector as `embedding`, where there is one."""
        return self.fields if self.vector is None else {**self.fields, EMBEDDING: self.vector}


def check(value: object, index: int) -> Checked:
    """A returned or yielded value as a document.

    Numpy scalars and arrays become numbers and lists, dates and times ISO 8601, UUIDs text.

    Args:
        index: of the document among those of its asset, from 0; for messages.

    Raises:
        RubbishError: it is no dict, a key or value cannot be stored, the vector is none, or it
            has more than 1 MiB.
    """
    place = f"document {index}"
    if not isinstance(value, Mapping):
        raise RubbishError(f"{place} is {told(value)}; a handler returns dicts or yields them")
    fields: dict[str, Any] = {}
    vector: list[float] | None = None
    for key, item in value.items():
        if key == EMBEDDING:
            vector = None if item is None else _vector(item, f"{place}, key 'embedding'")
        else:
            fields[_key(key, place)] = _plain(item, f"{place}, key {key!r}", 0)
    size = len(json.dumps(fields, ensure_ascii=False).encode())
    if size > MOST_BYTES:
        raise RubbishError(
            f"{place} has {size:,} bytes as JSON and {MOST_BYTES:,} are allowed: return several "
            "smaller documents"
        )
    return Checked(fields, vector)


def told(value: object) -> str:
    """A value in a message: its type, and the beginning of plain ones."""
    kind = type(value)
    name = kind.__qualname__ if kind.__module__ == "builtins" else (
        f"{kind.__module__}.{kind.__qualname__}"
    )  # fmt: skip
    if value is None:
        return "None"
    if kind in (str, bytes, int, float, bool):
        shown = repr(value[:40] if isinstance(value, str | bytes) else value)
        return f"{_article(name)} {name} ({shown[:60]})"
    return f"{_article(name)} {name}"


def _article(name: str) -> str:
    return "an" if name[0].lower() in "aeio" else "a"


def _key(key: object, place: str) -> str:
    if not isinstance(key, str):
        raise RubbishError(f"{place} has {told(key)} as a key; keys are strings")
    if key in RESERVED:
        raise RubbishError(f"{place}, key {key!r}: Weaviate keeps that name for itself; rename it")
    if key in LINEAGE:
        raise RubbishError(
            f"{place}, key {key!r}: every document has its asset's lineage under that name; "
            "leave it out, or rename it"
        )
    if not _NAME.match(key):
        raise RubbishError(
            f"{place}, key {key[:60]!r}: a key begins with a letter or _, and goes on with at "
            "most 230 letters, digits or _"
        )
    return key


def _vector(value: object, place: str) -> list[float]:
    items = _listed(value)
    if not isinstance(items, list | tuple):
        raise RubbishError(f"{place} is {told(value)}; a vector is a list of numbers")
    if not 1 <= len(items) <= MOST_DIMENSIONS:
        raise RubbishError(
            f"{place} has {len(items):,} numbers and a vector has 1 to {MOST_DIMENSIONS:,}"
        )
    vector: list[float] = []
    for at, item in enumerate(items):
        number = _listed(item)
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise RubbishError(f"{place}[{at}] is {told(item)}; a vector is a flat list of numbers")
        try:
            vector.append(float(number))
        except OverflowError:
            vector.append(math.inf)
        if not math.isfinite(vector[-1]):
            raise RubbishError(f"{place}[{at}] is {number}; a vector has finite numbers")
    if not any(vector):
        raise RubbishError(f"{place} has zeros only; such a vector can be compared with nothing")
    return vector


def _listed(value: object) -> object:
    """Arrays and scalars of numpy and torch as lists and numbers; the rest as it is."""
    if type(value).__module__.partition(".")[0] not in ("numpy", "torch"):
        return value
    tolist: Callable[[], object] | None = getattr(value, "tolist", None)
    return value if tolist is None else tolist()


def _plain(value: object, place: str, depth: int) -> Any:
    if depth > _DEEPEST:
        raise RubbishError(f"{place} is nested deeper than {_DEEPEST} levels")
    value = _listed(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(value, place)
    if isinstance(value, int | float):
        return _number(value, place)
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, Mapping):
        return _mapping(value, place, depth)
    if isinstance(value, list | tuple):
        return [_plain(item, f"{place}[{at}]", depth + 1) for at, item in enumerate(value)]
    if isinstance(value, bytes | bytearray | memoryview):
        raise RubbishError(
            f"{place} is {told(value)}; bytes are no JSON: encode them as text, for example in "
            "base64"
        )
    raise RubbishError(f"{place} is {told(value)}, which is no JSON value")


def _mapping(value: Mapping[object, object], place: str, depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, item in value.items():
        if not isinstance(key, str):
            raise RubbishError(f"{place} has {told(key)} as a key; keys are strings")
        found[_text(key, place)] = _plain(item, f"{place}.{key[:60]}", depth + 1)
    return found


def _text(value: str, place: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise RubbishError(f"{place} is text that is not Unicode ({error.reason})") from None
    return str(value)


def _number(value: int | float, place: str) -> int | float:
    if isinstance(value, float):
        if not math.isfinite(value):
            raise RubbishError(f"{place} is {value}; numbers are finite, use None instead")
        return float(value)
    if not -_INT64 <= value < _INT64:
        raise RubbishError(f"{place} is an int beyond 64 bits; return it as text")
    return int(value)

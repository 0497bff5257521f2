"""How a row of the ledger is stored: a few packed columns, and copies that filters look into.

Weaviate takes time for each property it returns, so the columns of a row lie in four JSON lists
("packs"), split by who writes them together. A patch of a whole pack replaces it. A patch of some
columns of a pack writes each into a property of its own, which outranks the pack until the pack
or the row is written again: so two writers of different columns never undo each other, although
nothing is read before it is written.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from operator import attrgetter
from typing import Any
from uuid import UUID

from telecine.planning.types import ObjectRecord, ObjectState

#: Columns may be appended to a pack, never moved or removed: stored rows have the old order.
PACKS: dict[str, tuple[str, ...]] = {
    "place": (
        "kube_namespace",
        "bucket",
        "connection",
        "asset_id",
        "path",
        "size",
        "modified",
        "fields",
        "blob_property",
        "first_seen",
        "failed_at",
        "run",
        "owner",
    ),
    "source": ("fingerprint", "version", "mime_type", "source_metadata"),
    "progress": (
        "state",
        "recipes",
        "content_hash",
        "documents",
        "reason",
        "message",
        "attempts",
        "retry_at",
        "dead_letter",
        "extracted_at",
        "chunk",
        "replace",
    ),
    "selection": ("syncs",),
}
IMMUTABLE = frozenset({"kube_namespace", "bucket", "connection", "asset_id"})
#: What filters and aggregates look into, under its own name, beside `scope`.
FILTERED: tuple[str, ...] = (
    "state",
    "recipes",
    "documents",
    "dead_letter",
    "chunk",
    "run",
    "owner",
    "syncs",
)
OVERLAYS: dict[str, str] = {
    column: f"patched_{column}"
    for columns in PACKS.values()
    if len(columns) > 1
    for column in columns
    if column not in IMMUTABLE
}
#: Set while a row has overlays.
MARK = "patched"
#: What a scan reads of every row, and of a marked one.
READ = (*PACKS, MARK)
READ_ALL = (*PACKS, *OVERLAYS.values())

_COLUMNS = frozenset(c for columns in PACKS.values() for c in columns)
_ABSENT: dict[str, Any] = {"documents": 0, "dead_letter": False, "chunk": -1, "run": ""}
_VALUES = {
    pack: attrgetter(*columns) if len(columns) > 1 else lambda r, c=columns[0]: (getattr(r, c),)
    for pack, columns in PACKS.items()
}
_STATES = {state.value: state for state in ObjectState}


def scope(kube_namespace: str, bucket: str) -> str:
    """What rows of one Bucket have in common; Kubernetes names contain no slash."""
    return f"{kube_namespace}/{bucket}"


def encode(record: ObjectRecord) -> dict[str, Any]:
    """The properties of a whole row. What a filter takes for absent is left out."""
    properties: dict[str, Any] = {"scope": scope(record.kube_namespace, record.bucket)}
    for pack, values in _VALUES.items():
        properties[pack] = dumps(values(record))
    for name in FILTERED:
        value = getattr(record, name)
        if value != _ABSENT.get(name) and value != []:
            properties[name] = _plain(value)
    return properties


def encode_patch(changes: Mapping[str, Any]) -> dict[str, Any]:
    """The properties to merge into a row for some changed columns.

    Raises:
        ValueError: a column is unknown, or part of the object's identity.
    """
    wrong = sorted((changes.keys() - _COLUMNS) | (changes.keys() & IMMUTABLE))
    if wrong:
        raise ValueError(f"not columns that can change: {', '.join(wrong)}")
    properties: dict[str, Any] = {}
    for pack, columns in PACKS.items():
        given = [c for c in columns if c in changes]
        if len(given) == len(columns):
            properties[pack] = dumps([changes[c] for c in columns])
            properties |= {OVERLAYS[c]: None for c in columns if c in OVERLAYS}
        elif given:
            properties[MARK] = True
            properties |= {OVERLAYS[c]: dumps(changes[c]) for c in given}
    return properties | {n: _plain(changes[n]) for n in FILTERED if n in changes}


def decode(ident: UUID, properties: Mapping[str, Any]) -> ObjectRecord:
    """The row that `encode` and any number of `encode_patch` made."""
    values: dict[str, Any] = {}
    for pack, columns in PACKS.items():
        values.update(zip(columns, json.loads(properties[pack]), strict=False))
    if len(properties) > len(READ):
        for column, name in OVERLAYS.items():
            text = properties.get(name)
            if text is not None:
                values[column] = json.loads(text)
    values["state"] = _STATES[values["state"]]
    return ObjectRecord(id=ident, **values)


def dumps(value: Any) -> str:
    """JSON that gRPC and REST carry: lone surrogates, which UTF-8 has not, are escaped."""
    text = _ENCODER.encode(value)
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return _ASCII_ENCODER.encode(value)
    return text


def _jsonable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Iterable):
        return list(value)
    raise TypeError(f"{type(value).__name__} is not JSON")


# `json.dumps` with options makes an encoder at every call, which costs more than the encoding.
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=_jsonable)
_ASCII_ENCODER = json.JSONEncoder(separators=(",", ":"), default=_jsonable)


def _plain(value: Any) -> Any:
    """Enumerations and tuples as the values that Weaviate takes."""
    if isinstance(value, str):
        return str(value)
    return list(value) if isinstance(value, Iterable) else value

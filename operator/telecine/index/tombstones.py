"""What a source said is deleted, remembered while a run that listed it earlier may still write it.

A tombstone is a row of the ledger under an id of its own, so that no writer of objects overwrites
it. Whoever deletes writes the tombstone first and removes the object after; whoever inserts an
object looks for its tombstone after that. In any order of the four the object is gone at the end.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from telecine.index.ledger import Ledger
from telecine.planning.identity import tombstone_id, tombstone_range
from telecine.planning.types import ObjectRecord, ObjectState

_AT_ONCE = 1000
_FINISHED = "Finished"


@dataclass(frozen=True)
class Tombstone:
    """An object that is to be gone."""

    object_id: UUID
    kube_namespace: str
    bucket: str
    connection: str
    asset_id: str
    owner: str
    at: float = field(default_factory=time.time)
    """Seconds since the epoch."""
    finished: bool = False
    """Whether the object and its documents are removed."""


class Tombstones:
    """Those of one tenant. All methods raise `IndexUnavailableError`."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def write(self, tombstones: Iterable[Tombstone]) -> None:
        """Durable when it returns; repeating it changes nothing but the time."""
        self._ledger.insert([_row(one) for one in tombstones])

    def among(self, object_ids: Sequence[UUID]) -> list[UUID]:
        """Those of the objects that have one."""
        by_tombstone = {tombstone_id(ident): ident for ident in object_ids}
        return [by_tombstone[found] for found in self._ledger.get(list(by_tombstone))]

    def all(self) -> Iterator[Tombstone]:
        return map(_read, self._ledger.scan(*tombstone_range()))

    def finish(self, object_ids: Iterable[UUID]) -> None:
        """Notes that objects and documents are removed."""
        self._ledger.patch({tombstone_id(i): {"reason": _FINISHED} for i in object_ids})

    def forget(self, before: float) -> int:
        """Removes finished ones from before that time; returns how many."""
        old = (t.object_id for t in self.all() if t.finished and t.at < before)
        gone = 0
        while batch := [tombstone_id(ident) for ident in itertools.islice(old, _AT_ONCE)]:
            gone += self._ledger.delete(batch)
        return gone


def _row(one: Tombstone) -> ObjectRecord:
    return ObjectRecord(
        id=tombstone_id(one.object_id),
        kube_namespace=one.kube_namespace,
        bucket="",  # counts and searches of the Bucket's objects must not find it
        connection=one.connection,
        asset_id=one.asset_id,
        path="",
        size=-1,
        modified=0.0,
        fingerprint="",
        version="",
        mime_type="",
        state=ObjectState.DELETED,
        reason=_FINISHED if one.finished else "",
        message=json.dumps([str(one.object_id), one.bucket]),
        failed_at=one.at,
        owner=one.owner,
    )


def _read(row: ObjectRecord) -> Tombstone:
    ident, bucket = json.loads(row.message)
    return Tombstone(
        UUID(ident),
        row.kube_namespace,
        bucket,
        row.connection,
        row.asset_id,
        row.owner,
        row.failed_at,
        row.reason == _FINISHED,
    )

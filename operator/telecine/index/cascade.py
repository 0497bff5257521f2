"""Unindexing: objects go with all their documents, and only what carries our owner id.

Documents go before their object's row, so that whoever is killed in between finds the row again.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from uuid import UUID

from telecine.index.index import Index
from telecine.planning.identity import bucket_range
from telecine.planning.types import ObjectRecord

_AT_ONCE = 1000


def unindex(index: Index, tenant: str, owner: str, ids: Iterable[UUID]) -> int:
    """Removes objects and their documents from every collection; returns how many objects."""
    going = list(ids)
    if not going:
        return 0
    for collection in index.document_collections():
        index.documents(tenant, collection).delete_objects(going, owner=owner)
    return index.ledger(tenant).delete(going, owner=owner)


def bury(index: Index, tenant: str, owner: str, ids: Iterable[UUID]) -> int:
    """As `unindex`, while a worker may be writing documents of these very objects.

    A worker closes an object after writing its documents, and removes them when the row is gone by
    then: what it wrote before that is found by looking a second time.
    """
    going = list(ids)
    gone = unindex(index, tenant, owner, going)
    unindex(index, tenant, owner, going)
    return gone


def unselect(
    index: Index,
    tenant: str,
    owner: str,
    sync: str,
    records: Iterable[ObjectRecord],
    *,
    busy: bool = False,
) -> int:
    """Ends a Sync's selection of objects; those that no Sync selects any more are unindexed.

    `busy`: a worker may be writing documents of them meanwhile.
    """
    going: list[UUID] = []
    staying: dict[UUID, Mapping[str, Any]] = {}
    for record in records:
        others = [name for name in record.syncs if name != sync]
        if others:
            staying[record.id] = {"syncs": others}
        else:
            going.append(record.id)
    if staying:
        index.ledger(tenant).patch(staying)
    return (bury if busy else unindex)(index, tenant, owner, going)


def unindex_sync(
    index: Index, tenant: str, owner: str, kube_namespace: str, bucket: str, sync: str
) -> int:
    """What `deletionPolicy: Delete` of a Sync means; returns how many objects went."""
    low, high = bucket_range(kube_namespace, bucket)
    mine = (r for r in index.ledger(tenant).scan(low, high) if sync in r.syncs)
    return _in_batches(mine, lambda batch: unselect(index, tenant, owner, sync, batch))


def unindex_bucket(index: Index, tenant: str, owner: str, kube_namespace: str, bucket: str) -> int:
    """What `deletionPolicy: Delete` of a Bucket means; returns how many objects went."""
    low, high = bucket_range(kube_namespace, bucket)
    return _in_batches(
        index.ledger(tenant).scan(low, high),
        lambda batch: unindex(index, tenant, owner, (r.id for r in batch)),
    )


def _in_batches(records: Iterable[ObjectRecord], act: Callable[[list[ObjectRecord]], int]) -> int:
    stream, gone = iter(records), 0
    while batch := list(itertools.islice(stream, _AT_ONCE)):
        gone += act(batch)
    return gone

"""The ledger: a row for every object, in Weaviate, and nowhere else."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from uuid import UUID

from telecine.index import rows
from telecine.index.client import QUERY_SECONDS, Session
from telecine.index.schema import LEDGER
from telecine.index.wire import batch_object, deleted, equal, every, result_id, some, unequal
from telecine.planning.types import ObjectRecord, ObjectState

if TYPE_CHECKING:
    from weaviate.collections.classes.filters import _Filters
    from weaviate.collections.collection import Collection as WeaviateCollection

PAGE = 5000
_FIRST_PAGE = 500
_IDS_AT_ONCE = 1000
_DELETED_AT_ONCE = 5000
_PATCHES_AT_ONCE = 8
#: Weaviate's QUERY_MAXIMUM_RESULTS: a filtered query returns no more.
MOST_FILTERED = 10_000
_LAST = UUID(int=(1 << 128) - 1)
_LIVE = tuple(state for state in ObjectState if state is not ObjectState.DELETED)


class Ledger:
    """The rows of one tenant.

    All methods raise `IndexUnavailableError`; writing is idempotent and may be repeated.
    """

    def __init__(self, session: Session, tenant: str) -> None:
        self.session, self.tenant = session, tenant

    @property
    def _collection(self) -> WeaviateCollection[Any, Any]:
        return self.session.client.collections.use(LEDGER).with_tenant(self.tenant)

    def scan(self, low: UUID, high: UUID) -> Iterator[ObjectRecord]:
        """Streams the rows from `low` to `high`, both included, in the order of their ids.

        A row written or removed meanwhile may or may not be seen; every other is seen once.
        """
        after = UUID(int=low.int - 1) if low.int else None
        with ThreadPoolExecutor(1, "ledger") as pool:
            size = _FIRST_PAGE
            coming = pool.submit(self._page, after, size)
            while True:
                page = coming.result()
                more = len(page) == size and page[-1][0] < high
                if more:
                    size = PAGE
                    coming = pool.submit(self._page, page[-1][0], size)
                yield from self._decoded(row for row in page if row[0] <= high)
                if not more:
                    return

    def scan_all(self) -> Iterator[ObjectRecord]:
        """Streams all objects of the tenant in the order of their ids."""
        whole = self.scan(UUID(int=0), _LAST)
        return (record for record in whole if record.state is not ObjectState.DELETED)

    def get(self, ids: Sequence[UUID]) -> dict[UUID, ObjectRecord]:
        """The rows of these ids; an absent one has no entry."""
        return {r.id: r for r in map(_decode, self._by_ids(ids))}

    def insert(self, records: Sequence[ObjectRecord]) -> None:
        """Writes whole rows, over whatever rows of these ids there are.

        Raises:
            IndexWriteError: Weaviate refused some rows; the others are written.
        """
        latest = {record.id: record for record in records}
        self.session.insert(
            batch_object(LEDGER, self.tenant, ident, rows.encode(record))
            for ident, record in latest.items()
        )

    def patch(self, changes: Mapping[UUID, Mapping[str, Any]]) -> set[UUID]:
        """Changes the given columns of rows and no others; never makes a row.

        Returns the ids that have no row. Writers of different columns do not disturb each other.

        Raises:
            ValueError: a column is unknown, or part of the object's identity.
        """
        todo = [
            (ident, rows.encode_patch(columns)) for ident, columns in changes.items() if columns
        ]
        collection = self._collection
        with ThreadPoolExecutor(min(_PATCHES_AT_ONCE, max(len(todo), 1)), "patch") as pool:
            there = list(pool.map(lambda item: merge(self.session, collection, *item), todo))
        return {ident for (ident, _), found in zip(todo, there, strict=True) if not found}

    def delete(self, ids: Sequence[UUID], owner: str | None = None) -> int:
        """Removes rows, with `owner` only those that carry it; returns how many."""
        from weaviate.classes.query import Filter

        gone = 0
        for start in range(0, len(ids), _DELETED_AT_ONCE):
            where = Filter.by_id().contains_any(list(ids[start : start + _DELETED_AT_ONCE]))
            if owner is not None:
                where = where & equal("owner", owner)
            gone += deleted(self.session, self._collection, where)
        return gone

    def pending(
        self, bucket_range: tuple[UUID, UUID], run: str, chunks: Collection[int]
    ) -> Iterator[ObjectRecord]:
        """The PENDING rows of some chunks of a run."""
        wanted = frozenset(chunks)
        if not wanted:
            return iter(())
        where = every([equal("state", "PENDING"), equal("run", run), some("chunk", sorted(wanted))])
        return self._select(
            where,
            lambda r: r.state is ObjectState.PENDING and r.run == run and r.chunk in wanted,
            bucket_range,
        )

    def find(
        self,
        *,
        kube_namespace: str,
        bucket: str | None = None,
        sync: str | None = None,
        state: ObjectState | str | None = None,
        limit: int | None = None,
    ) -> Iterator[ObjectRecord]:
        """Rows by Bucket (None: the whole tenant), selecting Sync and state, in any order."""
        from telecine.planning.identity import bucket_range

        whole = UUID(int=0), _LAST
        span = whole if bucket is None else bucket_range(kube_namespace, bucket)
        where = self._where(kube_namespace, bucket, sync, state)
        if bucket is None and state is None:
            where = every([where, unequal("state", ObjectState.DELETED.value)])

        def matches(r: ObjectRecord) -> bool:
            return (
                (state is not None or r.state is not ObjectState.DELETED)
                and (bucket is None or (r.kube_namespace, r.bucket) == (kube_namespace, bucket))
                and (sync is None or sync in r.syncs)
                and (state is None or r.state == state)
            )

        return itertools.islice(self._select(where, matches, span, limit), limit)

    def counts(
        self, *, kube_namespace: str, bucket: str | None = None, sync: str | None = None
    ) -> dict[str, int]:
        """Numbers of `objects`, by state `completed`, `pending` and `failed` (`dead` of them at
        rest), and of their `documents`, counted by Weaviate."""
        from weaviate.classes.query import Metrics

        where = self._where(kube_namespace, bucket, sync, None)
        with self.session.call():
            total = self._collection.aggregate.over_all(
                filters=where, return_metrics=Metrics("documents").integer(sum_=True)
            )
        documents: Any = total.properties.get("documents")
        states = {s: self._count([where, equal("state", s.value)]) for s in _LIVE}
        dead = [where, equal("state", "FAILED"), equal("dead_letter", True)]
        return {
            "objects": sum(states.values()),
            "completed": states[ObjectState.COMPLETED],
            "pending": states[ObjectState.PENDING],
            "failed": states[ObjectState.FAILED],
            "dead": self._count(dead) if states[ObjectState.FAILED] else 0,
            "documents": int(documents.sum_ or 0) if documents else 0,
        }

    def lacking(self, recipe_key: str) -> int:
        """How many COMPLETED and PENDING objects have no documents of this recipe yet."""
        live = some("state", ["COMPLETED", "PENDING"])
        return self._count([live]) - self._count([live, some("recipes", [recipe_key])])

    def _where(
        self,
        kube_namespace: str,
        bucket: str | None,
        sync: str | None,
        state: ObjectState | str | None,
    ) -> _Filters | None:
        parts = [
            None if bucket is None else equal("scope", rows.scope(kube_namespace, bucket)),
            None if sync is None else some("syncs", [sync]),
            None if state is None else equal("state", str(state)),
        ]
        return every(parts)

    def _count(self, parts: Iterable[_Filters | None]) -> int:
        with self.session.call():
            found = self._collection.aggregate.over_all(filters=every(parts), total_count=True)
        return found.total_count or 0

    def _select(
        self,
        where: _Filters | None,
        matches: Callable[[ObjectRecord], bool],
        span: tuple[UUID, UUID],
        limit: int | None = None,
    ) -> Iterator[ObjectRecord]:
        """Rows by filter where Weaviate returns all, else by reading the range through.

        Pages by offset would skip rows, because the reader changes what the filter matches.
        """
        most = min(limit or MOST_FILTERED, MOST_FILTERED)
        if where is not None or limit is not None:
            found = list(self._filtered(where, most))
            if len(found) < MOST_FILTERED or most == limit:
                return self._decoded(found)
        return filter(matches, self.scan(*span))

    def _filtered(
        self, where: _Filters | None, limit: int, read: Sequence[str] = rows.READ
    ) -> Iterator[tuple[UUID, dict[str, Any]]]:
        with self.session.call():
            reply = self._collection.query.fetch_objects(
                filters=where, limit=limit, return_properties=list(read)
            )
        return ((UUID(int=o.uuid.int), dict(o.properties)) for o in reply.objects)

    def _by_ids(self, ids: Sequence[UUID]) -> Iterator[tuple[UUID, dict[str, Any]]]:
        from weaviate.classes.query import Filter

        for start in range(0, len(ids), _IDS_AT_ONCE):
            batch = list(ids[start : start + _IDS_AT_ONCE])
            yield from self._filtered(Filter.by_id().contains_any(batch), len(batch), rows.READ_ALL)

    def _decoded(self, found: Iterable[tuple[UUID, Mapping[str, Any]]]) -> Iterator[ObjectRecord]:
        """Rows in their order; those with patched columns are read again, whole."""
        page = list(found)
        marked = [ident for ident, properties in page if properties.get(rows.MARK)]
        whole = self.get(marked) if marked else {}
        for ident, properties in page:
            if not properties.get(rows.MARK):
                yield rows.decode(ident, properties)
            elif ident in whole:
                yield whole[ident]

    def _page(self, after: UUID | None, limit: int) -> list[tuple[UUID, dict[str, Any]]]:
        """One page of the cursor. The client's own reading of replies takes thrice as long."""
        from weaviate.proto.v1 import search_get_pb2

        request = search_get_pb2.SearchRequest(
            collection=LEDGER,
            tenant=self.tenant,
            limit=limit,
            # The cursor starts behind this id; no object has the nil UUID.
            after=str(after or UUID(int=0)),
            metadata=search_get_pb2.MetadataRequest(uuid=True),
            properties=search_get_pb2.PropertiesRequest(non_ref_properties=rows.READ),
            uses_123_api=True,
            uses_125_api=True,
            uses_127_api=True,
        )
        reply = self.session.stub.Search(
            request, timeout=QUERY_SECONDS, metadata=self.session.metadata
        )
        return [_read(result) for result in reply.results]


def _read(result: Any) -> tuple[UUID, dict[str, Any]]:
    fields = result.properties.non_ref_props.fields
    properties: dict[str, Any] = {pack: fields[pack].text_value for pack in rows.PACKS}
    properties[rows.MARK] = rows.MARK in fields and fields[rows.MARK].bool_value
    return result_id(result), properties


def _decode(found: tuple[UUID, Mapping[str, Any]]) -> ObjectRecord:
    return rows.decode(*found)


def merge(
    session: Session,
    collection: WeaviateCollection[Any, Any],
    ident: UUID,
    properties: Mapping[str, Any],
) -> bool:
    """Merges properties into an object, which Weaviate does under the object's lock.

    Returns whether the object is there.
    """
    from weaviate.exceptions import UnexpectedStatusCodeError

    with session.call():
        try:
            collection.data.update(ident, properties=dict(properties))
        except UnexpectedStatusCodeError as error:
            if error.status_code != 404:
                raise
            return False
    return True

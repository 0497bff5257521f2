"""Documents: what extractors made of objects, in one collection of one tenant."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import UUID

from telecine.index import search as searching
from telecine.index.client import QUERY_SECONDS, IndexAbsentError, Session
from telecine.index.ledger import MOST_FILTERED, merge
from telecine.index.pairs import metadata_pairs
from telecine.index.rows import dumps
from telecine.index.search import Hit, Mode
from telecine.index.wire import (
    batch_object,
    deleted,
    equal,
    escape,
    every,
    result_id,
    some,
    unequal,
    unescape,
)
from telecine.planning.types import JSON, Document, Vector

if TYPE_CHECKING:
    from weaviate.collections.classes.filters import _Filters
    from weaviate.collections.collection import Collection

_OBJECTS_AT_ONCE = 1000
_PATCHES_AT_ONCE = 8
_PAGE = 5000


@dataclass
class StoredDocument:
    """A document with its id and the lineage of its object."""

    id: UUID
    object_id: UUID
    kube_namespace: str
    bucket: str
    path: str
    content_hash: str
    recipe: str
    index: int
    """Position among the documents of the object."""
    document: Document
    source_metadata: Mapping[str, JSON] = field(default_factory=dict)
    fields: Mapping[str, JSON] = field(default_factory=dict)
    owner: str = ""


class Documents:
    """The documents of one tenant in one collection.

    Where the collection does not have the tenant there is nothing to read or remove; only writing
    and searching raise `IndexAbsentError` then. All methods raise `IndexUnavailableError`.
    """

    def __init__(
        self, session: Session, tenant: str, collection: str, *, most: int = MOST_FILTERED
    ) -> None:
        self.session, self.tenant, self.name, self._most = session, tenant, collection, most

    @property
    def _collection(self) -> Collection[Any, Any]:
        return self.session.client.collections.use(self.name).with_tenant(self.tenant)

    def write(self, docs: Sequence[StoredDocument]) -> None:
        """Writes documents, over whatever documents of these ids there are.

        Raises:
            IndexWriteError: Weaviate refused some; the others are written.
        """
        latest = {doc.id: doc for doc in docs}
        self.session.insert(
            batch_object(self.name, self.tenant, doc.id, _properties(doc), doc.document.vectors)
            for doc in latest.values()
        )

    def delete_object(
        self,
        object_id: UUID,
        *,
        keep: tuple[str, str] | None = None,
        only: tuple[str, str] | None = None,
        owner: str | None = None,
    ) -> int:
        """Removes an object's documents; returns how many.

        `keep` and `only` are pairs of content hash and recipe key: documents of that pair stay,
        or no others go. With `owner` only documents that carry it go.
        """
        parts = [equal("object_id", str(object_id))]
        if keep is not None:
            parts.append(unequal("content_hash", keep[0]) | unequal("recipe", keep[1]))
        if only is not None:
            parts += [equal("content_hash", only[0]), equal("recipe", only[1])]
        return self._delete(parts, owner)

    def delete_objects(self, object_ids: Sequence[UUID], owner: str | None = None) -> int:
        """Removes all documents of many objects; returns how many documents."""
        return sum(
            self._delete(
                [some("object_id", [str(i) for i in object_ids[at : at + _OBJECTS_AT_ONCE]])], owner
            )
            for at in range(0, len(object_ids), _OBJECTS_AT_ONCE)
        )

    def _delete(self, parts: list[_Filters], owner: str | None) -> int:
        where = every([*parts, None if owner is None else equal("owner", owner)])
        if where is None:
            raise ValueError("a deletion needs a filter")
        try:
            return deleted(self.session, self._collection, where)
        except IndexAbsentError:
            return 0

    def update_metadata(
        self,
        object_id: UUID,
        source_metadata: Mapping[str, JSON],
        fields: Mapping[str, JSON],
    ) -> int:
        """Gives an object's documents other metadata, and leaves text and vectors as they are.

        Returns how many documents.
        """
        properties = _metadata(source_metadata, fields)
        try:
            ids = self._ids(object_id)
        except IndexAbsentError:
            return 0
        if not ids:
            return 0
        collection = self._collection
        with ThreadPoolExecutor(min(_PATCHES_AT_ONCE, len(ids)), "metadata") as pool:
            return sum(pool.map(lambda i: merge(self.session, collection, i, properties), ids))

    def _ids(self, object_id: UUID) -> list[UUID]:
        """Ids of all documents of an object, also beyond what one query returns."""
        from weaviate.classes.query import Filter

        mine = equal("object_id", str(object_id))
        ids = self._matching(mine)
        if len(ids) < self._most:
            return ids
        # Several contents and recipes may share an index, so a range is half of what is allowed
        # and is halved again while it is too full.
        found: set[UUID] = set()
        start, width = 0, max(self._most // 2, 1)
        last = self._last_index(mine)
        while start <= last:
            place = Filter.by_property("index")
            ids = self._matching(
                mine & place.greater_or_equal(start) & place.less_than(start + width)
            )
            if len(ids) >= self._most and width > 1:
                width //= 2
                continue
            found.update(ids)
            start += width
        return list(found)

    def _matching(self, where: _Filters) -> list[UUID]:
        with self.session.call():
            reply = self._collection.query.fetch_objects(
                filters=where, limit=self._most, return_properties=[]
            )
        return [UUID(int=o.uuid.int) for o in reply.objects]

    def _last_index(self, where: _Filters) -> int:
        from weaviate.classes.query import Metrics

        with self.session.call():
            found = self._collection.aggregate.over_all(
                filters=where, return_metrics=Metrics("index").integer(maximum=True)
            )
        index: Any = found.properties["index"]
        return int(index.maximum or 0)

    def count(self, object_id: UUID | None = None) -> int:
        """Number of documents, of the tenant or of one object."""
        where = None if object_id is None else equal("object_id", str(object_id))
        try:
            with self.session.call():
                found = self._collection.aggregate.over_all(filters=where, total_count=True)
        except IndexAbsentError:
            return 0
        return found.total_count or 0

    def scan(self) -> Iterator[tuple[UUID, UUID, str]]:
        """Streams ids of documents, ids of their objects, and content hashes."""
        from weaviate.proto.v1 import search_get_pb2

        after = UUID(int=0)
        while True:
            request = search_get_pb2.SearchRequest(
                collection=self.name,
                tenant=self.tenant,
                limit=_PAGE,
                after=str(after),
                metadata=search_get_pb2.MetadataRequest(uuid=True),
                properties=search_get_pb2.PropertiesRequest(
                    non_ref_properties=["object_id", "content_hash"]
                ),
                uses_123_api=True,
                uses_125_api=True,
                uses_127_api=True,
            )
            try:
                reply = self.session.stub.Search(
                    request, timeout=QUERY_SECONDS, metadata=self.session.metadata
                )
            except IndexAbsentError:
                return
            for result in reply.results:
                fields = result.properties.non_ref_props.fields
                after = result_id(result)
                yield (
                    after,
                    UUID(fields["object_id"].text_value),
                    fields["content_hash"].text_value,
                )
            if len(reply.results) < _PAGE:
                return

    def lineage(self, object_ids: Sequence[UUID]) -> Iterator[tuple[UUID, str, str, str]]:
        """Object id, Kubernetes namespace, Bucket and owner of the documents of objects."""
        names = ["object_id", "kube_namespace", "bucket", "owner"]
        for object_id in object_ids:
            try:
                with self.session.call():
                    reply = self._collection.query.fetch_objects(
                        filters=equal("object_id", str(object_id)),
                        limit=self._most,
                        return_properties=names,
                    )
            except IndexAbsentError:
                return  # No tenant in this collection: no documents either.
            for found in reply.objects:
                told = [str(found.properties.get(name) or "") for name in names[1:]]
                yield object_id, told[0], told[1], told[2]

    def leading(self, object_id: UUID, content_hash: str, recipe: str) -> list[dict[str, Any]]:
        """Properties of an object's first documents of one content and recipe, up to a gap."""
        where = every(
            [
                equal("object_id", str(object_id)),
                equal("content_hash", content_hash),
                equal("recipe", recipe),
            ]
        )
        try:
            with self.session.call():
                reply = self._collection.query.fetch_objects(filters=where, limit=self._most)
        except IndexAbsentError:
            return []
        found = {
            int(str(o.properties["index"]).partition(".")[0]): {
                name: unescape(value) if isinstance(value, str) else value
                for name, value in o.properties.items()
                if value is not None
            }
            for o in reply.objects
        }
        return [found[i] for i in itertools.takewhile(found.__contains__, itertools.count())]

    def search(
        self,
        query: str | None,
        vectors: Mapping[str, Vector] | None,
        *,
        mode: Mode | str = Mode.HYBRID,
        limit: int = 10,
        bucket: str | None = None,
        kube_namespace: str | None = None,
        filters: Mapping[str, str] | None = None,
        properties: Sequence[str] = (),
    ) -> list[Hit]:
        """The best matches, best first; a higher score is better in every mode.

        `filters` are equalities of metadata, keys dotted: `{"camera.model": "X100"}`.
        `properties` are where keyword search looks, all that is searchable when empty.

        Raises:
            ValueError: the mode needs a query or vectors that are not given.
        """
        request = searching.Request(
            query=query,
            vectors=vectors or {},
            mode=Mode(mode),
            limit=limit,
            bucket=bucket,
            kube_namespace=kube_namespace,
            filters=filters or {},
            properties=properties,
        )
        with self.session.call():
            return searching.search(self._collection, request)


def _properties(doc: StoredDocument) -> dict[str, Any]:
    extra = {
        name: escape(value) if isinstance(value, str) else value
        for name, value in doc.document.properties.items()
        if value is not None
    }
    return extra | {
        "text": escape(doc.document.text),
        "object_id": str(doc.object_id),
        "kube_namespace": doc.kube_namespace,
        "bucket": doc.bucket,
        "path": escape(doc.path),
        "recipe": doc.recipe,
        "content_hash": doc.content_hash,
        "owner": doc.owner,
        "index": doc.index,
        **_metadata(doc.source_metadata, doc.fields),
    }


def _metadata(source_metadata: Mapping[str, JSON], fields: Mapping[str, JSON]) -> dict[str, Any]:
    return {
        "source_metadata": dumps(dict(source_metadata)),
        "fields": dumps(dict(fields)),
        "metadata_pairs": sorted(metadata_pairs(source_metadata) | metadata_pairs(fields)),
    }


__all__ = ["Documents", "Hit", "StoredDocument"]

"""A Weaviate, an Index over it, and a fresh tenant for each test."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from index_samples import TEXTS
from telecine.api.namespace import NamespaceState
from telecine.index.client import WeaviateSettings, open_index
from telecine.index.documents import Documents, StoredDocument
from telecine.index.index import Index
from telecine.index.ledger import Ledger
from telecine.planning.types import Document, ObjectRecord


@pytest.fixture(scope="session")
def index(weaviate: WeaviateSettings) -> Iterator[Index]:
    with open_index(weaviate) as opened:
        opened.ensure_schema([TEXTS])
        yield opened


@pytest.fixture
def tenant(index: Index) -> Iterator[str]:
    name = f"test-{uuid.uuid4().hex}"
    index.set_tenant(name, NamespaceState.ACTIVE, [TEXTS])
    yield name
    index.drop_tenant(name)


@pytest.fixture
def ledger(index: Index, tenant: str) -> Ledger:
    return index.ledger(tenant)


@pytest.fixture
def documents(index: Index, tenant: str) -> Documents:
    return index.documents(tenant, TEXTS)


@pytest.fixture
def record() -> Callable[..., ObjectRecord]:
    """Makes rows, each with another id unless one is given."""
    plain = ObjectRecord(
        id=uuid.UUID(int=0),
        kube_namespace="media",
        bucket="films",
        connection="archive",
        asset_id="a/b.txt",
        path="b.txt",
        size=10,
        modified=1.7e9,
        fingerprint="etag",
        version="etag-1",
        mime_type="text/plain",
        owner="telecine/media/films",
    )

    def make(**columns: object) -> ObjectRecord:
        return replace(plain, **{"id": uuid.uuid4(), **columns})  # type: ignore[arg-type]

    return make


@pytest.fixture
def document() -> Callable[..., StoredDocument]:
    """Makes documents, each with another id and index unless they are given."""
    numbers = itertools.count()

    def make(
        text: str = "a reel of film",
        *,
        vector: list[float] | None = None,
        properties: dict[str, object] | None = None,
        **lineage: object,
    ) -> StoredDocument:
        vectors = {"text_embedding": vector or [1.0, 0.0, 0.0], "title_embedding": [0.0, 1.0]}
        plain: dict[str, object] = {
            "id": uuid.uuid4(),
            "object_id": uuid.uuid4(),
            "kube_namespace": "media",
            "bucket": "films",
            "path": "b.txt",
            "content_hash": "hash",
            "recipe": "text_extractor@v1:abc",
            "index": next(numbers),
            "owner": "telecine/media/films",
        }
        return StoredDocument(
            document=Document(text, vectors, dict(properties or {})),
            **(plain | lineage),  # type: ignore[arg-type]
        )

    return make

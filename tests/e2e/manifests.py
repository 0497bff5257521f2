"""A Bucket of texts under a running operator, and what its index must hold."""

from __future__ import annotations

import uuid
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from telecine.index.client import IndexAbsentError
from telecine.index.index import Index
from telecine.planning.types import ObjectRecord

from tests.integration.operator_process import Resources, eventually

EXTRACTORS = {"featureExtractors": [{"name": "text_extractor"}]}
NAMESPACE = "library"
Body = dict[str, Any]


def local(folder: Path) -> Body:
    return {"provider": "local", "local": {"path": str(folder)}}


def texts() -> Body:
    return {"namespaceRef": {"name": NAMESPACE}, "blobType": "text"}


@dataclass
class Shelf:
    """One Bucket, Connection and Sync, all of one name, fed from a folder."""

    resources: Resources
    index: Index
    folder: Path
    name: str = field(default_factory=lambda: f"shelf-{uuid.uuid4().hex[:8]}")
    patience: float = 180.0

    @property
    def tenant(self) -> str:
        return f"{self.resources.namespace}_{NAMESPACE}"

    def write(self, name: str, content: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)

    def create_sources(self, connection: Body | None = None) -> None:
        self.resources.create("Bucket", self.name, texts())
        self.resources.create("Connection", self.name, connection or local(self.folder))

    def create_sync(self, **spec: Any) -> Body:
        references = {"bucketRef": {"name": self.name}, "connectionRef": {"name": self.name}}
        return self.resources.create("Sync", self.name, {**references, **spec})

    def indexed(self, connection: Body | None = None, **spec: Any) -> Body:
        """Creates all three and waits for the first run; returns the Sync's status."""
        self.create_sources(connection)
        self.create_sync(**spec)
        return self.wait(lastSuccessTime=True)

    def status(self) -> Body:
        return self.resources.status("Sync", self.name)

    def ready(self, type: str = "Ready") -> Body:
        return self.resources.condition("Sync", self.name, type)

    def wait(self, **wanted: Any) -> Body:
        """Waits until each field of the status is as wanted; True stands for any value."""

        def look() -> bool:
            found = self.status()
            return all(
                bool(found.get(key)) if value is True else found.get(key) == value
                for key, value in wanted.items()
            )

        try:
            eventually(look, self.patience)
        except AssertionError:
            raise AssertionError(f"not {wanted} but {self.status()}") from None
        return self.status()

    def change(self, **spec: Any) -> None:
        self.resources.patch("Sync", self.name, {"spec": spec})

    def request(self) -> str:
        asked = uuid.uuid4().hex
        self.resources.request("Sync", self.name, asked)
        return asked

    def run(self) -> Body:
        """Asks for a run and waits for its end; returns the status."""
        return self.wait(lastHandledReconcileAt=self.request())

    def delete(self) -> None:
        self.resources.delete("Sync", self.name)
        eventually(lambda: not self.resources.exists("Sync", self.name), self.patience)

    def records(self) -> dict[str, ObjectRecord]:
        found = self.index.ledger(self.tenant).find(
            kube_namespace=self.resources.namespace, bucket=self.name
        )
        return {record.asset_id: record for record in found}

    def paths(self) -> set[str]:
        return set(self.records())

    def texts(self) -> dict[str, str]:
        """What the documents of each asset say, as found by a keyword search."""
        return {hit.path: hit.text or "" for hit in self._hits("passage")}

    def _hits(self, word: str) -> list[Any]:
        from telecine.index.search import Mode

        hits: list[Any] = []
        for collection in self.index.document_collections():
            # Other tests' extractors have collections that this tenant is not in.
            with suppress(IndexAbsentError):
                hits += self.index.documents(self.tenant, collection).search(
                    word, None, mode=Mode.KEYWORD, limit=100, bucket=self.name, filters={}
                )
        return hits

    def assert_whole(self, expected: set[str]) -> None:
        """The index is the source: each object once, with all its documents and no others."""
        rows = list(
            self.index.ledger(self.tenant).find(
                kube_namespace=self.resources.namespace, bucket=self.name
            )
        )
        assert sorted(row.path for row in rows) == sorted(expected)
        by_id = {row.id: row for row in rows}
        counted: Counter[uuid.UUID] = Counter()
        known = {row.id for row in self.index.ledger(self.tenant).scan_all()}
        for collection in self.index.document_collections():
            for _, owner, content in self.index.documents(self.tenant, collection).scan():
                assert owner in known, "a document without an object"
                if owner in by_id:
                    assert content == by_id[owner].content_hash, f"old: {by_id[owner].path}"
                    counted[owner] += 1
        for row in rows:
            assert row.state == "COMPLETED", (row.path, row.state, row.message)
            assert row.documents > 0
            assert counted[row.id] == row.documents, row.path

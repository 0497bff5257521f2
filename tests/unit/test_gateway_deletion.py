"""Where a deletion leaves tombstones, and what is finished from them; the ledgers are dicts."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from telecine.api.connection import ConnectionSpec
from telecine.gateway import deletion
from telecine.gateway.deletion import Deletions
from telecine.gateway.directory import Known
from telecine.gateway.metrics import GatewayMetrics
from telecine.index.client import IndexUnavailableError, WeaviateSettings
from telecine.index.tombstones import Tombstones
from telecine.planning.identity import object_id, owner_id, tombstone_range
from telecine.planning.types import ObjectRecord, ObjectState
from telecine.settings import Settings

ELSEWHERE = "http://elsewhere:8080"
SPEC = ConnectionSpec.model_validate({"provider": "mux", "mux": {}, "secretRef": {"name": "mux"}})


class Rows:
    """What a ledger does, in a dict."""

    def __init__(self) -> None:
        self.rows: dict[UUID, ObjectRecord] = {}

    def get(self, ids: Sequence[UUID]) -> dict[UUID, ObjectRecord]:
        return {i: self.rows[i] for i in ids if i in self.rows}

    def insert(self, records: Sequence[ObjectRecord]) -> None:
        self.rows |= {record.id: record for record in records}

    def patch(self, changes: dict[UUID, dict[str, Any]]) -> None:
        for ident, columns in changes.items():
            self.rows[ident] = replace(self.rows[ident], **columns)

    def scan(self, low: UUID, high: UUID) -> Iterator[ObjectRecord]:
        return iter([row for ident, row in sorted(self.rows.items()) if low <= ident <= high])

    def delete(self, ids: Sequence[UUID], owner: str | None = None) -> int:
        going = [i for i in ids if i in self.rows and owner in (None, self.rows[i].owner)]
        for ident in going:
            del self.rows[ident]
        return len(going)


class World:
    """Resources, Weaviates, and the deletions over them."""

    def __init__(self) -> None:
        self.bodies: dict[tuple[str, str, str], dict[str, Any]] = {}
        self.ledgers: dict[tuple[str, str], Rows] = {}
        self.away: set[str] = set()
        everything: Any = self
        self.deletions = Deletions(everything, everything, Settings(), everything, GatewayMetrics())

    def make(self, kind: str, name: str, spec: dict[str, Any], namespace: str = "media") -> None:
        metadata = {"name": name, "namespace": namespace}
        self.bodies[kind, namespace, name] = {"metadata": metadata, "spec": spec}

    def bucket(self, name: str, tenant: str = "films", *, at: str = "media", **more: Any) -> None:
        """With a Namespace and a Sync of its own."""
        extractors = [{"name": "multimodal_extractor"}]
        self.make(
            "Namespace", name, {"featureExtractors": extractors, "tenant": tenant, **more}, at
        )
        self.make("Bucket", name, {"namespaceRef": {"name": name}, "blobType": "video"}, at)
        references = {"bucketRef": {"name": name}, "connectionRef": {"name": "mux"}}
        self.make("Sync", name, {**references, "sourcePath": "mux://"}, at)

    def add(self, bucket: str, at: str = "media") -> UUID:
        """The object of asset `a`."""
        place = next(p for p in self.deletions.places(at) if p.bucket == bucket)
        ident = object_id(at, bucket, "mux", "a")
        row = ObjectRecord(
            id=ident,
            kube_namespace=at,
            bucket=bucket,
            connection="mux",
            asset_id="a",
            path="a.mp4",
            size=1,
            modified=0.0,
            fingerprint="",
            version="",
            mime_type="video/mp4",
            state=ObjectState.COMPLETED,
            syncs=[bucket],
            owner=owner_id("", at, bucket),
        )
        self.ledger(place.weaviate, place.tenant).insert([row])
        return ident

    def ledger(self, weaviate: WeaviateSettings, tenant: str) -> Rows:
        return self.ledgers.setdefault((weaviate.endpoint, tenant), Rows())

    def has(self, ident: UUID) -> bool:
        return any(ident in rows.rows for rows in self.ledgers.values())

    @contextlib.contextmanager
    def use(self, weaviate: WeaviateSettings) -> Iterator[Any]:
        """As the pool does."""
        if weaviate.endpoint in self.away:
            raise IndexUnavailableError("it is away")
        yield SimpleNamespace(
            ledger=lambda tenant: self.ledger(weaviate, tenant), document_collections=lambda: []
        )

    def ask(self, _: Any) -> None:
        """As `Requests` does."""


def known(namespace: str = "media") -> Known:
    return Known(namespace, "mux", SPEC)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()

    def list_all(_: Any, kind: str, namespace: str) -> list[dict[str, Any]]:
        return [b for (k, n, _), b in sorted(made.bodies.items()) if (k, n) == (kind, namespace)]

    monkeypatch.setattr(deletion, "list_all", list_all)
    monkeypatch.setattr(deletion, "cluster_lookup", lambda _: lambda *key: made.bodies[key])
    weaviate = {"endpoint": ELSEWHERE}
    made.make("Connection", "elsewhere", {"provider": "weaviate", "weaviate": weaviate})
    return made


FAR: dict[str, Any] = {"weaviate": {"connectionRef": {"name": "elsewhere"}}}


def test_a_removal_is_finished_only_where_it_is_due_when_others_share_the_tenant(
    world: World,
) -> None:
    world.bucket("videos")
    world.bucket("videos", at="another")
    mine, theirs = world.add("videos"), world.add("videos", at="another")
    world.deletions.begin(known(), "a")
    both = [known("another"), known()]
    assert world.deletions.resume(both, older_than=-1) == 1
    assert not world.has(mine)
    assert world.has(theirs)


def test_tenants_of_one_name_in_two_weaviates_are_both_finished(world: World) -> None:
    world.bucket("far", **FAR)
    world.bucket("near")
    objects = [world.add("far"), world.add("near")]
    world.deletions.begin(known(), "a")
    assert world.deletions.resume([known()], older_than=-1) == 2
    assert not any(map(world.has, objects))


def test_a_weaviate_out_of_reach_keeps_no_object_in_another(world: World) -> None:
    world.bucket("far", **FAR)
    world.bucket("near")
    world.add("far")
    near = world.add("near")
    world.away.add(ELSEWHERE)
    begun = world.deletions.begin(known(), "a")
    assert [place.bucket for place, _ in begun.tombstones] == ["near"]
    assert isinstance(begun.failed, IndexUnavailableError), "so that Mux comes again"
    assert world.deletions.resume([known()], older_than=-1) == 1
    assert not world.has(near)


@pytest.mark.parametrize("reference", ["other", "mux"])
def test_a_sync_that_cannot_be_read_keeps_what_it_may_select_alone(
    world: World, reference: str
) -> None:
    world.bucket("videos")
    ident = world.add("videos")
    spec = dict(world.bodies["Sync", "media", "videos"]["spec"])
    spec |= {"connectionRef": {"name": reference}, "pollingIntervalSeconds": "often"}
    world.make("Sync", "old", spec)
    for ledger in world.ledgers.values():
        ledger.patch({ident: {"syncs": ["old", "videos"]}})
    begun = world.deletions.begin(known(), "a")
    assert begun.objects == (0 if reference == "mux" else 1)


def test_a_namespace_that_cannot_be_read_keeps_no_object_of_another(world: World) -> None:
    world.bucket("bad", featureExtractors=[])
    world.bucket("good")
    ident = world.add("good")
    world.deletions.begin(known(), "a")
    assert world.deletions.resume([known()], older_than=-1) == 1
    assert not world.has(ident)


def test_what_was_finished_is_not_finished_again(world: World) -> None:
    world.bucket("videos")
    world.add("videos")
    world.deletions.finish(world.deletions.begin(known(), "a"))
    assert world.deletions.resume([known()], older_than=-1) == 0
    (rows,) = world.ledgers.values()
    ledger: Any = rows
    assert [one.finished for one in Tombstones(ledger).all()] == [True]
    assert len(list(rows.scan(*tombstone_range()))) == 1

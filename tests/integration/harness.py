"""A Sync's runs without an operator: real Weaviate, a real directory or S3 bucket, real weights."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from telecine.api.base import Phase
from telecine.api.bucket import BucketSpec
from telecine.api.connection import ConnectionSpec
from telecine.api.namespace import FeatureExtractor, NamespaceState
from telecine.api.sync import PlanSummary, RunStep, ShardProgress, SyncSpec
from telecine.index.client import WeaviateSettings, open_index
from telecine.index.documents import Hit
from telecine.index.index import Index
from telecine.index.search import Mode
from telecine.planning.identity import object_id, owner_id, recipe
from telecine.planning.types import ObjectRecord, Recipe
from telecine.providers.base import Provider
from telecine.providers.registry import create
from telecine.workers.extract import run_extract
from telecine.workers.protocol import Job, Limits
from telecine.workers.sync import run_sync
from telecine.workers.toolset import Toolset, collection_of

KUBE_NAMESPACE = "media"
TOOLS = Toolset()

WHALE = "Call me Ishmael. Some years ago I thought I would sail about and see the watery part."
RABBIT = "Alice saw a White Rabbit with pink eyes run close by her, taking a watch from its pocket."
PRIDE = "It is a truth universally acknowledged that a single man must be in want of a wife."


class Recorder:
    """A Reporter that remembers."""

    def __init__(self) -> None:
        self.activities: list[str] = []
        self.step: RunStep | None = None
        self.chunks = 0
        self.unindexed = 0

    def activity(self, text: str, plan: PlanSummary | None = None, *, unindexed: int = 0) -> None:
        self.activities.append(text)

    def planned(self, step: RunStep, plan: PlanSummary, chunks: int, unindexed: int) -> None:
        self.step, self.chunks, self.unindexed = step, chunks, unindexed

    def shard(self, progress: ShardProgress, *, final: bool = False) -> None:
        self.activities.append(progress.message or f"{progress.extracted} extracted")


class Free:
    """A Guard that never loses."""

    def check(self) -> None:
        return


@dataclass
class Ran:
    """What one run did."""

    plan: PlanSummary
    progress: ShardProgress = field(default_factory=ShardProgress)
    unindexed: int = 0


def idle(ran: Ran) -> bool:
    """Whether a run downloaded and embedded nothing."""
    return ran.progress.downloads == 0 and ran.progress.embeddings == 0


@dataclass
class World:
    """One Namespace, one Bucket, one Connection, and Syncs on it."""

    index: Index
    provider: Provider
    folder: Path
    tenant: str
    extractors: tuple[FeatureExtractor, ...] = (FeatureExtractor(name="text_extractor"),)
    bucket: BucketSpec = field(
        default_factory=lambda: BucketSpec.model_validate(
            {"namespaceRef": {"name": "library"}, "blobType": "text"}
        )
    )
    limits: Limits = field(default_factory=lambda: Limits(asset_retry_seconds=0.0))
    runs: int = 0

    @property
    def recipes(self) -> tuple[Recipe, ...]:
        return tuple(recipe(extractor) for extractor in self.extractors)

    def job(self, sync: str = "texts", approved: str | None = None, **spec: Any) -> Job:
        self.runs += 1
        return Job(
            kube_namespace=KUBE_NAMESPACE,
            sync_name=sync,
            sync=SyncSpec.model_validate(
                {"bucketRef": {"name": "books"}, "connectionRef": {"name": "disk"}, **spec}
            ),
            bucket_name="books",
            bucket=self.bucket,
            connection_name="disk",
            namespace_name="library",
            tenant=self.tenant,
            owner=owner_id("", KUBE_NAMESPACE, "books"),
            recipes=self.recipes,
            run=f"{self.runs}.1",
            provider=self.provider,
            index=self.index,
            limits=self.limits,
            approved_digest=approved,
        )

    def run(self, sync: str = "texts", approved: str | None = None, **spec: Any) -> Ran:
        """One whole run: sync step, then every chunk by one worker."""
        return run_job(self.job(sync, approved, **spec))

    def write(self, name: str, content: str | bytes) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def id_of(self, name: str) -> uuid.UUID:
        return object_id(KUBE_NAMESPACE, "books", "disk", name)

    def record(self, name: str) -> ObjectRecord | None:
        key = self.id_of(name)
        return self.index.ledger(self.tenant).get([key]).get(key)

    def records(self) -> dict[str, ObjectRecord]:
        return {r.asset_id: r for r in self.index.ledger(self.tenant).scan_all()}

    def documents(self) -> list[tuple[uuid.UUID, str]]:
        """Object id and content hash of every document in every collection."""
        return [
            (row[1], row[2])
            for name in self.index.document_collections()
            for row in self.index.documents(self.tenant, name).scan()
        ]

    def search(self, query: str, mode: Mode = Mode.HYBRID, **options: Any) -> list[Hit]:
        tool = TOOLS.tool(self.recipes[0])
        vectors = None if mode is Mode.KEYWORD else tool.extractor.embed_query(query)
        store = self.index.documents(self.tenant, tool.collection)
        return store.search(
            query, vectors, mode=mode, **{"limit": 5, "bucket": None, "filters": {}} | options
        )

    def assert_whole(self, expected: set[str]) -> None:
        """The index is the filtered source: each object once, with all its documents."""
        records = self.records()
        assert set(records) == expected
        counts: dict[uuid.UUID, int] = {}
        for owner, content in self.documents():
            counts[owner] = counts.get(owner, 0) + 1
            row = next((r for r in records.values() if r.id == owner), None)
            assert row is not None, f"document of {owner} without an object"
            assert content == row.content_hash, f"old documents of {row.path} are still found"
        for row in records.values():
            assert row.state == "COMPLETED", (row.path, row.state, row.message)
            assert counts.get(row.id, 0) == row.documents, row.path


def run_job(job: Job) -> Ran:
    recorder = Recorder()
    plan = run_sync(job, Free(), recorder, contextlib.nullcontext)
    ran = Ran(plan, unindexed=recorder.unindexed)
    if recorder.step is RunStep.EXTRACT:
        ran.progress = run_extract(job, range(recorder.chunks), Free(), recorder, TOOLS)
        assert ran.progress.phase in (Phase.COMPLETED, Phase.COMPLETED_WITH_ERRORS)
    return ran


@contextlib.contextmanager
def make_world(weaviate: WeaviateSettings, folder: Path, **changes: Any) -> Iterator[World]:
    """A world with a tenant of its own, gone afterwards."""
    spec = ConnectionSpec.model_validate({"provider": "local", "local": {"path": str(folder)}})
    with open_index(weaviate) as index:
        world = World(index, create(spec, {}), folder, f"t-{uuid.uuid4().hex[:12]}")
        world = replace(world, **changes)
        collections = [collection_of(r) for r in world.recipes]
        index.ensure_schema(collections)
        index.set_tenant(world.tenant, NamespaceState.ACTIVE, [c.name for c in collections])
        yield world
        index.drop_tenant(world.tenant)

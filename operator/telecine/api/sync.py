"""Sync: an asset source feeding a Bucket."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from telecine.api.base import (
    ApiModel,
    CommonStatus,
    JobTemplate,
    NameRef,
    Phase,
    StatusModel,
    rules,
)
from telecine.api.namespace import DeletionPolicy
from telecine.api.selection import (
    FileFilters,
    FilterOperator,
    MappingSource,
    MappingTarget,
    MappingTransform,
    MetadataFilter,
    SchemaMapping,
)

__all__ = [
    "DriftPolicy",
    "FileFilters",
    "FilterOperator",
    "MappingSource",
    "MappingTarget",
    "MappingTransform",
    "MetadataFilter",
    "PlanSummary",
    "ProviderCalls",
    "RunRecord",
    "RunStatus",
    "RunStep",
    "SchemaMapping",
    "ShardProgress",
    "SyncMode",
    "SyncSpec",
    "SyncStatus",
]


class SyncMode(StrEnum):
    CONTINUOUS = "continuous"
    INCREMENTAL = "incremental"
    INITIAL_ONLY = "initial_only"


class DriftPolicy(StrEnum):
    ENFORCE = "Enforce"
    WARN = "Warn"


class SyncSpec(ApiModel):
    bucket_ref: NameRef = Field(
        json_schema_extra=rules(("self == oldSelf", "bucketRef is immutable: create another Sync"))
    )
    connection_ref: NameRef = Field(
        json_schema_extra=rules(
            ("self == oldSelf", "connectionRef is immutable: create another Sync")
        )
    )
    source_path: Annotated[str, Field(max_length=4096)] = Field(
        default="", description="Where in the Connection to begin: a prefix, a folder, `mux://`."
    )
    sync_mode: SyncMode = SyncMode.CONTINUOUS
    polling_interval_seconds: Annotated[int, Field(ge=30, le=86400)] = 300
    file_filters: FileFilters | None = None
    schema_mapping: Annotated[dict[str, SchemaMapping], Field(max_length=64)] | None = None
    reconcile_on_sync: bool = Field(
        default=False,
        description="Each run re-checks what is indexed and unindexes what no longer matches.",
    )
    prune: bool = Field(default=True, description="Unindex what is gone at the source.")
    drift_policy: DriftPolicy = Field(
        default=DriftPolicy.ENFORCE, description="Warn: plan and report in status, change nothing."
    )
    delete_limit_percent: Annotated[int, Field(ge=0, le=100)] = Field(
        default=50,
        description="A run that would unindex more than this share stops and asks; 100: never.",
    )
    deletion_policy: DeletionPolicy = Field(
        default=DeletionPolicy.ORPHAN,
        description="Orphan: what the Sync brought in stays in the Bucket.",
    )
    suspend: bool = False
    max_objects_per_run: Annotated[int, Field(ge=1, le=10_000_000)] = 100_000
    parallelism: Annotated[int, Field(ge=1, le=256)] = 1
    batch_size: Annotated[int, Field(ge=1, le=100)] = 50
    job_template: JobTemplate | None = None

    def filters(self) -> FileFilters:
        return self.file_filters or FileFilters()


class RunStep(StrEnum):
    """Where a run is; each step can be repeated from its start."""

    SYNC = "sync"
    EXTRACT = "extract"
    FINISH = "finish"


class PlanSummary(StatusModel):
    """Counts of a plan; the same names in `telecine plan -o json`."""

    listed: int = 0
    matched: int = 0
    add: int = 0
    change: int = 0
    retry: int = 0
    keep: int = 0
    adopt: int = 0
    unindex: int = 0
    drifted: int = 0
    deferred: int = 0
    dead: int = 0
    skip: int = 0
    skipped: dict[str, int] = Field(default_factory=dict, description="Skipped assets by reason.")
    add_bytes: int = 0
    change_bytes: int = 0
    digest: str | None = Field(default=None, description="Digest of what would be unindexed.")


class ProviderCalls(StatusModel):
    """Requests to a source, each attempt counted: a request that is tried again is two."""

    total: int = 0
    errors: int = Field(default=0, description="Of all: refused, or without a whole answer.")
    throttled: int = Field(default=0, description="Of the errors: the source asked for fewer.")

    def __add__(self, other: ProviderCalls) -> ProviderCalls:
        return ProviderCalls(
            total=self.total + other.total,
            errors=self.errors + other.errors,
            throttled=self.throttled + other.throttled,
        )


class ShardProgress(StatusModel):
    """What one extraction worker has done so far."""

    phase: Phase = Phase.IN_PROGRESS
    total: int = 0
    extracted: int = 0
    failed: int = 0
    documents: int = 0
    downloads: int = 0
    embeddings: int = 0
    calls: ProviderCalls = Field(default_factory=ProviderCalls)
    message: str | None = None
    features: dict[str, str] = Field(
        default_factory=dict,
        description="Features of the extractors here: `on`, `disabled`, or `off: ` and why.",
    )


class RunStatus(StatusModel):
    """One run. The worker writes it while it works; the controller closes it."""

    id: str
    phase: Phase = Phase.PENDING
    step: RunStep = RunStep.SYNC
    trigger: str = ""
    generation: int | None = None
    requested_at: str | None = None
    attempt: int = 1
    started_at: datetime | None = None
    finished_at: datetime | None = None
    activity: str | None = Field(default=None, description="listing, planning, applying")
    plan: PlanSummary | None = None
    chunks: int = 0
    workers: int = 0
    shards: dict[str, ShardProgress] = Field(default_factory=dict)
    unindexed: int = 0
    calls: ProviderCalls = Field(
        default_factory=ProviderCalls,
        description="Without those in `shards` while the run goes on, all when it is over.",
    )
    inputs: str | None = Field(
        default=None,
        description="Digest of what the run was made from: specs, recipes, Secret version.",
    )
    reason: str | None = None
    message: str | None = None
    permanent: bool = Field(default=False, description="Failed until a spec or Secret changes.")


class RunRecord(StatusModel):
    """A finished run in the history."""

    id: str
    phase: Phase
    trigger: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    listed: int = 0
    matched: int = 0
    added: int = 0
    changed: int = 0
    unindexed: int = 0
    extracted: int = 0
    failed: int = 0
    documents: int = 0
    downloads: int = 0
    embeddings: int = 0
    calls: ProviderCalls = Field(default_factory=ProviderCalls)
    message: str | None = None


class SyncStatus(CommonStatus):
    run: RunStatus | None = None
    history: Annotated[list[RunRecord], Field(max_length=5)] = Field(default_factory=list)
    plan: PlanSummary | None = Field(default=None, description="The last plan that was made.")
    run_count: int = 0
    consecutive_failures: int = 0
    objects: int | None = None
    indexed: int | None = None
    pending: int | None = None
    failed: int | None = None
    drifted: int | None = None
    last_sync_time: datetime | None = None
    last_success_time: datetime | None = None
    next_sync_time: datetime | None = None
    features: dict[str, str] = Field(
        default_factory=dict,
        description="Features of the extractors in the last run that extracted.",
    )
    synced_inputs: str | None = Field(default=None, description="`inputs` of the last closed run.")

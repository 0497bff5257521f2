"""What a worker is given: which Sync, which services, whose run, where to report."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from telecine.api.bucket import BucketSpec
from telecine.api.sync import PlanSummary, RunStep, ShardProgress, SyncSpec
from telecine.planning.types import Recipe

if TYPE_CHECKING:
    from telecine.index.index import Index
    from telecine.providers.base import Provider


class RunLostError(Exception):
    """The run is not this worker's any more: it stops at once and writes nothing further."""


class FuseTrippedError(Exception):
    """The plan would unindex more than `deleteLimitPercent`; `str()` says how to let it through."""

    def __init__(self, message: str, summary: PlanSummary) -> None:
        super().__init__(message)
        self.summary = summary


class Guard(Protocol):
    """Proof that the run is still ours."""

    def check(self) -> None:
        """Called before each batch of writes.

        Raises:
            RunLostError: another worker or nobody holds the run now.
        """
        ...


class Reporter(Protocol):
    """Where progress goes. Calls are cheap; only every few seconds one is sent."""

    def activity(self, text: str, plan: PlanSummary | None = None, *, unindexed: int = 0) -> None:
        """What the sync step is doing."""
        ...

    def planned(self, step: RunStep, plan: PlanSummary, chunks: int, unindexed: int) -> None:
        """The sync step is over; sent at once and until it arrives."""
        ...

    def shard(self, progress: ShardProgress, *, final: bool = False) -> None:
        """What this extraction worker has done; `final` is sent at once and until it arrives."""
        ...


@dataclass(frozen=True)
class Limits:
    """Bounds of a worker, from the operator's settings."""

    scratch: Path | None = None
    asset_attempts: int = 5
    asset_retry_seconds: float = 60.0
    max_asset_bytes: int = 8 << 30
    scratch_bytes: int = 8 << 30
    """Of content fetched ahead; one asset may have them all."""
    downloads: int = 4
    """Downloads at once."""
    describes: int = 16
    """Per-asset metadata calls at once."""


@dataclass(frozen=True)
class Job:
    """One run of one Sync, resolved: everything a worker needs and nothing of Kubernetes."""

    kube_namespace: str
    sync_name: str
    sync: SyncSpec
    bucket_name: str
    bucket: BucketSpec
    connection_name: str
    namespace_name: str
    tenant: str
    owner: str
    recipes: tuple[Recipe, ...]
    run: str
    """`{run id}.{attempt}`."""
    provider: Provider = field(repr=False)
    index: Index = field(repr=False)
    limits: Limits = Limits()
    approved_digest: str | None = None

    @property
    def run_key(self) -> str:
        """How the ledger names the run."""
        return f"{self.sync_name}/{self.run}"

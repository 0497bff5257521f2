"""From runs to what people read: conditions, messages, history. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from telecine.api.base import Phase
from telecine.api.sync import (
    DriftPolicy,
    PlanSummary,
    RunRecord,
    RunStatus,
    ShardProgress,
    SyncSpec,
    SyncStatus,
)

from .result import Outcome
from .schedule import DELETE_LIMIT
from .status import stamp

KEPT = 5


def totals(run: RunStatus) -> ShardProgress:
    """The sum over the run's extraction workers; of calls, over the sync step as well."""
    shards = run.shards.values()
    return ShardProgress(
        total=sum(s.total for s in shards),
        extracted=sum(s.extracted for s in shards),
        failed=sum(s.failed for s in shards),
        documents=sum(s.documents for s in shards),
        downloads=sum(s.downloads for s in shards),
        embeddings=sum(s.embeddings for s in shards),
        calls=sum((s.calls for s in shards), run.calls),
    )


def record(run: RunStatus) -> RunRecord:
    """A finished run as the history keeps it."""
    plan, done = run.plan or PlanSummary(), totals(run)
    return RunRecord(
        id=run.id,
        phase=run.phase,
        trigger=run.trigger,
        started_at=run.started_at,
        finished_at=run.finished_at,
        listed=plan.listed,
        matched=plan.matched,
        added=plan.add,
        changed=plan.change,
        unindexed=run.unindexed,
        extracted=done.extracted,
        failed=done.failed,
        documents=done.documents,
        downloads=done.downloads,
        embeddings=done.embeddings,
        calls=done.calls,
        message=run.message,
    )


def with_record(history: list[RunRecord], new: RunRecord) -> list[dict[str, Any]]:
    """The history, newest first, a run once, at most five."""
    others = [old for old in history if old.id != new.id]
    return [item.dump() for item in [new, *others][:KEPT]]


def finished_phase(run: RunStatus, failed: int) -> Phase:
    """COMPLETED only when nothing of the Sync is failed."""
    if run.phase is Phase.FAILED:
        return Phase.FAILED
    return Phase.COMPLETED_WITH_ERRORS if failed or totals(run).failed else Phase.COMPLETED


def summary_message(spec: SyncSpec, run: RunStatus, counts: dict[str, int]) -> str:
    """One sentence for the Ready condition."""
    plan = run.plan or PlanSummary()
    if spec.drift_policy is DriftPolicy.WARN:
        return (
            f"driftPolicy Warn: a run would add {plan.add}, change {plan.change}, retry "
            f"{plan.retry} and unindex {plan.unindex}; nothing was changed"
        )
    parts = [f"{counts['completed']} objects indexed from {plan.listed} assets"]
    if plan.skip:
        parts.append(f"{plan.skip} skipped")
    if plan.drifted:
        parts.append(f"{plan.drifted} drifted (reconcileOnSync is off)")
    if counts["failed"]:
        parts.append(f"{counts['failed']} failed: telecine objects --failed tells why")
    if plan.deferred:
        parts.append(f"{plan.deferred} left for the next run (maxObjectsPerRun)")
    return ", ".join(parts)


def progressing(status: SyncStatus, run: RunStatus) -> Outcome:
    """While a run goes on, Ready keeps telling of the last one."""
    done, plan = totals(run), run.plan or PlanSummary()
    activity = run.activity or "starting"
    if run.shards:
        total = max(done.total, plan.add + plan.change + plan.retry)
        activity = f"extracting: {done.extracted + done.failed} of {total} objects"
        within = [shard.message for shard in run.shards.values() if shard.message]
        if within:
            activity += f"; {', '.join(within)}"
    return Outcome(
        phase=Phase.IN_PROGRESS,
        ready=None if status.last_success_time else False,
        reason="Progressing",
        message=f"run {run.id}: {activity}",
        reconciling=True,
    )


def resting(spec: SyncSpec, status: SyncStatus, next_at: datetime | None, now: datetime) -> Outcome:
    """Between runs: the verdict of the last one, and when the next begins."""
    run = status.run
    if run is None:
        raise ValueError("a Sync that never ran does not rest")
    wait = None if next_at is None else max((next_at - now).total_seconds(), 0.0)
    changes: dict[str, Any] = {"nextSyncTime": stamp(next_at) if next_at else None}
    if run.phase is Phase.FAILED:
        return Outcome(
            phase=Phase.FAILED,
            ready=False,
            reason=run.reason or "RunFailed",
            message=run.message or "the run failed",
            stalled=run.permanent or run.reason == DELETE_LIMIT,
            status=changes,
            requeue_after=wait,
        )
    counts = {
        "completed": status.indexed or 0,
        "failed": status.failed or 0,
    }
    phase = finished_phase(run, counts["failed"])
    return Outcome(
        phase=phase,
        ready=True,
        reason="CompletedWithErrors" if phase is Phase.COMPLETED_WITH_ERRORS else "Completed",
        message=summary_message(spec, run, counts),
        status=changes,
        requeue_after=wait,
    )

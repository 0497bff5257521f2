"""A run in progress: its workers, its Lease, its end."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import structlog
from lightkube.models.meta_v1 import OwnerReference
from telecine.api.base import API_VERSION, Phase
from telecine.api.sync import RunStatus, RunStep, SyncStatus
from telecine.execution import lease
from telecine.execution.executor import Standing, Step
from telecine.execution.resolve import ResolvedSync

from . import history
from .context import Context
from .result import Outcome, WaitingError
from .status import stamp
from .store import Key

log = structlog.get_logger(__name__)

_ATTEMPTS = 5
"""Times a run's workers may die before the run counts as failed."""
_POLL_SECONDS = 5.0
"""How often a run in progress is looked at when nothing tells of a change."""


def stop(ctx: Context, namespace: str, name: str) -> None:
    """Ends the workers of a Sync and takes the Lease from any that cannot be reached.

    Raises:
        WaitingError: some may still be writing.
    """
    gone = ctx.executor.stop(namespace, name)
    lease.revoke(ctx.client, lease.sync_lease(name), namespace)
    if not gone:
        raise WaitingError("WorkersStopping", f"the workers of Sync {name} are stopping", 1.0)


def supervise(ctx: Context, resolved: ResolvedSync, status: SyncStatus, run: RunStatus) -> Outcome:
    """A run in progress: starts what is not started, restarts what died, closes what is done."""
    if run.phase is Phase.FAILED or run.step is RunStep.FINISH:
        return close(ctx, resolved, status, run)
    step = step_of(ctx, resolved, run)
    standing = ctx.executor.standing(step)
    if standing.died:
        return restart(ctx, resolved, status, run, step, standing)
    if step.kind is RunStep.EXTRACT and len(step.ended) >= step.width:
        return close(ctx, resolved, status, run)
    starved = False
    changes: dict[str, Any] = {}
    if standing.idle:
        if not take_lease(ctx, resolved, run):
            return waiting(status, run)
        begun = ctx.executor.start(step, standing.idle)
        starved = len(begun) < len(standing.idle)
        changes = began(step, begun)
    if starved:
        ctx.demands.want_worker(Key("Sync", resolved.kube_namespace, resolved.name))
        changes["activity"] = "waiting for a free worker"
    elif standing.activity:
        changes["activity"] = standing.activity
    elif step.kind is RunStep.EXTRACT:
        changes["activity"] = "extracting"
    return waiting(status, run, changes=changes)


def step_of(ctx: Context, resolved: ResolvedSync, run: RunStatus) -> Step:
    """What the status tells of the step that a run is in."""
    body = ctx.lookup("Sync", resolved.kube_namespace, resolved.name)
    step = Step(resolved, body["metadata"]["uid"], f"{run.id}.{run.attempt}", RunStep.SYNC)
    if run.step is RunStep.SYNC:
        begun = frozenset() if run.phase is Phase.PENDING else frozenset([0])
        return replace(step, begun=begun)
    width = run.workers or ctx.executor.width(run.chunks, resolved.sync.parallelism)
    return replace(
        step,
        kind=RunStep.EXTRACT,
        chunks=run.chunks,
        width=width,
        begun=frozenset(int(part) for part in run.shards),
        ended=frozenset(int(n) for n, s in run.shards.items() if s.phase is not Phase.IN_PROGRESS),
    )


def began(step: Step, parts: Collection[int]) -> dict[str, Any]:
    """The fields of the status that say which parts of a step were begun."""
    working = Phase.IN_PROGRESS.value
    if step.kind is RunStep.EXTRACT:
        return {"workers": step.width, "shards": {str(n): {"phase": working} for n in parts}}
    return {"phase": working, "activity": "starting"} if parts else {}


def waiting(
    status: SyncStatus,
    run: RunStatus,
    *,
    changes: dict[str, Any] | None = None,
) -> Outcome:
    """In progress; looked at again when the worker reports or ends, and now and then."""
    outcome = history.progressing(status, run)
    own = {k: v for k, v in (changes or {}).items() if getattr(run, k, None) != v}
    outcome.status = {"run": own} if own else {}
    outcome.requeue_after = _POLL_SECONDS
    return outcome


def take_lease(ctx: Context, resolved: ResolvedSync, run: RunStatus) -> bool:
    """Makes the run the holder of the Sync's Lease, unless a worker of another one still is."""
    body = ctx.lookup("Sync", resolved.kube_namespace, resolved.name)
    owner = OwnerReference(
        apiVersion=API_VERSION, kind="Sync", name=resolved.name, uid=body["metadata"]["uid"]
    )
    return lease.take(
        ctx.client,
        lease.sync_lease(resolved.name),
        resolved.kube_namespace,
        f"{run.id}.{run.attempt}",
        ctx.settings.lease_seconds,
        owner,
    )


def restart(
    ctx: Context,
    resolved: ResolvedSync,
    status: SyncStatus,
    run: RunStatus,
    step: Step,
    standing: Standing,
) -> Outcome:
    """A worker is gone without a word: the run begins again, from its sync step.

    One that was not started here may live elsewhere: while it renews the Lease it is waited for.
    """
    namespace, name, who = step.namespace, step.sync, standing.died
    if not ctx.executor.knew(step) and (
        lease.holder(ctx.client, lease.sync_lease(name), namespace) == step.run
    ):
        return waiting(status, run)
    ctx.executor.stop(namespace, name)
    told = {"sync": name, "run": run.id, "attempt": run.attempt, "worker": who}
    log.warning("a worker is gone", why=standing.why, **told)
    if standing.final or run.attempt >= _ATTEMPTS:
        message = standing.why or f"{who} of run {run.id} died {run.attempt} times; see its log"
        failed = run.model_copy(
            update={"phase": Phase.FAILED, "reason": "WorkerDied", "message": message[:1024]}
        )
        return close(ctx, resolved, status, failed)
    lease.release(ctx.client, lease.sync_lease(name), namespace, step.run)
    again = run.model_copy(update={"attempt": run.attempt + 1})
    outcome = history.progressing(status, again)
    outcome.status = {
        "run": {
            "attempt": again.attempt,
            "phase": Phase.PENDING.value,
            "step": RunStep.SYNC.value,
            "activity": f"starting again: {who} died",
            "shards": dict.fromkeys(run.shards),
            "chunks": 0,
            "workers": 0,
            "calls": history.totals(run).calls.dump(),
        }
    }
    outcome.requeue_after = 0.0
    return outcome


def close(ctx: Context, resolved: ResolvedSync, status: SyncStatus, run: RunStatus) -> Outcome:
    """Ends a run: counts, history, the next one's time."""
    namespace, name = resolved.kube_namespace, resolved.name
    if run.phase is Phase.FAILED:
        # Workers of a run that succeeded have said so and are about to end by themselves.
        ctx.executor.stop(namespace, name)
    lease.release(ctx.client, lease.sync_lease(name), namespace, f"{run.id}.{run.attempt}")
    now = datetime.now(UTC)
    counts, counted = count(ctx, resolved)
    failed = run.phase is Phase.FAILED
    closed = run.model_copy(
        update={
            "phase": history.finished_phase(run, counts["failed"]),
            "finished_at": now,
            "activity": None,
        }
    )
    if not failed:
        closed.message = history.summary_message(resolved.sync, closed, counts)
    changes: dict[str, Any] = {
        "run": {
            "phase": closed.phase.value,
            "finishedAt": stamp(now),
            "activity": None,
            "reason": closed.reason,
            "message": closed.message,
            "calls": history.totals(run).calls.dump(),
        },
        "history": history.with_record(status.history, history.record(closed)),
        "plan": run.plan.dump() if run.plan else None,
        **counted,
        "drifted": run.plan.drifted if run.plan else None,
        "lastSyncTime": stamp(now),
        "syncedInputs": run.inputs,
        "consecutiveFailures": status.consecutive_failures + 1 if failed else 0,
    }
    features = {name: told for s in run.shards.values() for name, told in s.features.items()}
    if features:
        changes["features"] = {**dict.fromkeys(status.features), **features}
    if not failed:
        changes["lastSuccessTime"] = stamp(now)
    if run.requested_at is not None:
        changes["lastHandledReconcileAt"] = run.requested_at
    after = SyncStatus.model_validate(merge(status.dump(), changes))
    outcome = history.resting(resolved.sync, after, None, now)
    outcome.status = changes
    outcome.requeue_after = 0.0
    ctx.calls.count(ctx.lookup("Sync", namespace, name), closed)
    ctx.run_closed(resolved, closed)
    return outcome


def count(ctx: Context, resolved: ResolvedSync) -> tuple[dict[str, int], dict[str, int]]:
    """The numbers of the ledger, and the fields of a Sync's status that show them."""
    with ctx.index(resolved.weaviate) as index:
        counts = index.ledger(resolved.tenant).counts(
            kube_namespace=resolved.kube_namespace,
            bucket=resolved.bucket_name,
            sync=resolved.name,
        )
    shown = {"objects": "objects", "indexed": "completed", "pending": "pending", "failed": "failed"}
    return counts, {field: counts[name] for field, name in shown.items()}


def merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """JSON merge patch (RFC 7386), as the API server will apply it."""
    merged = dict(base)
    for key, value in changes.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict):
            merged[key] = merge(merged.get(key) or {}, value)
        else:
            merged[key] = value
    return merged

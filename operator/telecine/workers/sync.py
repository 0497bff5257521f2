"""The sync step of a run: list, plan, and bring the ledger in line with the plan.

Each part can be repeated from its start: a worker killed anywhere leaves rows that the next
attempt's plan finds PENDING or unchanged, and does again or passes over.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any
from uuid import UUID

from telecine.api.sync import DriftPolicy, PlanSummary, RunStep
from telecine.index.cascade import unindex, unselect
from telecine.index.tombstones import Tombstones
from telecine.planning.filters import Rules
from telecine.planning.summary import fuse_trips
from telecine.planning.types import Action, Asset, Decision, ObjectRecord, ObjectState, Reason
from telecine.workers.planner import Plan, make_plan, rules_of, stream_listing
from telecine.workers.protocol import FuseTrippedError, Guard, Job, Reporter
from telecine.workers.spool import Spool

_CHUNK_MAX = 1000
Lock = Callable[[], AbstractContextManager[None]]


def run_sync(job: Job, guard: Guard, reporter: Reporter, lock: Lock) -> PlanSummary:
    """Lists, plans and applies; reports the chunks that are left to extract.

    `lock` keeps other Syncs of the Bucket out while this one compares and writes.

    Raises:
        ProviderError: the source failed; nothing was changed.
        FuseTrippedError: too much would be unindexed; nothing was changed.
        RunLostError: the run is another worker's now.
        IndexUnavailableError: the index failed; the next attempt goes on.
    """
    with Spool(job.limits.scratch) as spool:
        reporter.activity("listing")
        stream_listing(job, spool, lambda n: reporter.activity(f"listing: {n} assets"))
        guard.check()
        with lock():
            reporter.activity("planning")
            plan = make_plan(job, spool, progress=lambda n: _planning(n, guard, reporter))
            check_fuse(job, plan)
            if job.sync.drift_policy is DriftPolicy.WARN:
                reporter.planned(RunStep.FINISH, plan.summary, 0, 0)
                return plan.summary
            reporter.activity("applying", plan.summary)
            chunks, unindexed = _apply(job, spool, plan.summary, guard, reporter)
        reporter.planned(
            RunStep.EXTRACT if chunks else RunStep.FINISH, plan.summary, chunks, unindexed
        )
        return plan.summary


def _planning(count: int, guard: Guard, reporter: Reporter) -> None:
    guard.check()
    reporter.activity(f"planning: {count} assets")


def check_fuse(job: Job, plan: Plan) -> None:
    """Stops a run that would unindex more than the Sync's share of what is indexed."""
    summary, limit = plan.summary, job.sync.delete_limit_percent
    if not fuse_trips(summary, plan.linked, limit) or summary.digest == job.approved_digest:
        return
    share = 100 * summary.unindex / max(plan.linked, 1)
    raise FuseTrippedError(
        f"the run would unindex {summary.unindex} of {plan.linked} objects ({share:.0f} %, over "
        f"deleteLimitPercent {limit}); nothing was changed. If that is right, let it through with: "
        f"kubectl annotate --overwrite tsync {job.sync_name} -n {job.kube_namespace} "
        f"telecine.dev/approve-unindex={summary.digest}",
        summary,
    )


def _apply(
    job: Job, spool: Spool, summary: PlanSummary, guard: Guard, reporter: Reporter
) -> tuple[int, int]:
    """Brings the ledger in line; returns the number of chunks to extract and of objects gone."""
    rules = rules_of(job)
    ledger = job.index.ledger(job.tenant)
    unindexed = 0
    for batch in spool.decisions(Action.UNINDEX):
        guard.check()
        going = [d.record for d in batch if d.record is not None]
        unindexed += unselect(job.index, job.tenant, job.owner, job.sync_name, going)
        reporter.activity(f"unindexing: {unindexed}", summary, unindexed=unindexed)
    for batch in spool.decisions(Action.ADOPT):
        guard.check()
        ledger.patch({d.object_id: {"syncs": _with(job, d)} for d in batch})
    for batch in spool.decisions(Action.CHANGE):
        guard.check()
        _update_metadata(job, [d for d in batch if not d.extract], rules)
    total = summary.add + summary.change + summary.retry
    size = chunk_size(total, job.sync.parallelism, job.sync.batch_size)
    placed = 0
    for batch in spool.decisions(Action.ADD, Action.CHANGE, Action.RETRY):
        guard.check()
        rows = []
        for decision in batch:
            if decision.extract:
                rows.append(pending_record(job, decision, rules, placed // size))
                placed += 1
        ledger.insert(rows)
        # What its source said is gone since this run listed it does not come back. Asked after
        # the writing: whoever leaves a tombstone removes the row after that.
        gone = Tombstones(ledger).among([row.id for row in rows])
        unindex(job.index, job.tenant, job.owner, gone)
        reporter.activity(f"applying: {placed} of {total}", summary, unindexed=unindexed)
    return -(-placed // size), unindexed


def chunk_size(total: int, parallelism: int, batch_size: int) -> int:
    """Objects in a chunk: enough chunks for every worker, none smaller than a batch."""
    return min(_CHUNK_MAX, max(batch_size, -(-total // max(parallelism, 1)), 1))


def _with(job: Job, decision: Decision) -> list[str]:
    known = decision.record.syncs if decision.record else []
    return sorted({*known, job.sync_name})


def _asset(decision: Decision) -> Asset:
    if decision.asset is None:
        raise ValueError(f"{decision.action} without an asset")
    return decision.asset


def _update_metadata(job: Job, decisions: list[Decision], rules: Rules) -> None:
    """Metadata changed and content did not: rows and documents follow, nothing is extracted."""
    if not decisions:
        return
    ledger = job.index.ledger(job.tenant)
    stores = [job.index.documents(job.tenant, name) for name in job.index.document_collections()]

    def update(decision: Decision) -> tuple[UUID, dict[str, Any]]:
        asset = _asset(decision)
        mapped = rules.map(asset)
        metadata = dict(asset.metadata or {})
        for store in stores:
            store.update_metadata(decision.object_id, metadata, mapped.fields)
        return decision.object_id, {
            "source_metadata": metadata,
            "fields": mapped.fields,
            "mime_type": mapped.mime_type,
            "version": asset.version,
            "modified": asset.modified,
            "syncs": _with(job, decision),
        }

    # Rows last: a run that dies before them finds the old version and does it again.
    with ThreadPoolExecutor(8, "metadata") as pool:
        ledger.patch(dict(pool.map(update, decisions)))


def pending_record(job: Job, decision: Decision, rules: Rules, chunk: int) -> ObjectRecord:
    """The row that asks an extraction worker for an object."""
    asset, old = _asset(decision), decision.record
    mapped = rules.map(asset)
    changed = decision.reason == Reason.CONTENT_CHANGED
    return ObjectRecord(
        id=decision.object_id,
        kube_namespace=job.kube_namespace,
        bucket=job.bucket_name,
        connection=job.connection_name,
        asset_id=asset.id,
        path=asset.path,
        size=asset.size,
        modified=asset.modified,
        fingerprint=asset.fingerprint,
        version=asset.version,
        mime_type=mapped.mime_type,
        source_metadata=dict(asset.metadata or {}),
        fields=dict(mapped.fields),
        blob_property=mapped.blob_property,
        state=ObjectState.PENDING,
        recipes=list(old.recipes) if old else [],
        content_hash=old.content_hash if old else "",
        documents=old.documents if old else 0,
        attempts=old.attempts if old and not changed else 0,
        first_seen=old.first_seen if old else time.time(),
        failed_at=old.failed_at if old else 0.0,
        extracted_at=old.extracted_at if old else 0.0,
        syncs=_with(job, decision),
        run=job.run_key,
        chunk=chunk,
        replace=old is not None,
        owner=job.owner,
    )

"""The Sync controller: finds a run due, starts its workers, and closes it.

The run itself is in `status.run`, written first and started after, so that an operator that died
in between finds what it meant to do and goes on with it.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

import structlog
from telecine.api.base import APPROVE_UNINDEX, REQUESTED_AT, Phase
from telecine.api.namespace import DeletionPolicy
from telecine.api.sync import RunStatus, SyncSpec, SyncStatus
from telecine.execution.resolve import MissingReferenceError, ResolvedSync, resolve_from
from telecine.index.cascade import unindex_sync
from telecine.planning.identity import owner_id

from . import history
from .context import Context
from .dispatch import Controller
from .ready import require_ready
from .result import Outcome, WaitingError
from .runs import count, stop, supervise
from .schedule import due
from .status import stamp
from .store import Key

log = structlog.get_logger(__name__)

Body = dict[str, Any]


def reconcile(ctx: Context, body: Body) -> Outcome:
    """One look at a Sync: what it should be doing now, and the next step towards it."""
    key = key_of(body)
    status = SyncStatus.model_validate(body.get("status") or {})
    run = status.run if status.run and status.run.finished_at is None else None
    resolved = resolve(ctx, body)
    if resolved.sync.suspend:
        return suspended(ctx, key, run)
    going = leaving(ctx, resolved)
    if going is not None:
        return held_back(ctx, key, run, going)
    if run is not None:
        return supervise(ctx, resolved, status, run)
    require_usable(ctx, resolved)
    inputs = digest_of(ctx, resolved)
    annotations = resolved.annotations
    now = datetime.now(UTC)
    next_run = due(
        f"{key[0]}/{key[1]}",
        resolved.sync,
        status,
        inputs=inputs,
        requested_at=annotations.get(REQUESTED_AT),
        approved=annotations.get(APPROVE_UNINDEX),
        now=now,
        retry_base=ctx.settings.retry_base_seconds,
        retry_cap=ctx.settings.retry_cap_seconds,
    )
    if next_run.at is not None and next_run.at <= now:
        return begin(ctx, resolved, status, next_run.trigger, inputs)
    if not ctx.demands.take(Key("Sync", *key)):
        return history.resting(resolved.sync, status, next_run.at, now)
    _, counted = count(ctx, resolved)
    outcome = history.resting(resolved.sync, status.model_copy(update=counted), next_run.at, now)
    outcome.status = {**outcome.status, **counted}
    return outcome


def key_of(body: Body) -> tuple[str, str]:
    return body["metadata"]["namespace"], body["metadata"]["name"]


def resolve(ctx: Context, body: Body) -> ResolvedSync:
    """The Sync with all it refers to, from the informers' store; Secrets from the API server."""
    namespace, name = key_of(body)
    return resolve_from(ctx.lookup, namespace, name, ctx.settings)


def require_usable(ctx: Context, resolved: ResolvedSync) -> None:
    """A Sync runs only when what it refers to is ready and active; a change of theirs wakes it."""
    for kind, name in (
        ("Namespace", resolved.namespace_name),
        ("Bucket", resolved.bucket_name),
        ("Connection", resolved.connection_name),
    ):
        body = require_ready(ctx, kind, resolved.kube_namespace, name)
        phase = body["status"].get("phase")
        if phase != Phase.ACTIVE.value:
            raise WaitingError(f"{kind}NotActive", f"{kind} {name} is {phase}")


def digest_of(ctx: Context, resolved: ResolvedSync) -> str:
    """Digest of all that decides what a run does: a change of it makes a run due."""
    connection = ctx.lookup("Connection", resolved.kube_namespace, resolved.connection_name)
    parts = [
        resolved.sync.model_dump(mode="json", exclude={"suspend", "polling_interval_seconds"}),
        resolved.bucket.model_dump(mode="json", exclude={"description", "deletion_policy"}),
        [recipe.key for recipe in resolved.recipes],
        resolved.tenant,
        connection["metadata"].get("generation"),
        (connection.get("status") or {}).get("secretResourceVersion"),
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def suspended(ctx: Context, key: tuple[str, str], run: RunStatus | None) -> Outcome:
    """Stops what runs; objects that are pending stay so until the Sync goes on."""
    return Outcome(
        phase=Phase.SUSPENDED,
        ready=False,
        reason="Suspended",
        message="suspended by spec.suspend; what is indexed stays and can be searched",
        status=canceled(ctx, key, run, "suspended"),
    )


def leaving(ctx: Context, resolved: ResolvedSync) -> str | None:
    """What the Sync refers to and is being deleted: nothing is written into it any more."""
    for kind, name in (("Bucket", resolved.bucket_name), ("Namespace", resolved.namespace_name)):
        body = ctx.lookup(kind, resolved.kube_namespace, name)
        if body["metadata"].get("deletionTimestamp"):
            return f"{kind} {name}"
    return None


def held_back(ctx: Context, key: tuple[str, str], run: RunStatus | None, going: str) -> Outcome:
    return Outcome(
        phase=Phase.PENDING,
        ready=False,
        reason="ReferenceDeleting",
        message=f"{going} is being deleted",
        status=canceled(ctx, key, run, f"{going} is being deleted"),
    )


def canceled(ctx: Context, key: tuple[str, str], run: RunStatus | None, why: str) -> dict[str, Any]:
    """Ends the run in progress, if there is one; returns the fields of the status for it."""
    status: dict[str, Any] = {"nextSyncTime": None}
    if run is not None:
        stop(ctx, *key)
        ctx.calls.count(ctx.lookup("Sync", *key), run)
        status["run"] = {
            "phase": Phase.CANCELED.value,
            "finishedAt": stamp(datetime.now(UTC)),
            "activity": None,
            "message": why,
            "calls": history.totals(run).calls.dump(),
        }
    return status


def begin(
    ctx: Context, resolved: ResolvedSync, status: SyncStatus, trigger: str, inputs: str
) -> Outcome:
    """Writes the new run down; the next look starts its worker."""
    number = status.run_count + 1
    body = ctx.lookup("Sync", resolved.kube_namespace, resolved.name)
    run = RunStatus(
        id=str(number),
        trigger=trigger,
        generation=body["metadata"].get("generation"),
        requested_at=resolved.annotations.get(REQUESTED_AT),
        inputs=inputs,
        started_at=datetime.now(UTC),
        activity="starting",
    )
    fresh = dict.fromkeys(RunStatus.model_json_schema(by_alias=True)["properties"])
    log.info("a run begins", sync=resolved.name, run=run.id, trigger=trigger)
    outcome = history.progressing(status, run)
    # A merge patch keeps what it does not name: the last run's shards must go one by one.
    shards = dict.fromkeys(status.run.shards) if status.run else {}
    outcome.status = {"run": {**fresh, **run.dump(), "shards": shards}, "runCount": number}
    outcome.requeue_after = 0.0
    outcome.hold = resolved.sync.deletion_policy is DeletionPolicy.DELETE
    return outcome


def finalize(ctx: Context, body: Body) -> None:
    """Before a Sync goes: its workers stop, and what it brought in stays or goes.

    Raises:
        WaitingError: the index is out of reach; the framework gives up after a while.
    """
    namespace, name = key_of(body)
    stop(ctx, namespace, name)
    run = SyncStatus.model_validate(body.get("status") or {}).run
    if run is not None and run.finished_at is None:
        ctx.calls.count(body, run)
    spec = SyncSpec.model_validate(body["spec"])
    if spec.deletion_policy is not DeletionPolicy.DELETE:
        return
    bucket = spec.bucket_ref.name
    try:
        owner = ctx.lookup("Bucket", namespace, bucket)
        space = ctx.namespace_for_cleanup(namespace, owner["spec"]["namespaceRef"]["name"])
    except MissingReferenceError as error:
        if error.kind not in ("Bucket", "Namespace"):
            raise
        # What it brought in went with them, or was left behind with them on purpose.
        log.info("a Sync goes after what it refers to", sync=name, why=str(error))
        return
    ours = owner_id(ctx.settings.tenant_prefix, namespace, bucket)
    with ctx.index(space.weaviate) as index:
        gone = unindex_sync(index, space.tenant, ours, namespace, bucket, name)
    log.info("a Sync's objects were unindexed", sync=name, objects=gone)


def leftovers(ctx: Context, body: Body) -> str:
    """What stays when the index was out of reach for too long."""
    return (
        f"objects that only Sync {body['metadata']['name']} selected stay in its Bucket; "
        "`telecine audit --repair` removes what belongs to nothing"
    )


CONTROLLER = Controller("Sync", reconcile, finalize, leftovers, finalizer=True, acknowledges=False)

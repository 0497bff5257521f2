"""The Bucket controller: waits for its Namespace, counts, and unindexes when it goes."""

from __future__ import annotations

from typing import Any

import structlog
from telecine.api.base import REQUESTED_AT, Phase
from telecine.api.bucket import BucketSpec, BucketStatus
from telecine.api.namespace import DeletionPolicy, NamespaceState
from telecine.execution.resolve import MissingReferenceError
from telecine.index.cascade import unindex_bucket
from telecine.index.client import IndexAbsentError
from telecine.index.index import Index
from telecine.planning.identity import owner_id

from .context import Context
from .dispatch import Controller
from .result import Outcome, StalledError, WaitingError
from .store import Key, key_of, ready_condition

log = structlog.get_logger(__name__)

Body = dict[str, Any]


def reconcile(ctx: Context, body: Body) -> Outcome:
    """ACTIVE once its Namespace is ready; counts are read when it is time."""
    key = key_of(body, "Bucket")
    spec = BucketSpec.model_validate(body["spec"])
    if spec.storage is not None:
        raise StalledError(
            "NotImplemented",
            "spec.storage: this version of Telecine takes no direct uploads; remove the field",
        )
    phase = require_namespace(ctx, key.namespace, spec.namespace_ref.name)
    syncs = len(ctx.store.referrers(key, "Sync"))
    changes: dict[str, Any] = {"syncs": syncs}
    message = f"Namespace {spec.namespace_ref.name} is {phase}; fed by {syncs} Syncs"
    if phase != Phase.ACTIVE:
        return Outcome(Phase.ACTIVE, "Available", message, status=changes)
    known = BucketStatus.model_validate(body.get("status") or {})
    requested = (body["metadata"].get("annotations") or {}).get(REQUESTED_AT)
    asked = requested is not None and requested != known.last_handled_reconcile_at
    if asked:
        # Objects went without a run: what shows their number reads it anew.
        ctx.ask(Key("Namespace", key.namespace, spec.namespace_ref.name))
        for sync in ctx.store.referrers(key, "Sync"):
            ctx.ask(sync)
    if asked or ctx.demands.counts_due(key, known.objects is not None):
        resolved = ctx.namespace(key.namespace, spec.namespace_ref.name)
        with ctx.index(resolved.weaviate) as index:
            found = index.ledger(resolved.tenant).counts(
                kube_namespace=key.namespace, bucket=key.name
            )
        ctx.demands.counted(key)
        changes |= {name: found[name] for name in ("objects", "failed", "pending")}
    return Outcome(
        Phase.ACTIVE,
        "Available",
        message,
        status=changes,
        requeue_after=ctx.demands.counts_in(key),
    )


def require_namespace(ctx: Context, kube_namespace: str, name: str) -> str:
    """The phase of the Namespace, once it is ready.

    Raises:
        MissingReferenceError: it does not exist.
        WaitingError: it is not ready, or going; a change of it wakes the Bucket.
    """
    body = ctx.lookup("Namespace", kube_namespace, name)
    if body["metadata"].get("deletionTimestamp"):
        raise WaitingError("NamespaceDeleting", f"Namespace {name} is being deleted")
    ready = ready_condition(body)
    if ready is None or ready["status"] != "True":
        why = f": {ready['message']}" if ready and ready.get("message") else ""
        raise WaitingError("NamespaceNotReady", f"waits for Namespace {name}{why}")
    return str(body["status"]["phase"])


def finalize(ctx: Context, body: Body) -> None:
    """Unindexes the Bucket's objects, unless the policy is Orphan, once nothing writes any more.

    Raises:
        IndexUnavailableError: Weaviate is out of reach.
    """
    key = key_of(body, "Bucket")
    for sync in ctx.store.referrers(key, "Sync"):
        ctx.stop_runs(ctx, sync.namespace, sync.name)
    spec = BucketSpec.model_validate(body["spec"])
    if spec.deletion_policy is DeletionPolicy.ORPHAN:
        return
    try:
        resolved = ctx.namespace_for_cleanup(key.namespace, spec.namespace_ref.name)
    except MissingReferenceError as error:
        if error.kind != "Namespace":
            raise
        # Its tenant went with the Namespace, or was left behind with all that is in it.
        log.info("a Bucket goes after its Namespace", bucket=key.name, why=str(error))
        return
    with ctx.index(resolved.weaviate) as index:
        try:
            gone = unindex(ctx, index, key, resolved.tenant, resolved.spec.state)
        except IndexAbsentError:
            log.info("a Bucket's tenant is gone already", bucket=key.name)
            return
    log.info("a Bucket's objects were unindexed", bucket=key.name, objects=gone)
    if gone:
        said = f"{gone} objects were unindexed with Bucket {key.name}"
        ctx.writer.event("Bucket", body, "ObjectDeleted", said)


def unindex(ctx: Context, index: Index, key: Key, tenant: str, state: NamespaceState) -> int:
    """Removes the Bucket's objects; a tenant that is asleep is woken for as long as it takes."""
    if index.tenant_state(tenant) is None:
        return 0
    owner = owner_id(ctx.settings.tenant_prefix, key.namespace, key.name)
    asleep = state is not NamespaceState.ACTIVE
    if asleep:
        index.set_tenant(tenant, NamespaceState.ACTIVE)
    try:
        return unindex_bucket(index, tenant, owner, key.namespace, key.name)
    finally:
        if asleep:
            index.set_tenant(tenant, state)


def leftovers(ctx: Context, body: Body) -> str:
    """The objects, and how to be rid of them."""
    name = body["metadata"]["name"]
    return (
        f"the objects of Bucket {name} stay in its Namespace's tenant; to remove them, create the "
        "Bucket anew and delete it while Weaviate is in reach"
    )


CONTROLLER = Controller("Bucket", reconcile, finalize, leftovers, finalizer=True)

"""The Namespace controller: schema, tenant, its state, and which collections answer searches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog
from telecine.api.base import Phase
from telecine.api.namespace import (
    DeletionPolicy,
    NamespaceSpec,
    NamespaceState,
    NamespaceStatus,
    ServingExtractor,
)
from telecine.execution.resolve import ResolvedNamespace, collection_of
from telecine.extractors.registry import UnknownExtractorError, extractor_class
from telecine.index.client import IndexAbsentError
from telecine.index.index import Index
from telecine.index.schema import DocumentCollection
from telecine.planning.identity import recipe
from telecine.planning.types import ObjectState, Recipe

from .context import Context
from .dispatch import Controller
from .result import Outcome, StalledError, WaitingError
from .store import Key, key_of

log = structlog.get_logger(__name__)

Body = dict[str, Any]
_MOVING_SECONDS = 5.0
"""How soon a tenant on its way between states is looked at again."""
_FILLING_SECONDS = 30.0
"""How soon it is looked whether a new collection is filled; the end of a run asks as well."""
_PHASES = {
    NamespaceState.ACTIVE: Phase.ACTIVE,
    NamespaceState.SUSPENDED: Phase.SUSPENDED,
    NamespaceState.ARCHIVED: Phase.ARCHIVED,
}
_REACHED = {
    NamespaceState.ACTIVE: ("ACTIVE",),
    NamespaceState.SUSPENDED: ("INACTIVE",),
    NamespaceState.ARCHIVED: ("OFFLOADED", "INACTIVE"),
}


def reconcile(ctx: Context, body: Body) -> Outcome:
    """Brings the tenant into its state, and says which collections answer."""
    key = key_of(body, "Namespace")
    spec = NamespaceSpec.model_validate(body["spec"])
    collections = {
        wanted.key: collection_for(wanted) for wanted in map(recipe, spec.feature_extractors)
    }
    resolved = ctx.namespace(key.namespace, key.name)
    if not ctx.claims.claim(resolved.tenant, key, body):
        raise StalledError(
            "TenantInUse",
            f"tenant {resolved.tenant} belongs to another Namespace; delete this one and create "
            "it with another spec.tenant",
        )
    serving = resolved.status.serving
    with ctx.index(resolved.weaviate) as index:
        index.ensure_schema(list(collections.values()))
        names = [c.name for c in collections.values()] + [s.collection for s in serving]
        reached = index.set_tenant(resolved.tenant, spec.state, list(dict.fromkeys(names)))
        changes: dict[str, Any] = {
            "tenant": resolved.tenant,
            "tenantState": reached,
            "buckets": len(ctx.store.referrers(key, "Bucket")),
            "features": {**dict.fromkeys(resolved.status.features), **features(ctx, key)},
        }
        if reached not in _REACHED[spec.state]:
            return moving(resolved, reached, changes)
        filling: list[str] = []
        if spec.state is NamespaceState.ACTIVE:
            serving, filling = switch(index, resolved, collections)
            changes["serving"] = [entry.dump() for entry in serving]
            changes |= counts(ctx, key, index, resolved)
    wait = _FILLING_SECONDS if filling else ctx.demands.counts_in(key)
    return Outcome(
        phase=_PHASES[spec.state],
        reason="Available" if spec.state is NamespaceState.ACTIVE else "Inactive",
        message=describe(resolved, reached, filling),
        status=changes,
        requeue_after=wait if spec.state is NamespaceState.ACTIVE else None,
    )


def collection_for(wanted: Recipe) -> DocumentCollection:
    """The collection of a recipe whose extractor exists and takes its parameters.

    Raises:
        StalledError: with the reason for which it cannot.
    """
    try:
        extractor_class(wanted.name, wanted.version).validate(wanted.parameters)
        return collection_of(wanted)
    except UnknownExtractorError as error:
        raise StalledError("UnknownExtractor", str(error)) from error
    except ValueError as error:
        raise StalledError(
            "InvalidParameters", f"featureExtractors, {wanted.name} {wanted.version}: {error}"
        ) from error


def moving(resolved: ResolvedNamespace, reached: str, changes: dict[str, Any]) -> Outcome:
    """Weaviate takes its time to offload a tenant, or to bring it back."""
    return Outcome(
        reason="TenantMoving",
        message=f"tenant {resolved.tenant} is {reached} on its way to {resolved.spec.state}",
        ready=False,
        reconciling=True,
        status=changes,
        requeue_after=_MOVING_SECONDS,
    )


def switch(
    index: Index, resolved: ResolvedNamespace, collections: Mapping[str, DocumentCollection]
) -> tuple[list[ServingExtractor], list[str]]:
    """Which recipes answer searches: one of another collection only when that is filled.

    Returns the entries, and what is still on the way. What nobody needs any more is dropped.
    """
    ledger = index.ledger(resolved.tenant)
    before = {entry.name: entry for entry in resolved.status.serving}
    serving: list[ServingExtractor] = []
    filling: list[str] = []
    for wanted in resolved.recipes:
        collection, old = collections[wanted.key].name, before.get(wanted.name)
        if old is not None and old.collection != collection:
            left = ledger.lacking(wanted.key)
            if left:
                serving.append(old)
                filling.append(f"{wanted.name} {wanted.version}: {left} objects to go")
                continue
            log.info("searches switch", extractor=wanted.name, collection=collection)
        serving.append(
            ServingExtractor(
                name=wanted.name,
                version=wanted.version,
                recipe=wanted.digest,
                collection=collection,
                parameters=dict(wanted.parameters),
            )
        )
    needed = {entry.collection for entry in serving} | {c.name for c in collections.values()}
    unused = [
        entry.collection
        for entry in before.values()
        if entry.collection not in needed and not relied_upon(index, resolved, entry)
    ]
    if unused:
        index.drop_tenant(resolved.tenant, unused)
        log.info("old documents were dropped", tenant=resolved.tenant, collections=unused)
    return serving, filling


def relied_upon(index: Index, resolved: ResolvedNamespace, entry: ServingExtractor) -> bool:
    """Whether the ledger says of any object that it has documents of this recipe.

    Then they stay: an extractor that comes back must find what the ledger promises.
    """
    key = Recipe(entry.name, entry.version, entry.parameters, entry.recipe).key
    ledger = index.ledger(resolved.tenant)
    found = ledger.counts(kube_namespace=resolved.kube_namespace)
    if found["completed"] + found["pending"] > ledger.lacking(key):
        return True
    failed = ledger.find(kube_namespace=resolved.kube_namespace, state=ObjectState.FAILED)
    return any(key in record.recipes for record in failed)


def counts(ctx: Context, key: Key, index: Index, resolved: ResolvedNamespace) -> dict[str, Any]:
    """Objects and documents of the tenant, when it is time to count them."""
    if not ctx.demands.counts_due(key, resolved.status.objects is not None):
        return {}
    found = index.ledger(resolved.tenant).counts(kube_namespace=key.namespace)
    ctx.demands.counted(key)
    return {"objects": found["objects"], "documents": found["documents"]}


def features(ctx: Context, key: Key) -> dict[str, str]:
    """What the last runs said of the extractors' features; what is off anywhere is told."""
    told: dict[str, str] = {}
    for bucket in ctx.store.referrers(key, "Bucket"):
        for sync in ctx.store.bodies(ctx.store.referrers(bucket, "Sync")):
            for name, state in ((sync.get("status") or {}).get("features") or {}).items():
                if not told.get(name, "").startswith("off"):
                    told[name] = state
    return told


def describe(resolved: ResolvedNamespace, reached: str, filling: list[str]) -> str:
    text = f"tenant {resolved.tenant} is {reached}"
    if resolved.spec.state is NamespaceState.ARCHIVED and reached != "OFFLOADED":
        text += "; this Weaviate has no offload module, so that is as far as ARCHIVED goes"
    if resolved.spec.state is not NamespaceState.ACTIVE:
        text += "; its Syncs wait, and searches find nothing until spec.state is ACTIVE"
    off = sorted(name for name, told in resolved.status.features.items() if told.startswith("off"))
    if off:
        text += f"; features that are off, see status.features: {', '.join(off)}"
    if filling:
        text += f"; the old documents answer until the new are there ({'; '.join(filling)})"
    return text


def finalize(ctx: Context, body: Body) -> None:
    """Drops the tenant, unless the policy is Orphan.

    Raises:
        WaitingError: a Bucket that is being deleted still needs the tenant.
        IndexUnavailableError: Weaviate is out of reach.
        MissingReferenceError: the Connection to it, or its Secret, is gone.
    """
    key = key_of(body, "Namespace")
    buckets = ctx.store.referrers(key, "Bucket")
    for bucket in buckets:
        for sync in ctx.store.referrers(bucket, "Sync"):
            ctx.stop_runs(ctx, sync.namespace, sync.name)
    spec = NamespaceSpec.model_validate(body["spec"])
    if spec.deletion_policy is DeletionPolicy.ORPHAN:
        for other in ctx.store.bodies(buckets):
            metadata = other["metadata"]
            if metadata.get("deletionTimestamp") and metadata.get("finalizers"):
                raise WaitingError(
                    "BucketDeleting", f"Bucket {metadata['name']} is being unindexed", after=1.0
                )
        return
    resolved = ctx.namespace_for_cleanup(key.namespace, key.name)
    if not ctx.claims.claim(resolved.tenant, key, body):
        log.warning("a tenant is another Namespace's and stays", tenant=resolved.tenant)
        return
    with ctx.index(resolved.weaviate) as index:
        try:
            index.drop_tenant(resolved.tenant)
        except IndexAbsentError:
            log.info("a tenant is gone already", tenant=resolved.tenant)
    log.info("a tenant was dropped", namespace=key.name, tenant=resolved.tenant)


def leftovers(ctx: Context, body: Body) -> str:
    """The tenant, and how to be rid of it."""
    tenant = NamespaceStatus.model_validate(body.get("status") or {}).tenant
    return (
        f"tenant {tenant} stays in Weaviate; to drop it, create the Namespace anew and delete it "
        "while Weaviate is in reach"
    )


CONTROLLER = Controller("Namespace", reconcile, finalize, leftovers, finalizer=True)

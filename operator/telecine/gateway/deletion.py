"""A source said that an asset is gone: its objects go, in every Bucket of its Connection.

First a tombstone for each place where an object is or may still be written, which is what a
webhook's answer waits for. Then the removal, which is repeated from the tombstones if it breaks.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import structlog
from lightkube import Client
from pydantic import ValidationError

from telecine.api.namespace import NamespaceState
from telecine.api.sync import DriftPolicy, SyncSpec
from telecine.execution.pool import IndexPool
from telecine.execution.resolve import (
    MissingReferenceError,
    cluster_lookup,
    list_all,
    namespace_from,
    operators_weaviate,
)
from telecine.gateway.directory import Known
from telecine.gateway.metrics import GatewayMetrics
from telecine.gateway.requests import Requests, Target
from telecine.index.cascade import bury
from telecine.index.client import IndexAbsentError, IndexUnavailableError, WeaviateSettings
from telecine.index.tombstones import Tombstone, Tombstones
from telecine.planning.identity import object_id, owner_id
from telecine.settings import Settings

log = structlog.get_logger(__name__)

REMEMBERED_SECONDS = 3 * 86_400.0
"""Longer than any run that may have listed the asset."""


@dataclass(frozen=True)
class Place:
    """A Bucket and where its objects are."""

    kube_namespace: str
    bucket: str
    tenant: str
    owner: str
    weaviate: WeaviateSettings = field(repr=False)


@dataclass(frozen=True)
class Deletion:
    """What is to be removed of one asset."""

    tombstones: list[tuple[Place, Tombstone]]
    objects: int
    """How many there were when it began."""
    failed: IndexUnavailableError | None = None
    """Why it could not begin everywhere."""


class _Feed(NamedTuple):
    """What a Sync means for a deletion."""

    name: str
    bucket: str | None
    connection: str | None
    keeps: bool


class Deletions:
    """Removes what is gone. Usable from several threads.

    Methods raise IndexUnavailableError, ApiError and httpx2.HTTPError; all can be repeated.
    """

    def __init__(
        self,
        client: Client,
        pool: IndexPool,
        settings: Settings,
        requests: Requests,
        metrics: GatewayMetrics,
    ) -> None:
        self._client, self._pool, self._settings = client, pool, settings
        self._requests, self._metrics = requests, metrics

    def warm(self) -> None:
        """Connects to the operator's Weaviate, so that the first webhook does not wait for that."""
        with self._pool.use(operators_weaviate(cluster_lookup(self._client), self._settings)):
            return

    def places(self, kube_namespace: str) -> Iterator[Place]:
        """The Buckets of a Kubernetes namespace whose index is there."""
        lookup = cluster_lookup(self._client)
        for body in list_all(self._client, "Bucket", kube_namespace):
            name, reference = body["metadata"]["name"], body["spec"]["namespaceRef"]["name"]
            try:
                found = namespace_from(lookup, kube_namespace, reference, self._settings)
            except (MissingReferenceError, ValidationError) as error:
                log.info("a Bucket has no index", bucket=name, why=str(error))
                continue
            if found.spec.state is not NamespaceState.ACTIVE:
                # Its tenant cannot be read now; the next run of its Syncs finds the asset gone.
                log.info("a Bucket's Namespace is not active", bucket=name, state=found.spec.state)
                continue
            owner = owner_id(self._settings.tenant_prefix, kube_namespace, name)
            yield Place(kube_namespace, name, found.tenant, owner, found.weaviate)

    def begin(self, known: Known, asset_id: str) -> Deletion:
        """Leaves tombstones; durable when it returns, but for what `failed` tells of."""
        feeds = [_feed(body) for body in list_all(self._client, "Sync", known.kube_namespace)]
        found: list[tuple[Place, Tombstone]] = []
        failed: IndexUnavailableError | None = None
        for place in self.places(known.kube_namespace):
            feeding = [f for f in feeds if (f.bucket, f.connection) == (place.bucket, known.name)]
            try:
                tombstone = self._mark(place, known, asset_id, feeding)
            except IndexUnavailableError as error:
                # One Weaviate out of reach is no reason to keep the object in the others.
                failed = error
                continue
            if tombstone is not None:
                found.append((place, tombstone))
        return Deletion(found, len(found), failed)

    def _mark(
        self, place: Place, known: Known, asset_id: str, feeding: list[_Feed]
    ) -> Tombstone | None:
        """Leaves a tombstone where one is due; gives it where there is an object to remove."""
        ident = object_id(known.kube_namespace, place.bucket, known.name, asset_id)
        with self._pool.use(place.weaviate) as index:
            ledger = index.ledger(place.tenant)
            try:
                record = ledger.get([ident]).get(ident)
                if record is None and not feeding:
                    return None
                keepers = [
                    f.name
                    for f in feeding
                    if f.keeps and (record is None or f.name in record.syncs)
                ]
                if keepers:
                    log.info("an object is kept", bucket=place.bucket, by=keepers)
                    return None
                tombstone = Tombstone(
                    ident, place.kube_namespace, place.bucket, known.name, asset_id, place.owner
                )
                Tombstones(ledger).write([replace(tombstone, finished=record is None)])
                if record is None:
                    # Whoever inserts from now on finds the tombstone; who was faster is here.
                    if not ledger.get([ident]):
                        return None
                    Tombstones(ledger).write([tombstone])
            except IndexAbsentError:
                return None  # nothing was ever written there
        return tombstone

    def finish(self, deletion: Deletion) -> None:
        """Removes objects and documents, and notes that it is done."""
        with self._metrics.cascade():
            for place, tombstone in deletion.tombstones:
                self._bury(place, [tombstone])

    def resume(self, known: Iterable[Known], older_than: float = 60.0) -> int:
        """Finishes what a gateway that ended had begun, and forgets what is long done.

        `older_than` seconds, so that nobody does at the same time what another is doing. Returns
        how many were finished.
        """
        count, before = 0, time.time() - older_than
        for kube_namespace in sorted({one.kube_namespace for one in known}):
            tenants: dict[tuple[WeaviateSettings, str], dict[str, Place]] = {}
            for place in self.places(kube_namespace):
                # By owner: others may share the tenant, and have Buckets of the same name.
                tenants.setdefault((place.weaviate, place.tenant), {})[place.owner] = place
            for places in tenants.values():
                try:
                    count += self._resume(places, before)
                except IndexAbsentError:
                    continue
                except IndexUnavailableError as error:
                    log.warning(
                        "removals cannot be finished now",
                        namespace=kube_namespace,
                        error=str(error),
                    )
        return count

    def _resume(self, places: Mapping[str, Place], before: float) -> int:
        """The part of `resume` in one tenant, for the Buckets of these owners."""
        one = next(iter(places.values()))
        with self._pool.use(one.weaviate) as index:
            tombstones = Tombstones(index.ledger(one.tenant))
            waiting = [t for t in tombstones.all() if not t.finished]
            tombstones.forget(time.time() - REMEMBERED_SECONDS)
        count = 0
        for tombstone in waiting:
            mine = places.get(tombstone.owner)
            if mine is not None and tombstone.at < before:
                with self._metrics.cascade():
                    self._bury(mine, [tombstone])
                count += 1
        return count

    def _bury(self, place: Place, tombstones: list[Tombstone]) -> None:
        ids = [tombstone.object_id for tombstone in tombstones]
        with self._pool.use(place.weaviate) as index:
            gone = bury(index, place.tenant, place.owner, ids)
            Tombstones(index.ledger(place.tenant)).finish(ids)
        if gone:
            self._requests.ask([Target(place.kube_namespace, place.bucket, "Bucket")])


def _feed(body: Mapping[str, Any]) -> _Feed:
    name, spec = body["metadata"]["name"], body["spec"]
    try:
        sync = SyncSpec.model_validate(spec)
    except ValidationError as error:
        # One that an older version took must not cost the others their webhooks. What it says of
        # pruning is not known: what it selects is left to its next run.
        log.warning("a Sync cannot be read", sync=name, error=str(error))
        bucket, connection = (
            reference.get("name") if isinstance(reference, Mapping) else None
            for reference in (spec.get("bucketRef"), spec.get("connectionRef"))
        )
        return _Feed(name, bucket, connection, keeps=True)
    return _Feed(name, sync.bucket_ref.name, sync.connection_ref.name, keeps(sync))


def keeps(sync: SyncSpec) -> bool:
    """Whether a Sync says that what it selects stays although its source has lost it."""
    return not sync.prune or sync.drift_policy is DriftPolicy.WARN

"""A source said that an asset is gone: its objects go, in every Bucket of its Connection.

First a tombstone for each place where an object is or may still be written, which is what a
webhook's answer waits for. Then the removal, which is repeated from the tombstones if it breaks.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

import structlog
from lightkube import Client

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
from telecine.index.client import IndexAbsentError, WeaviateSettings
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
            except MissingReferenceError as error:
                log.info("a Bucket has no index", bucket=name, why=str(error))
                continue
            if found.spec.state is not NamespaceState.ACTIVE:
                # Its tenant cannot be read now; the next run of its Syncs finds the asset gone.
                log.info("a Bucket's Namespace is not active", bucket=name, state=found.spec.state)
                continue
            owner = owner_id(self._settings.tenant_prefix, kube_namespace, name)
            yield Place(kube_namespace, name, found.tenant, owner, found.weaviate)

    def begin(self, known: Known, asset_id: str) -> Deletion:
        """Leaves tombstones; durable when it returns."""
        syncs = {
            body["metadata"]["name"]: SyncSpec.model_validate(body["spec"])
            for body in list_all(self._client, "Sync", known.kube_namespace)
        }
        found: list[tuple[Place, Tombstone]] = []
        objects = 0
        for place in self.places(known.kube_namespace):
            ident = object_id(known.kube_namespace, place.bucket, known.name, asset_id)
            feeding = {
                name
                for name, sync in syncs.items()
                if (sync.bucket_ref.name, sync.connection_ref.name) == (place.bucket, known.name)
            }
            with self._pool.use(place.weaviate) as index:
                ledger = index.ledger(place.tenant)
                try:
                    record = ledger.get([ident]).get(ident)
                    selecting = feeding if record is None else feeding & set(record.syncs)
                    if record is None and not feeding:
                        continue
                    if keepers := [name for name in selecting if keeps(syncs[name])]:
                        log.info("an object is kept", bucket=place.bucket, by=keepers)
                        continue
                    tombstone = Tombstone(
                        ident, place.kube_namespace, place.bucket, known.name, asset_id, place.owner
                    )
                    Tombstones(ledger).write([replace(tombstone, finished=record is None)])
                    if record is None:
                        # Whoever inserts from now on finds the tombstone; who was faster is here.
                        record = ledger.get([ident]).get(ident)
                        if record is None:
                            continue
                        Tombstones(ledger).write([tombstone])
                except IndexAbsentError:
                    continue  # nothing was ever written there
            objects += 1
            found.append((place, tombstone))
        return Deletion(found, objects)

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
        count, now = 0, time.time()
        for kube_namespace in sorted({one.kube_namespace for one in known}):
            places = {place.bucket: place for place in self.places(kube_namespace)}
            for place in {place.tenant: place for place in places.values()}.values():
                with self._pool.use(place.weaviate) as index:
                    tombstones = Tombstones(index.ledger(place.tenant))
                    try:
                        waiting = [t for t in tombstones.all() if not t.finished]
                        tombstones.forget(now - REMEMBERED_SECONDS)
                    except IndexAbsentError:
                        continue
                for tombstone in waiting:
                    mine = places.get(tombstone.bucket)
                    if mine is not None and tombstone.at < now - older_than:
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


def keeps(sync: SyncSpec) -> bool:
    """Whether a Sync says that what it selects stays although its source has lost it."""
    return not sync.prune or sync.drift_policy is DriftPolicy.WARN

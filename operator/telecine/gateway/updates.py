"""A source said that an asset changed: what every Sync of its Connection makes of it now."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import structlog
from lightkube import Client
from pydantic import ValidationError

from telecine.api.sync import DriftPolicy, SyncMode, SyncSpec
from telecine.execution.metrics import Source, SourceCounters
from telecine.execution.pool import IndexPool
from telecine.execution.resolve import (
    MissingReferenceError,
    ResolvedSync,
    cluster_lookup,
    list_all,
    resolve_from,
)
from telecine.gateway.directory import Known
from telecine.gateway.requests import Requests, Target
from telecine.index.cascade import unselect
from telecine.index.client import IndexAbsentError
from telecine.planning.diff import decide
from telecine.planning.filters import Rules
from telecine.planning.identity import object_id
from telecine.planning.types import Action, Asset
from telecine.providers.base import AssetChangedError
from telecine.providers.mux import MuxProvider, covers
from telecine.settings import Settings

log = structlog.get_logger(__name__)
_RUNS = frozenset({Action.ADD, Action.CHANGE, Action.RETRY, Action.ADOPT})


@dataclass(frozen=True)
class Update:
    """What came of it."""

    unindexed: int = 0
    requested: int = 0
    """Syncs that were asked to run."""


class Updates:
    """Usable from several threads.

    Methods raise ProviderError, IndexUnavailableError, ApiError and httpx2.HTTPError; all can be
    repeated.
    """

    def __init__(
        self,
        client: Client,
        pool: IndexPool,
        settings: Settings,
        requests: Requests,
        sources: SourceCounters,
    ) -> None:
        self._client, self._pool, self._settings = client, pool, settings
        self._requests, self._sources = requests, sources

    def request(self, known: Known, asset_id: str) -> int:
        """Asks for a run of every Sync that could take the asset; returns how many."""
        going = [
            Target(known.kube_namespace, name)
            for name, sync in self._syncs(known, asset_id)
            if sync.sync_mode is not SyncMode.INITIAL_ONLY
        ]
        self._requests.ask(going)
        return len(going)

    def apply(self, known: Known, secret: Mapping[str, str], asset_id: str) -> Update:
        """Judges the asset, as its source tells it now, by each Sync's filters.

        One that matches and is not indexed as it is now gets its run; one that matches no more is
        unindexed with reconcileOnSync, and stays without.
        """
        allow = self._settings.allow_private_endpoints
        provider = MuxProvider(known.spec.mux, secret, allow_private=allow, attempts=2)
        try:
            asset = provider.asset(asset_id)
        except AssetChangedError:
            # Deleted since. Its own event says so, or the next listing.
            return Update(requested=self.request(known, asset_id))
        finally:
            source = Source(known.spec.provider, known.kube_namespace, known.name)
            self._sources.add(source, provider.calls.told())
        unindexed = 0
        asked: list[Target] = []
        for name, _ in self._syncs(known, asset_id):
            try:
                resolved = resolve_from(
                    cluster_lookup(self._client), known.kube_namespace, name, self._settings
                )
            except (MissingReferenceError, ValidationError) as error:
                log.info("a Sync cannot be judged by", sync=name, why=str(error))
                continue
            action, gone = self._judge(resolved, asset)
            unindexed += gone
            if action in _RUNS:
                asked.append(Target(known.kube_namespace, name))
        self._requests.ask(asked)
        return Update(unindexed, len(asked))

    def _syncs(self, known: Known, asset_id: str) -> Iterator[tuple[str, SyncSpec]]:
        for body in list_all(self._client, "Sync", known.kube_namespace):
            try:
                sync = SyncSpec.model_validate(body["spec"])
            except ValidationError as error:
                log.warning(
                    "a Sync cannot be read", sync=body["metadata"]["name"], error=str(error)
                )
                continue
            if (
                sync.connection_ref.name == known.name
                and not sync.suspend
                and not body["metadata"].get("deletionTimestamp")
                and covers(sync.source_path, asset_id)
            ):
                yield body["metadata"]["name"], sync

    def _judge(self, resolved: ResolvedSync, asset: Asset) -> tuple[Action, int]:
        """What the next run would do, and how many objects were unindexed here and now."""
        ident = object_id(
            resolved.kube_namespace, resolved.bucket_name, resolved.connection_name, asset.id
        )
        rules = Rules.build(
            resolved.sync,
            resolved.name,
            resolved.bucket,
            connection=resolved.connection_name,
            recipes=resolved.recipes,
            unversioned=MuxProvider.unversioned,
            now=time.time(),
        )
        with self._pool.use(resolved.weaviate) as index:
            try:
                record = index.ledger(resolved.tenant).get([ident]).get(ident)
            except IndexAbsentError:
                record = None
            decision = decide(asset, record, ident, rules)
            if (
                decision.action is not Action.UNINDEX
                or record is None
                or resolved.sync.drift_policy is DriftPolicy.WARN
            ):
                return decision.action, 0
            tenant, owner = resolved.tenant, resolved.owner
            gone = unselect(index, tenant, owner, resolved.name, [record], busy=True)
        self._requests.ask([Target(resolved.kube_namespace, resolved.bucket_name, "Bucket")])
        return decision.action, gone

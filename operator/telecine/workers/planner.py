"""Makes the plan of a run: listing and ledger in, decisions in a spool out. Changes nothing."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from telecine.api.sync import PlanSummary
from telecine.planning.diff import decide, plan
from telecine.planning.filters import Rules
from telecine.planning.identity import bucket_range, ids_for
from telecine.planning.summary import Tally, limit
from telecine.planning.types import Action, Asset, Decision, ObjectRecord
from telecine.providers.base import Provider, ProviderError
from telecine.workers.protocol import Job
from telecine.workers.spool import Spool

#: Actions that a run acts on, or that `telecine plan` lists one by one.
NOTABLE = frozenset(Action) - {Action.KEEP, Action.DESCRIBE}
_DESCRIBED_AT_ONCE = 512


@dataclass(frozen=True)
class Plan:
    """What a run would do; the decisions themselves are in the spool."""

    summary: PlanSummary
    linked: int
    """Objects in the ledger that this Sync selected before: what the fuse measures against."""


def rules_of(job: Job, now: float | None = None) -> Rules:
    """The compiled rules by which a Sync's assets are judged."""
    return Rules.build(
        job.sync,
        job.sync_name,
        job.bucket,
        connection=job.connection_name,
        recipes=job.recipes,
        unversioned=job.provider.unversioned,
        now=time.time() if now is None else now,
    )


def stream_listing(job: Job, spool: Spool, progress: Callable[[int], None]) -> int:
    """Lists the source to its end into the spool; returns the number of assets.

    Raises:
        ProviderError: the listing did not come to its end, and nothing may be concluded.
    """
    identify = ids_for(job.kube_namespace, job.bucket_name, job.connection_name)
    seen = 0

    def pages() -> Iterator[list[Asset]]:
        nonlocal seen
        for page in job.provider.list(job.sync.source_path):
            seen += len(page)
            progress(seen)
            yield page

    return spool.add_listing(pages(), identify)


def make_plan(
    job: Job,
    spool: Spool,
    *,
    indexed: Iterable[ObjectRecord] | None = None,
    keep: frozenset[Action] = NOTABLE - {Action.SKIP},
    progress: Callable[[int], None] = lambda _: None,
    now: float | None = None,
) -> Plan:
    """Compares the listing in the spool with the ledger.

    `indexed` stands in for the ledger where there is none yet; `keep` tells which decisions go
    into the spool.
    """
    rules = rules_of(job, now)
    if indexed is None:
        low, high = bucket_range(job.kube_namespace, job.bucket_name)
        indexed = job.index.ledger(job.tenant).scan(low, high)
    linked = 0

    def counted(records: Iterable[ObjectRecord]) -> Iterator[ObjectRecord]:
        nonlocal linked
        for record in records:
            if job.sync_name in record.syncs and record.connection == job.connection_name:
                linked += 1
            yield record

    tally = Tally()
    batch: list[Decision] = []
    decided = resolved(plan(spool.listing(), counted(indexed), rules), rules, job)
    for count, decision in enumerate(limit(decided, job.sync.max_objects_per_run), 1):
        tally.add(decision)
        if decision.action in keep:
            batch.append(decision)
            if len(batch) >= 1000:
                spool.add_decisions(batch)
                batch.clear()
        if count % 5000 == 0:
            progress(count)
    spool.add_decisions(batch)
    return Plan(tally.summary(), linked)


def resolved(decisions: Iterable[Decision], rules: Rules, job: Job) -> Iterator[Decision]:
    """Asks the provider where the listing did not tell enough, many assets at a time."""
    stream = iter(decisions)
    pool: ThreadPoolExecutor | None = None
    try:
        while window := list(itertools.islice(stream, _DESCRIBED_AT_ONCE)):
            open_ones = [d for d in window if d.action is Action.DESCRIBE]
            yield from (d for d in window if d.action is not Action.DESCRIBE)
            if open_ones:
                pool = pool or ThreadPoolExecutor(job.limits.describes, "describe")
                yield from pool.map(lambda d: _describe(d, rules, job.provider), open_ones)
    finally:
        if pool is not None:
            pool.shutdown(wait=True, cancel_futures=True)


def _describe(decision: Decision, rules: Rules, provider: Provider) -> Decision:
    asset = decision.asset
    if asset is None:
        raise ValueError("a decision to describe needs an asset")
    try:
        described = provider.describe(asset, rules.described_fields)
    except ProviderError as error:
        if not error.asset_only:
            raise
        # Gone since it was listed, or closed to us alone: what is indexed stays until a listing
        # without it says otherwise.
        described = asset._replace(unavailable=_snake(error.reason), complete=True)
    return decide(described, decision.record, decision.object_id, rules)


def _snake(reason: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in reason).lstrip("_")

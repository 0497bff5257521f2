"""A run's calls to its source are counted when it ends, once."""

from __future__ import annotations

from typing import Any

import pytest
from telecine.api.base import Phase
from telecine.api.connection import Provider
from telecine.api.sync import PlanSummary, ProviderCalls, RunStatus, ShardProgress
from telecine.controllers import history
from telecine.controllers.calls import RunCalls
from telecine.controllers.store import Key, Store
from telecine.execution.metrics import Source, SourceCounters

MUX = Source(Provider.MUX, "media", "films")


def calls(total: int, errors: int = 0, throttled: int = 0) -> ProviderCalls:
    return ProviderCalls(total=total, errors=errors, throttled=throttled)


def sync(uid: str = "one") -> dict[str, Any]:
    metadata = {"name": "flagged", "namespace": "media", "uid": uid}
    return {"metadata": metadata, "spec": {"connectionRef": {"name": "films"}}}


def run(number: int = 1, total: int = 2) -> RunStatus:
    shards = {"0": ShardProgress(calls=calls(10, 2, 1)), "1": ShardProgress(calls=calls(20))}
    return RunStatus(id=str(number), calls=calls(total, 1), shards=shards)


@pytest.fixture
def counted() -> RunCalls:
    store = Store()
    metadata = {"name": "films", "namespace": "media", "uid": "c", "resourceVersion": "1"}
    store.put("Connection", {"metadata": metadata, "spec": {"provider": "mux"}})
    return RunCalls(store)


def told(counters: SourceCounters) -> dict[str, float]:
    return {s.name: s.value for family in counters.collect() for s in family.samples}


def expected(total: int, errors: int, throttled: int) -> dict[str, float]:
    return {
        "telecine_provider_calls_total": total,
        "telecine_provider_errors_total": errors,
        "telecine_provider_throttles_total": throttled,
    }


def test_the_sync_step_and_all_workers_are_summed() -> None:
    assert history.totals(run()).calls == calls(32, 3, 1)
    closed = run().model_copy(update={"phase": Phase.COMPLETED, "plan": PlanSummary(matched=4)})
    record = history.record(closed)
    assert (record.calls, record.matched) == (calls(32, 3, 1), 4)


def test_a_run_that_is_closed_twice_is_counted_once(counted: RunCalls) -> None:
    counted.count(sync(), run())
    counted.count(sync(), run(total=5))
    assert told(counted.counters) == expected(32, 3, 1)
    counted.count(sync(), run(2))
    assert told(counted.counters) == expected(64, 6, 2)


def test_a_sync_that_was_made_anew_is_another(counted: RunCalls) -> None:
    counted.count(sync(), run())
    counted.count(sync("two"), run())
    assert told(counted.counters)["telecine_provider_calls_total"] == 64


def test_counters_stay_when_the_sync_goes(counted: RunCalls) -> None:
    counted.count(sync(), run())
    counted.forget(Key("Sync", "media", "flagged"))
    assert told(counted.counters) == expected(32, 3, 1)


def test_a_run_whose_connection_is_gone_counts_nowhere(counted: RunCalls) -> None:
    body = sync()
    body["spec"]["connectionRef"]["name"] = "gone"
    counted.count(body, run())
    assert told(counted.counters) == {}


def test_every_counter_names_its_connection(counted: RunCalls) -> None:
    counted.counters.add(MUX, calls(1))
    (labels,) = [
        s.labels for f in counted.counters.collect() for s in f.samples if "calls" in s.name
    ]
    assert labels == {"provider": "mux", "namespace": "media", "connection": "films"}

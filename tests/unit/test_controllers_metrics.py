"""What Prometheus is told."""

from __future__ import annotations

from typing import Any
from urllib.request import urlopen

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from telecine.api.base import API_VERSION
from telecine.controllers.metrics import OperatorCollector
from telecine.controllers.queue import WorkQueue
from telecine.controllers.store import Key, Store
from telecine.dev.processes import free_ports
from telecine.execution.metrics import MetricsServer


def body(kind: str, name: str, status: dict[str, Any]) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "media", "resourceVersion": "1", "uid": name}
    spec = {"bucketRef": {"name": "b"}, "connectionRef": {"name": "c"}} if kind == "Sync" else {}
    if kind == "Connection":
        spec = {"provider": "local", "local": {"path": "/srv"}}  # type: ignore[dict-item]
    made = {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}
    return {**made, "status": status}


RAN = {
    "phase": "COMPLETED",
    "conditions": [{"type": "Ready", "status": "True"}],
    "objects": 7,
    "indexed": 5,
    "failed": 2,
    "runCount": 3,
    "lastSuccessTime": "2026-01-01T00:00:10Z",
    "run": {"id": "3", "finishedAt": "2026-01-01T00:00:10Z"},
    "history": [
        {
            "id": "3",
            "phase": "COMPLETED",
            "startedAt": "2026-01-01T00:00:00Z",
            "finishedAt": "2026-01-01T00:00:10Z",
            "listed": 9,
            "matched": 6,
            "extracted": 4,
        }
    ],
}


@pytest.fixture
def collector() -> OperatorCollector:
    store, queue = Store(), WorkQueue[Key]()
    store.put("Sync", body("Sync", "films", RAN))
    store.put("Sync", body("Sync", "new", {}))
    failed = [{"type": "Ready", "status": "False"}, {"type": "Stalled", "status": "True"}]
    store.put("Connection", body("Connection", "mux", {"phase": "SUSPENDED", "conditions": failed}))
    queue.add(Key("Sync", "media", "films"), 60.0)
    return OperatorCollector(store, queue)


def samples(text: str) -> dict[tuple[str, tuple[str, ...]], float]:
    """By name and the values of the labels, in the order of their names."""
    return {
        (s.name, tuple(value for _, value in sorted(s.labels.items()))): s.value
        for family in text_string_to_metric_families(text)
        for s in family.samples
    }


def test_conditions_counts_and_runs_are_told(collector: OperatorCollector) -> None:
    registry = CollectorRegistry()
    registry.register(collector)
    told = samples(generate_latest(registry).decode())
    assert told["telecine_sync_objects", ("films", "media", "indexed")] == 5
    assert told["telecine_sync_objects", ("films", "media", "failed")] == 2
    assert ("telecine_sync_objects", ("films", "media", "drifted")) not in told
    assert told["telecine_sync_last_run", ("films", "media", "listed")] == 9
    assert told["telecine_sync_last_run", ("films", "media", "matched")] == 6
    assert told["telecine_sync_last_run", ("films", "media", "unindexed")] == 0
    assert told["telecine_sync_last_run_duration_seconds", ("films", "media")] == 10
    assert told["telecine_sync_last_success_timestamp_seconds", ("films", "media")] == 1767225610
    assert told["telecine_sync_runs_total", ("films", "media")] == 3
    assert told["telecine_sync_runs_total", ("new", "media")] == 0
    assert told["telecine_sync_running", ("films", "media")] == 0
    condition = "telecine_resource_condition"
    assert told[condition, ("Sync", "films", "media", "True", "Ready")] == 1
    assert told[condition, ("Connection", "mux", "media", "False", "Ready")] == 1
    assert told[condition, ("Connection", "mux", "media", "True", "Ready")] == 0
    assert told[condition, ("Connection", "mux", "media", "True", "Stalled")] == 1
    assert told["telecine_resource_suspended", ("Connection", "mux", "media")] == 1
    assert told["telecine_queue_depth", ()] == 1


def test_they_are_served_and_the_port_is_free_afterwards(collector: OperatorCollector) -> None:
    port = free_ports(1)[0]
    for _ in range(2):
        with MetricsServer(port, collector), urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            assert b"telecine_sync_objects" in answer.read()


def test_port_0_serves_nothing(collector: OperatorCollector) -> None:
    with MetricsServer(0, collector) as server:
        assert server._stop is None

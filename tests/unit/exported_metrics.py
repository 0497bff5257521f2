"""Every metric that operator and gateway export when there is something to tell."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from prometheus_client.metrics_core import Metric
from telecine.api.base import API_VERSION
from telecine.api.connection import Provider
from telecine.api.sync import ProviderCalls
from telecine.controllers.metrics import OperatorCollector
from telecine.controllers.queue import WorkQueue
from telecine.controllers.store import Key, Store
from telecine.execution.metrics import Source
from telecine.gateway.metrics import GatewayMetrics
from telecine.gateway.mux import NAMED

READY = {"type": "Ready", "status": "True"}
SYNC = {
    "phase": "COMPLETED",
    "conditions": [READY],
    "objects": 7, "indexed": 5, "pending": 0, "failed": 2, "drifted": 0,
    "lastSuccessTime": "2026-01-01T00:00:10Z",
    "history": [
        {"id": "1", "startedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T00:00:10Z"}
    ],
}  # fmt: skip


class Family(NamedTuple):
    """A metric by the name that queries and tables use; a counter's ends in `_total`."""

    name: str
    type: str
    labels: frozenset[str]
    """Without a histogram's `le`."""
    values: dict[str, frozenset[str]]
    """Of each label, as they were in the samples."""


def operator() -> list[Metric]:
    store, queue = Store(), WorkQueue[Key]()
    metadata = {"name": "films", "namespace": "media", "uid": "1", "resourceVersion": "1"}
    spec = {"bucketRef": {"name": "b"}, "connectionRef": {"name": "c"}}
    body = {"apiVersion": API_VERSION, "kind": "Sync", "metadata": metadata, "spec": spec}
    store.put("Sync", {**body, "status": SYNC})
    return list(OperatorCollector(store, queue).collect())


def gateway() -> list[Metric]:
    metrics = GatewayMetrics(NAMED)
    metrics.answered("/v1/webhooks/mux/{connection_id}", 200, 0.1)
    metrics.event("video.asset.ready", handled=True)
    metrics.sources.add(Source(Provider.MUX, "media", "films"), ProviderCalls(total=1))
    return list(metrics.collect())


def exported() -> dict[str, Family]:
    """By name; the operator exports the calls to sources by the same class as the gateway."""
    return families([*operator(), *gateway()])


def families(metrics: Iterable[Metric]) -> dict[str, Family]:
    found: dict[str, Family] = {}
    for metric in metrics:
        name = f"{metric.name}_total" if metric.type == "counter" else metric.name
        labels = {label for sample in metric.samples for label in sample.labels} - {"le"}
        values = {
            label: frozenset(s.labels[label] for s in metric.samples if label in s.labels)
            for label in labels
        }
        assert metric.samples, f"nothing was told of {name}"
        assert name not in found
        found[name] = Family(name, metric.type, frozenset(labels), values)
    return found

"""Prometheus metrics of the operator, made from what it has in memory when they are asked for.

Names and labels follow Prometheus's naming page; conditions are shown as kube-state-metrics does,
so that alerts for other kinds are easily turned into alerts for these.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from telecine.api.base import Phase

from .queue import WorkQueue
from .store import Key, Store

_RESOURCE = ("kind", "namespace", "name")
_SYNC = ("namespace", "name")
_STATES = ("objects", "indexed", "pending", "failed", "drifted")
_OUTCOMES = (
    "listed", "matched", "added", "changed", "unindexed", "extracted", "failed", "documents",
    "downloads", "embeddings",
)  # fmt: skip


class OperatorCollector(Collector):
    """Reads the store; costs no call of the API server or Weaviate."""

    def __init__(self, store: Store, queue: WorkQueue[Key]) -> None:
        self._store, self._queue = store, queue

    def collect(self) -> Iterator[Metric]:
        keys = self._store.keys()
        bodies = [(key, body) for key in keys if (body := self._store.get(key)) is not None]
        yield from _conditions(bodies)
        yield from _syncs([(key, body) for key, body in bodies if key.kind == "Sync"])
        waiting = GaugeMetricFamily("telecine_queue_depth", "Resources waiting for a look.")
        waiting.add_metric([], len(self._queue))
        yield waiting


def _conditions(bodies: list[tuple[Key, dict[str, Any]]]) -> Iterator[Metric]:
    conditions = GaugeMetricFamily(
        "telecine_resource_condition",
        "1 for the present status of each condition, 0 for the others.",
        labels=[*_RESOURCE, "type", "status"],
    )
    suspended = GaugeMetricFamily(
        "telecine_resource_suspended", "1 where nothing is done.", labels=_RESOURCE
    )
    for key, body in bodies:
        status = body.get("status") or {}
        for condition in status.get("conditions") or []:
            for one in ("True", "False", "Unknown"):
                labels = [*_labels(key), condition["type"], one]
                conditions.add_metric(labels, float(condition["status"] == one))
        suspended.add_metric(_labels(key), float(status.get("phase") == Phase.SUSPENDED.value))
    yield conditions
    yield suspended


def _syncs(syncs: list[tuple[Key, dict[str, Any]]]) -> Iterator[Metric]:
    objects = GaugeMetricFamily(
        "telecine_sync_objects", "Objects that a Sync selects, by state.", labels=[*_SYNC, "state"]
    )
    last = GaugeMetricFamily(
        "telecine_sync_last_run", "What the last run did.", labels=[*_SYNC, "outcome"]
    )
    duration = GaugeMetricFamily(
        "telecine_sync_last_run_duration_seconds", "How long the last run took.", labels=_SYNC
    )
    success = GaugeMetricFamily(
        "telecine_sync_last_success_timestamp_seconds",
        "When a run last ended without a failure of its own.",
        labels=_SYNC,
    )
    running = GaugeMetricFamily(
        "telecine_sync_running", "1 while a run is in progress.", labels=_SYNC
    )
    runs = CounterMetricFamily("telecine_sync_runs", "Runs begun.", labels=_SYNC)
    for key, body in syncs:
        status, labels = body.get("status") or {}, [key.namespace, key.name]
        for state in _STATES:
            if status.get(state) is not None:
                objects.add_metric([*labels, state], status[state])
        run = status.get("run") or {}
        running.add_metric(labels, float(bool(run) and run.get("finishedAt") is None))
        runs.add_metric(labels, status.get("runCount") or 0)
        at = _seconds(status.get("lastSuccessTime"))
        if at is not None:
            success.add_metric(labels, at)
        for record in (status.get("history") or [])[:1]:
            for outcome in _OUTCOMES:
                last.add_metric([*labels, outcome], record.get(outcome) or 0)
            started, finished = (
                _seconds(record.get("startedAt")),
                _seconds(record.get("finishedAt")),
            )
            if started is not None and finished is not None:
                duration.add_metric(labels, finished - started)
    yield from (objects, last, duration, success, running, runs)


def _labels(key: Key) -> list[str]:
    return [key.kind, key.namespace, key.name]


def _seconds(time: str | None) -> float | None:
    return datetime.fromisoformat(time).timestamp() if time else None

"""What operator and gateway share of their Prometheus metrics: the server, and calls to sources."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import NamedTuple, Self

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.metrics_core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from telecine.api.connection import Provider
from telecine.api.sync import ProviderCalls

_SOURCE = ("provider", "namespace", "connection")


class Source(NamedTuple):
    """A Connection, as metrics name it."""

    provider: Provider
    namespace: str
    connection: str


class SourceCounters(Collector):
    """Calls to sources since the process began. Thread-safe.

    A Connection that was deleted keeps its counters: one of the same name goes on from them, and
    no counter ever falls.
    """

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._counts: dict[Source, ProviderCalls] = {}

    def add(self, source: Source, calls: ProviderCalls) -> None:
        with self._mutex:
            self._counts[source] = self._counts.get(source, ProviderCalls()) + calls

    def collect(self) -> Iterator[Metric]:
        total = CounterMetricFamily(
            "telecine_provider_calls", "Requests to a source, each attempt.", labels=_SOURCE
        )
        errors = CounterMetricFamily(
            "telecine_provider_errors", "Of these, refused or unanswered.", labels=_SOURCE
        )
        throttles = CounterMetricFamily(
            "telecine_provider_throttles",
            "Of the errors, those by which the source asked for fewer requests.",
            labels=_SOURCE,
        )
        with self._mutex:
            counts = list(self._counts.items())
        for source, calls in counts:
            labels = [source.provider.value, source.namespace, source.connection]
            total.add_metric(labels, calls.total)
            errors.add_metric(labels, calls.errors)
            throttles.add_metric(labels, calls.throttled)
        yield from (total, errors, throttles)


class MetricsServer:
    """`/metrics` on a port of its own, for a `with` block; port 0 means none."""

    def __init__(self, port: int, *collectors: Collector) -> None:
        self._port, self._collectors = port, collectors
        self._stop: Callable[[], None] | None = None

    def __enter__(self) -> Self:
        if self._port:
            registry = CollectorRegistry(auto_describe=False)
            for collector in self._collectors:
                registry.register(collector)
            server, thread = start_http_server(self._port, registry=registry)

            def stop() -> None:
                server.shutdown()
                server.server_close()
                thread.join()

            self._stop = stop
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._stop is not None:
            self._stop()

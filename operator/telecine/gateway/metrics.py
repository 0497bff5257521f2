"""Prometheus metrics of the gateway. Every label has few values, whoever calls."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from telecine.execution.metrics import SourceCounters
from telecine.gateway import signatures

OTHER = "other"
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class GatewayMetrics(Collector):
    """What the gateway counts; thread-safe."""

    def __init__(self, events: Collection[str] = ()) -> None:
        """`events` are the types that are told by their name; all others are one."""
        self._named = events
        self._registry = registry = CollectorRegistry(auto_describe=False)
        self._requests = Counter(
            "telecine_gateway_requests",
            "Requests that were answered.",
            ["route", "code"],
            registry=registry,
        )
        self._duration = Histogram(
            "telecine_gateway_request_duration_seconds",
            "Until the end of the answer.",
            ["route"],
            buckets=_BUCKETS,
            registry=registry,
        )
        self._refusals = Counter(
            "telecine_gateway_signature_refusals",
            "Webhooks that were refused for their signature.",
            ["reason"],
            registry=registry,
        )
        self._events = Counter(
            "telecine_gateway_events",
            "Genuine events, and whether anything was to be done about them.",
            ["type", "handled"],
            registry=registry,
        )
        self._cascades = Gauge(
            "telecine_gateway_cascades",
            "Removals of an asset's objects that have begun, by whether a thread is at it.",
            ["state"],
            registry=registry,
        )
        self._queue = Gauge(
            "telecine_gateway_queue_depth",
            "Pieces of work of webhooks that wait for a thread.",
            registry=registry,
        )
        for reason in signatures.REASONS:
            self._refusals.labels(reason)
        for state in ("queued", "running"):
            self._cascades.labels(state)
        self.sources = SourceCounters()

    def collect(self) -> Iterator[Metric]:
        for family in self._registry.collect():
            # When each counter was made is of no use, and would double their number.
            family.samples = [s for s in family.samples if not s.name.endswith("_created")]
            yield family
        yield from self.sources.collect()

    def refused(self, reason: str) -> None:
        """A signature did not hold."""
        self._refusals.labels(reason).inc()

    def event(self, event_type: str, *, handled: bool) -> None:
        """A genuine event was answered."""
        known = event_type if event_type in self._named else OTHER
        self._events.labels(known, str(handled).lower()).inc()

    def answered(self, route: str, code: int, seconds: float) -> None:
        self._requests.labels(route, str(code)).inc()
        self._duration.labels(route).observe(seconds)

    def queued(self, change: int) -> None:
        """So many more pieces of work wait for a thread."""
        self._queue.inc(change)

    def cascade_queued(self, change: int) -> None:
        """So many more removals wait for a thread."""
        self._cascades.labels("queued").inc(change)

    @contextmanager
    def cascade(self) -> Iterator[None]:
        """A removal is at work."""
        with self._cascades.labels("running").track_inprogress():
            yield


class _Measured:
    """ASGI middleware: counts and times each answer under its route, never under its path."""

    def __init__(
        self, app: ASGIApp, metrics: GatewayMetrics, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._app, self._metrics, self._clock = app, metrics, clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, code = self._clock(), 500

        async def told(message: Message) -> None:
            nonlocal code
            if message["type"] == "http.response.start":
                code = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, told)
        finally:
            self._metrics.answered(_route_of(scope), code, self._clock() - began)


def measured(metrics: GatewayMetrics) -> Middleware:
    return Middleware(_Measured, metrics=metrics)


def _route_of(scope: Scope) -> str:
    app: Starlette = scope["app"]
    for route in app.routes:
        if isinstance(route, Route) and route.matches(scope)[0] is not Match.NONE:
            return route.path
    return OTHER

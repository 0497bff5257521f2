"""What Prometheus is told of the gateway."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from telecine.gateway.metrics import GatewayMetrics, measured

Labels = dict[str, str]


def value(metrics: GatewayMetrics, name: str, **labels: str) -> float | None:
    return next(
        (
            s.value
            for f in metrics.collect()
            for s in f.samples
            if (s.name, s.labels) == (name, labels)
        ),
        None,
    )


def application(metrics: GatewayMetrics) -> Starlette:
    async def film(request: Request) -> Response:
        if request.path_params["ident"] == "broken":
            raise ZeroDivisionError
        return PlainTextResponse("a film", 202)

    return Starlette(
        routes=[Route("/films/{ident}", film, methods=["GET"])], middleware=[measured(metrics)]
    )


def ask(app: Starlette, path: str, method: str = "GET") -> int:
    """The status of one answer."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": method, "path": path, "raw_path": path.encode(),
        "root_path": "", "headers": [], "query_string": b"", "http_version": "1.1",
    }  # fmt: skip
    asyncio.run(app(scope, receive, send))
    status: int = sent[0]["status"]
    return status


def test_requests_are_told_by_route_and_never_by_path() -> None:
    metrics = GatewayMetrics()
    app = application(metrics)
    for ident in ("a", "b", "c"):
        assert ask(app, f"/films/{ident}") == 202
    assert ask(app, "/films/a", "POST") == 405
    assert ask(app, "/.env") == 404
    with pytest.raises(ZeroDivisionError):
        ask(app, "/films/broken")
    requests = "telecine_gateway_requests_total"
    assert value(metrics, requests, route="/films/{ident}", code="202") == 3
    assert value(metrics, requests, route="/films/{ident}", code="405") == 1
    assert value(metrics, requests, route="/films/{ident}", code="500") == 1
    assert value(metrics, requests, route="other", code="404") == 1
    seconds = "telecine_gateway_request_duration_seconds"
    assert value(metrics, f"{seconds}_count", route="/films/{ident}") == 5
    assert value(metrics, f"{seconds}_bucket", route="other", le="+Inf") == 1


def test_any_number_of_event_types_is_few_labels() -> None:
    metrics = GatewayMetrics({"video.asset.ready"})
    for number in range(50):
        metrics.event(f"x{number}", handled=False)
    metrics.event("video.asset.ready", handled=True)
    told = [
        s for f in metrics.collect() for s in f.samples if s.name == "telecine_gateway_events_total"
    ]
    assert {s.labels["type"]: s.value for s in told} == {"other": 50, "video.asset.ready": 1}


def test_refusals_are_there_before_the_first() -> None:
    metrics = GatewayMetrics()
    refusals = "telecine_gateway_signature_refusals_total"
    assert value(metrics, refusals, reason="wrong") == 0
    metrics.refused("wrong")
    assert value(metrics, refusals, reason="wrong") == 1


def test_removals_are_counted_while_they_wait_and_while_they_are_at_work() -> None:
    metrics = GatewayMetrics()
    cascades = "telecine_gateway_cascades"
    metrics.cascade_queued(2)
    metrics.cascade_queued(-1)
    with metrics.cascade():
        assert value(metrics, cascades, state="queued") == 1
        assert value(metrics, cascades, state="running") == 1
    assert value(metrics, cascades, state="running") == 0


def test_times_of_creation_are_not_told() -> None:
    metrics = GatewayMetrics()
    metrics.answered("/", 200, 0.1)
    names = {s.name for f in metrics.collect() for s in f.samples}
    assert not {name for name in names if name.endswith("_created")}


def test_durations_are_those_of_the_whole_answer() -> None:
    metrics = GatewayMetrics()
    app = application(metrics)
    ticks = itertools.count(0.0, 3.0)
    app.user_middleware[0].kwargs["clock"] = lambda: next(ticks)
    ask(app, "/films/a")
    seconds = "telecine_gateway_request_duration_seconds"
    assert value(metrics, f"{seconds}_sum", route="/films/{ident}") == 3

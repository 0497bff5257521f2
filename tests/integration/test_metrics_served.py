"""Calls to sources on their way from a worker to `/metrics`; and the gateway's own metrics."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest
from lightkube import ApiError, Client
from lightkube.types import PatchType
from prometheus_client.parser import text_string_to_metric_families
from telecine.api.base import Phase
from telecine.api.sync import ProviderCalls, RunStatus, RunStep, ShardProgress, SyncStatus
from telecine.controllers.runs import restart
from telecine.dev.mux import MuxLibrary, MuxServer, event, signature
from telecine.dev.processes import free_ports
from telecine.dev.s3 import ACCESS_KEY, REGION, SECRET_KEY, S3Server
from telecine.execution.executor import Standing, Step
from telecine.execution.kube import RESOURCES, Sync
from telecine.execution.report import StatusReporter
from telecine.planning.identity import connection_id
from telecine.providers.calls import Calls

from tests.integration.conftest import Cluster
from tests.integration.harness import PRIDE, WHALE, Free
from tests.integration.operator_process import Resources, eventually, gateway, operator

Labels = dict[str, str]
WEBHOOK_SECRET = "your-32-char-random-string-0000"
CALLS, ERRORS, THROTTLES = (
    f"telecine_provider_{what}_total" for what in ("calls", "errors", "throttles")
)


def scrape(port: int) -> list[tuple[str, Labels, float]]:
    text = httpx2.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text
    return [
        (s.name, dict(s.labels), s.value)
        for family in text_string_to_metric_families(text)
        for s in family.samples
    ]


def value(port: int, name: str, /, **labels: str) -> float:
    """The sum of the series with these labels."""
    return sum(
        v for found, told, v in scrape(port) if found == name and labels.items() <= told.items()
    )


@pytest.fixture
def client(cluster: Cluster) -> Iterator[Client]:
    with cluster.client() as made:
        yield made


@pytest.fixture
def resources(client: Client, kube_namespace: str) -> Iterator[Resources]:
    made = Resources(client, kube_namespace)
    yield made
    made.delete_all()


def calls_of(record: dict[str, Any]) -> ProviderCalls:
    return ProviderCalls.model_validate(record["calls"])


def test_the_calls_of_runs_are_in_status_and_counters(
    resources: Resources,
    operator_env: dict[str, str],
    s3_server: S3Server,
    s3_bucket: str,
    tmp_path: Path,
) -> None:
    for name, text in (("whale.txt", WHALE), ("pride.txt", PRIDE)):
        s3_server.client().put_object(Bucket=s3_bucket, Key=name, Body=text.encode())
    resources.secret("keys", access_key_id=ACCESS_KEY, secret_access_key=SECRET_KEY)
    resources.create("Namespace", "library", {"featureExtractors": [{"name": "text_extractor"}]})
    resources.create("Bucket", "books", {"namespaceRef": {"name": "library"}, "blobType": "text"})
    s3 = {"bucket": s3_bucket, "endpoint": s3_server.endpoint, "region": REGION}
    shelf = {"provider": "s3", "s3": s3, "secretRef": {"name": "keys"}}
    resources.create("Connection", "shelf", shelf)
    references = {"bucketRef": {"name": "books"}, "connectionRef": {"name": "shelf"}}
    resources.create("Sync", "books", references)
    port = free_ports(1)[0]
    with operator(
        operator_env,
        tmp_path / "operator.log",
        kube_namespace=resources.namespace,
        state_dir=tmp_path / "state",
        metrics_port=port,
    ):
        told = resources.wait("Sync", "books", phase="COMPLETED", indexed=2, seconds=180)
        (first,) = told["history"]
        shards = sum(shard["calls"]["total"] for shard in told["run"]["shards"].values())
        # One listing, and a look at and a download of each object.
        assert calls_of(first).total >= 5
        assert 2 <= shards < calls_of(first).total
        assert (calls_of(first).errors, first["matched"]) == (0, 2)
        assert told["run"]["calls"] == first["calls"]
        where = {"provider": "s3", "namespace": resources.namespace, "connection": "shelf"}
        # The operator's check of the Connection is one.
        checks = 1
        eventually(lambda: value(port, CALLS, **where) == calls_of(first).total + checks)
        assert value(port, "telecine_sync_last_run", name="books", outcome="matched") == 2

        resources.request("Sync", "books", "again")
        told = resources.wait("Sync", "books", lastHandledReconcileAt="again", seconds=60)
        second = told["history"][0]
        # Nothing is extracted again.
        assert 1 <= calls_of(second).total < calls_of(first).total
        both = calls_of(first).total + calls_of(second).total
        eventually(lambda: value(port, CALLS, **where) == both + checks)

        # A source that refuses: the run fails, and its calls count as errors.
        s3_server.client().delete_object(Bucket=s3_bucket, Key="whale.txt")
        s3_server.client().delete_object(Bucket=s3_bucket, Key="pride.txt")
        s3_server.client().delete_bucket(Bucket=s3_bucket)
        resources.request("Sync", "books", "refused")
        # What its Ready condition says next is that the Connection was looked at and refused, too.
        told = resources.wait("Sync", "books", lastHandledReconcileAt="refused", seconds=60)
        assert told["run"]["reason"] == "BucketNotFound"
        assert calls_of(told["history"][0]).errors >= 1
        eventually(lambda: value(port, ERRORS, **where) >= calls_of(told["history"][0]).errors)
        assert value(port, THROTTLES, **where) == 0


def test_a_source_that_throttles_is_seen(
    resources: Resources, operator_env: dict[str, str], tmp_path: Path
) -> None:
    port = free_ports(1)[0]
    with (
        MuxServer(MuxLibrary()) as server,
        operator(
            operator_env,
            tmp_path / "operator.log",
            kube_namespace=resources.namespace,
            state_dir=tmp_path / "state",
            metrics_port=port,
        ),
    ):
        credentials = {"access_token_id": server.token_id}
        resources.secret("mux", access_token_secret=server.token_secret, **credentials)
        text = {"featureExtractors": [{"name": "text_extractor"}]}
        resources.create("Namespace", "library", text)
        to_library = {"namespaceRef": {"name": "library"}, "blobType": "text"}
        resources.create("Bucket", "films", to_library)
        spec = {"provider": "mux", "mux": {"endpoint": server.url}, "secretRef": {"name": "mux"}}
        resources.create("Connection", "mux", spec)
        resources.wait("Connection", "mux", phase="ACTIVE")
        server.fail_next(2, 429, retry_after=0.05)
        references = {"bucketRef": {"name": "films"}, "connectionRef": {"name": "mux"}}
        resources.create("Sync", "films", references)
        told = resources.wait("Sync", "films", phase="COMPLETED", seconds=60)
        assert told["history"][0]["calls"] == {"total": 3, "errors": 2, "throttled": 2}
        eventually(lambda: value(port, THROTTLES, provider="mux", connection="mux") == 2)


# Reports of workers that fail or die.


def given(client: Client, resources: Resources, run: RunStatus) -> str:
    """A Sync in the midst of a run, with nobody at work; returns its name."""
    name = f"s-{uuid.uuid4().hex[:8]}"
    references = {"bucketRef": {"name": "b"}, "connectionRef": {"name": "c"}}
    resources.create("Sync", name, references)
    patch = {"status": {"run": run.dump()}}
    client.patch(
        Sync.Status, name, patch, namespace=resources.namespace, patch_type=PatchType.MERGE
    )
    return name


def told(resources: Resources, name: str) -> RunStatus:
    run = SyncStatus.model_validate(resources.status("Sync", name)).run
    assert run is not None
    return run


def reporter(client: Client, resources: Resources, name: str, part: int | None) -> StatusReporter:
    return StatusReporter(client, resources.namespace, name, "1.1", Free(), part)


BEFORE = ProviderCalls(total=5, errors=2, throttled=1)


def test_a_worker_that_fails_before_its_first_object_tells_its_calls(
    client: Client, resources: Resources
) -> None:
    shards = {"0": ShardProgress(extracted=3, calls=BEFORE), "1": ShardProgress(calls=BEFORE)}
    name = given(client, resources, RunStatus(id="1", started_at=datetime.now(UTC), shards=shards))
    calls = Calls()
    made = reporter(client, resources, name, 1)
    made.count(calls, told(resources, name).shards["1"])
    calls.began()
    calls.failed()
    made.failed("Unauthorized", "no", permanent=True)
    run = told(resources, name)
    assert run.phase is Phase.FAILED
    assert run.shards["1"].calls == ProviderCalls(total=6, errors=3, throttled=1)
    assert run.shards["0"] == ShardProgress(extracted=3, calls=BEFORE)


def test_a_sync_step_goes_on_from_the_calls_of_the_one_that_died(
    client: Client, resources: Resources
) -> None:
    run = RunStatus(id="1", started_at=datetime.now(UTC), calls=BEFORE)
    name = given(client, resources, run)
    calls = Calls()
    made = reporter(client, resources, name, None)
    made.count(calls, ShardProgress(calls=BEFORE))
    calls.began()
    made.failed("Unreachable", "no", permanent=False)
    assert told(resources, name).calls == ProviderCalls(total=6, errors=2, throttled=1)


def test_a_run_that_begins_again_keeps_its_calls(client: Client, resources: Resources) -> None:
    run = RunStatus(
        id="1",
        step=RunStep.EXTRACT,
        started_at=datetime.now(UTC),
        calls=BEFORE,
        shards={"0": ShardProgress(calls=BEFORE), "1": ShardProgress()},
    )
    name = given(client, resources, run)
    resolved: Any = SimpleNamespace(kube_namespace=resources.namespace, name=name)
    executor = SimpleNamespace(knew=lambda step: True, stop=lambda namespace, sync: True)
    ctx: Any = SimpleNamespace(client=client, executor=executor)
    step = Step(resolved, "uid", "1.1", RunStep.EXTRACT)
    outcome = restart(ctx, resolved, SyncStatus(), run, step, Standing(died="the worker"))
    patch = {"status": outcome.status}
    client.patch(
        Sync.Status, name, patch, namespace=resources.namespace, patch_type=PatchType.MERGE
    )
    again = told(resources, name)
    assert (again.attempt, again.shards) == (2, {})
    assert again.calls == BEFORE + BEFORE


# The gateway.


def listed(client: Client, namespace: str) -> bool:
    """Whether the API server, which may have begun just now, lists every kind already."""
    try:
        for kind in RESOURCES.values():
            list(client.list(kind, namespace=namespace))
    except ApiError:
        return False
    return True


def test_the_gateway_serves_its_own(
    client: Client,
    resources: Resources,
    operator_env: dict[str, str],
    tmp_path: Path,
) -> None:
    port = free_ports(1)[0]
    log = tmp_path / "gateway.log"
    with (
        MuxServer(MuxLibrary()) as server,
        gateway(operator_env, log, kube_namespace=resources.namespace, metrics_port=port) as url,
    ):
        secret = {
            "access_token_id": server.token_id,
            "access_token_secret": server.token_secret,
            "webhook_secret": WEBHOOK_SECRET,
        }
        resources.secret("mux", **secret)
        spec = {"provider": "mux", "mux": {"endpoint": server.url}, "secretRef": {"name": "mux"}}
        resources.create("Connection", "mux", spec)
        path = f"/v1/webhooks/mux/{connection_id(resources.namespace, 'mux')}"

        def post(body: dict[str, Any], key: str = WEBHOOK_SECRET) -> int:
            content = json.dumps(body).encode()
            headers = {"Mux-Signature": signature(key, content, None)}
            answer = httpx2.post(f"{url}{path}", content=content, headers=headers, trust_env=False)
            return answer.status_code

        eventually(lambda: listed(client, resources.namespace))
        eventually(lambda: post({"type": "nobody.knows.this"}) == 200)
        assert post(event("video.asset.updated", {"id": "a"})) == 200, log.read_text()
        assert post(event("video.asset.deleted", {"id": "a"})) == 200
        assert post({"type": "x"}, key="wrong") == 401
        assert httpx2.get(f"{url}/metrics", trust_env=False).status_code == 404

        route = "/v1/webhooks/mux/{connection_id}"
        requests = "telecine_gateway_requests_total"
        eventually(lambda: value(port, requests, route=route, code="200") == 3)
        assert value(port, requests, route=route, code="401") == 1
        assert value(port, requests, route="other", code="404") == 1
        duration = "telecine_gateway_request_duration_seconds_count"
        assert value(port, duration, route=route) >= 4
        events = "telecine_gateway_events_total"
        assert value(port, events, type="other", handled="false") == 1
        assert value(port, events, type="video.asset.deleted", handled="true") == 1
        assert value(port, "telecine_gateway_signature_refusals_total", reason="wrong") == 1
        eventually(lambda: value(port, "telecine_gateway_cascades") == 0)
        assert value(port, "telecine_gateway_queue_depth") == 0
        # Asked for the asset that was updated, which Mux does not know.
        where = {"provider": "mux", "namespace": resources.namespace, "connection": "mux"}
        assert value(port, CALLS, **where) == value(port, ERRORS, **where) == 1

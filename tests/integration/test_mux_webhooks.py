"""Mux's webhooks at a real gateway, over a real API server and Weaviate."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest
from telecine.dev.mux import event, signature
from telecine.index.client import WeaviateSettings
from telecine.index.ledger import Ledger
from telecine.providers.base import ProviderError
from telecine.providers.mux import MuxProvider
from telecine.workers.extract import run_extract
from telecine.workers.sync import run_sync

from tests.integration.conftest import Cluster
from tests.integration.harness import TOOLS, Free, Recorder
from tests.integration.mux_world import FLAGGED, WEBHOOK_SECRET, MuxWorld, make_mux_world
from tests.integration.operator_process import eventually

DELETED, UPDATED, READY = "video.asset.deleted", "video.asset.updated", "video.asset.ready"
MATCHING: dict[str, Any] = {"fileFilters": {"metadataFilters": [FLAGGED]}}


# `video.asset.updated`.


def test_an_asset_that_matches_now_is_taken_by_a_run_that_is_asked_for(mux: MuxWorld) -> None:
    mux.declare(**MATCHING)
    ident = mux.add("vi:0")
    mux.run()
    assert mux.indexed() == set()
    mux.library.update(ident, passthrough="vi:1", notify=False)
    answer = mux.tell(UPDATED, ident).json()
    assert answer == {
        "received": True,
        "event_type": UPDATED,
        "handled": True,
        "asset_id": ident,
        "deleted_objects": 0,
        "requested_runs": 1,
    }
    eventually(lambda: mux.requested(), what="a run is asked for")
    mux.run()
    assert mux.indexed() == {ident}


def test_an_asset_that_matches_no_more_is_unindexed_with_reconcile_on_sync(mux: MuxWorld) -> None:
    mux.declare(**MATCHING, reconcileOnSync=True)
    ident, stays = mux.add(), mux.add()
    mux.run()
    mux.library.update(ident, passthrough="vi:0", notify=False)
    answer = mux.tell(UPDATED, ident).json()
    assert (answer["handled"], answer["deleted_objects"]) == (True, 1)
    assert mux.indexed() == {stays}
    assert mux.requested() is None


def test_what_is_unindexed_while_its_documents_are_written_leaves_none(
    mux: MuxWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    mux.declare(**MATCHING, reconcileOnSync=True)
    ident = mux.add()
    job, recorder = mux.job(), Recorder()
    run_sync(job, Free(), recorder, contextlib.nullcontext)
    mux.library.update(ident, passthrough="vi:0", notify=False)
    delete = Ledger.delete

    def after_the_worker(ledger: Ledger, *arguments: Any, **more: Any) -> int:
        # The documents that were there are removed, the row is not.
        monkeypatch.undo()
        run_extract(job, range(recorder.chunks), Free(), recorder, TOOLS)
        return delete(ledger, *arguments, **more)

    monkeypatch.setattr(Ledger, "delete", after_the_worker)
    mux.tell(UPDATED, ident)
    eventually(lambda: mux.record(ident) is None)
    eventually(lambda: not mux.documents(), what="no documents without their object")


def test_an_update_that_fails_after_its_answer_becomes_a_run(
    mux: MuxWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    mux.declare(**MATCHING)
    ident = mux.add()
    answered = threading.Event()

    def throttled(*_: Any) -> None:
        answered.wait(20)
        raise ProviderError("Throttled", "Mux asks for fewer requests")

    monkeypatch.setattr(MuxProvider, "asset", throttled)
    answer = mux.tell(UPDATED, ident)
    answered.set()
    assert (answer.status_code, answer.json()["handled"]) == (200, True)
    eventually(lambda: mux.requested(), what="a run sees what the webhook could not")


def test_without_reconcile_on_sync_the_event_is_acknowledged_and_nothing_removed(
    mux: MuxWorld,
) -> None:
    mux.declare(**MATCHING)
    ident = mux.add()
    mux.run()
    mux.library.update(ident, passthrough="vi:0", notify=False)
    answer = mux.tell(UPDATED, ident).json()
    assert (answer["handled"], answer["deleted_objects"]) == (True, 0)
    assert mux.indexed() == {ident}


def test_each_sync_judges_by_its_own_filters(mux: MuxWorld) -> None:
    mux.declare(**MATCHING, reconcileOnSync=True)
    mux.bucket("all")
    mux.sync("all", "all")
    ident = mux.add()
    mux.run()
    mux.run("all")
    mux.library.update(ident, passthrough="vi:0", notify=False)
    answer = mux.tell(UPDATED, ident).json()
    assert (answer["deleted_objects"], answer["requested_runs"]) == (1, 1)
    assert mux.record(ident) is None
    assert mux.record(ident, "all") is not None
    eventually(lambda: mux.requested("all"), what="the metadata are brought up to date")
    assert mux.requested() is None


@pytest.mark.parametrize("spec", [{"suspend": True}, {"sourcePath": "mux://another"}])
def test_a_sync_that_is_not_concerned_is_left_alone(mux: MuxWorld, spec: dict[str, Any]) -> None:
    mux.declare(**spec)
    ident = mux.add()
    assert mux.tell(UPDATED, ident).json()["requested_runs"] == 0
    assert mux.tell(READY, ident).json()["requested_runs"] == 0


def test_warn_changes_nothing(mux: MuxWorld) -> None:
    mux.declare(**MATCHING, reconcileOnSync=True)
    ident = mux.add()
    mux.run()
    mux.resources.patch("Sync", "flagged", {"spec": {"driftPolicy": "Warn"}})
    mux.library.update(ident, passthrough="vi:0", notify=False)
    assert mux.tell(UPDATED, ident).json()["deleted_objects"] == 0
    assert mux.indexed() == {ident}


def test_a_removal_does_not_wait_behind_updates_that_wait_for_mux(
    mux: MuxWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    mux.declare(**MATCHING)
    gone = mux.add()
    mux.run()
    going_on = threading.Event()

    def waits(*_: Any) -> None:
        going_on.wait(30)
        raise ProviderError("Throttled", "Mux asked for a pause")

    monkeypatch.setattr(MuxProvider, "asset", waits)
    with ThreadPoolExecutor(12) as pool:
        told = [pool.submit(mux.tell, UPDATED, f"asset{n}") for n in range(12)]
        try:
            assert all(one.result().status_code == 200 for one in told)
            assert mux.tell(DELETED, gone).json()["deleted_objects"] == 1
            assert mux.indexed() == set()
        finally:
            going_on.set()


# Other events.


@pytest.mark.parametrize(
    "kind",
    [
        READY,
        "video.asset.static_renditions.ready",
        "video.asset.static_rendition.ready",
        "video.asset.static_rendition.deleted",
    ],
)
def test_what_makes_an_asset_readable_asks_for_a_run(mux: MuxWorld, kind: str) -> None:
    mux.declare()
    of_a_file = ".static_rendition." in kind
    data = {"id": "r", "asset_id": "a"} if of_a_file else {"id": "a"}
    answer = mux.post(event(kind, data)).json()
    assert (answer["handled"], answer["requested_runs"]) == (True, 1)
    eventually(lambda: mux.requested(), what="a run is asked for")


def test_many_hints_are_few_requests(mux: MuxWorld) -> None:
    mux.declare()
    seen = set()
    for number in range(50):
        mux.tell(READY, f"asset{number}")
        seen.add(mux.requested())
    assert len(seen - {None}) <= 3


def test_initial_only_is_not_run_again_by_hints(mux: MuxWorld) -> None:
    mux.declare(syncMode="initial_only")
    assert mux.tell(READY, "a").json()["requested_runs"] == 0


@pytest.mark.parametrize("kind", ["video.asset.created", "video.asset.errored", "video.upload.x"])
def test_other_events_are_acknowledged_and_not_handled(mux: MuxWorld, kind: str) -> None:
    mux.declare()
    answer = mux.tell(kind, "a")
    assert answer.status_code == 200
    assert answer.json() == {
        "received": True,
        "event_type": kind,
        "handled": False,
        "asset_id": "a",
    }


# Response codes.


def test_400_without_a_webhook_secret(mux: MuxWorld) -> None:
    mux.declare()
    credentials = {"access_token_id": "x", "access_token_secret": "y"}
    mux.resources.secret("bare", **credentials)
    mux.resources.create("Connection", "bare", mux.connection("bare"))
    from telecine.planning.identity import connection_id

    ident = connection_id(mux.resources.namespace, "bare")
    url = f"{mux.gateway}/v1/webhooks/mux/{ident}"
    told = event(READY, {"id": "a"})
    eventually(lambda: mux.post(told, url=url).status_code != 404, what="it is seen")
    answer = mux.post(told, url=url)
    assert answer.status_code == 400
    assert "webhook_secret" in answer.json()["error"]


def test_400_for_a_payload_that_is_not_json(mux: MuxWorld) -> None:
    mux.declare()
    for body in (b"{", b"[1]", b""):
        assert mux.post(body).status_code == 400


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Mux-Signature": "nonsense"},
        {"Mux-Signature": f"t={int(time.time())},v1={'0' * 64}"},
    ],
)
def test_401_for_a_signature_that_is_missing_malformed_or_wrong(
    mux: MuxWorld, headers: dict[str, str]
) -> None:
    mux.declare()
    ident = mux.add()
    mux.run()
    answer = mux.post(event(DELETED, {"id": ident}), headers=headers)
    assert answer.status_code == 401
    assert mux.indexed() == {ident}
    assert mux.post(event(DELETED, {"id": ident}), secret="wrong").status_code == 401


def test_401_for_a_signature_that_is_too_old(mux: MuxWorld) -> None:
    mux.declare()
    told = event(READY, {"id": "a"})
    assert mux.post(told, at=int(time.time()) - 301).status_code == 401
    assert mux.post(told, at=int(time.time()) - 290).status_code == 200


def test_404_for_what_is_not_a_connection_of_mux(mux: MuxWorld, tmp_path: Path) -> None:
    mux.declare()
    disk = {"provider": "local", "local": {"path": str(tmp_path)}}
    mux.resources.create("Connection", "disk", disk)
    from telecine.planning.identity import connection_id

    for ident in ("conn_absent", connection_id(mux.resources.namespace, "disk")):
        url = f"{mux.gateway}/v1/webhooks/mux/{ident}"
        answer = mux.post(event(READY, {"id": "a"}), url=url)
        assert (answer.status_code, answer.json()["received"]) == (404, False)
    assert httpx2.get(mux.webhook_url, trust_env=False).status_code == 405


def test_413_for_a_payload_over_the_limit(mux: MuxWorld) -> None:
    mux.declare()
    assert mux.post(b"x" * (2 << 20)).status_code == 413

    def pieces() -> Iterator[bytes]:
        for _ in range(40):
            yield b"x" * 65536

    headers = {"Mux-Signature": f"t={int(time.time())},v1={'0' * 64}"}
    told = httpx2.post(mux.webhook_url, content=pieces(), headers=headers, trust_env=False)
    assert told.status_code == 413


def test_a_new_webhook_secret_is_taken_without_a_restart(mux: MuxWorld) -> None:
    mux.declare()
    told = event(READY, {"id": "a"})
    assert mux.post(told).status_code == 200
    credentials = {"access_token_id": "x", "access_token_secret": "y"}
    mux.resources.secret("mux", **credentials, webhook_secret="another")
    eventually(lambda: mux.post(told, secret="another").status_code == 200)
    body = json.dumps(told).encode()
    both = {"Mux-Signature": signature("old", body, None, "another")}
    assert mux.post(body, headers=both).status_code == 200
    assert mux.post(told, secret=WEBHOOK_SECRET).status_code == 401


def test_a_flood_of_bad_signatures_costs_nothing_else_its_service(mux: MuxWorld) -> None:
    mux.declare()
    ident = mux.add()
    mux.run()
    stop = threading.Event()
    counts: list[int] = []

    def flood() -> None:
        body = json.dumps(event(DELETED, {"id": ident})).encode()
        with httpx2.Client(trust_env=False) as client:
            while not stop.is_set():
                bad = {"Mux-Signature": signature("wrong", body)}
                answer = client.post(mux.webhook_url, content=body, headers=bad)
                counts.append(answer.status_code)

    with ThreadPoolExecutor(8) as pool:
        for _ in range(8):
            pool.submit(flood)
        try:
            eventually(lambda: len(counts) > 200, what="a flood")
            started = time.monotonic()
            assert httpx2.get(f"{mux.gateway}/healthz", trust_env=False).status_code == 200
            assert mux.tell(DELETED, ident).json()["deleted_objects"] == 1
            assert time.monotonic() - started < 5
        finally:
            stop.set()
    assert set(counts) == {401}
    assert mux.indexed() == set()


def test_weaviate_out_of_reach_is_503_so_that_mux_comes_again(
    cluster: Cluster, kube_namespace: str, weaviate: WeaviateSettings, short_film: Path
) -> None:
    with (
        cluster.client() as client,
        make_mux_world(client, kube_namespace, weaviate, short_film) as mux,
    ):
        mux.declare()
        nowhere = {"endpoint": "http://127.0.0.1:9", "grpcPort": 9}
        mux.resources.create("Connection", "nowhere", {"provider": "weaviate", "weaviate": nowhere})
        elsewhere = {"weaviate": {"connectionRef": {"name": "nowhere"}}}
        mux.resources.patch("Namespace", "films", {"spec": elsewhere})
        answer = mux.tell(DELETED, "a")
        assert answer.status_code == 503
        assert "retry-after" in answer.headers

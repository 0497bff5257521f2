"""What Mux deletes goes at once and stays away, whatever runs meanwhile; all parts are real."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from telecine.api.sync import RunStep
from telecine.dev.mux import event
from telecine.gateway.deletion import Deletion, Deletions
from telecine.index.cascade import bury
from telecine.index.client import IndexWriteError, WeaviateSettings
from telecine.index.documents import Documents
from telecine.index.tombstones import Tombstones
from telecine.workers import extract
from telecine.workers.extract import run_extract
from telecine.workers.sync import run_sync

from tests.integration.conftest import Cluster
from tests.integration.harness import TOOLS, Free, Recorder
from tests.integration.mux_world import FLAGGED, QUICK, MuxWorld, make_mux_world
from tests.integration.operator_process import eventually

DELETED, UPDATED, READY = "video.asset.deleted", "video.asset.updated", "video.asset.ready"
MATCHING: dict[str, Any] = {"fileFilters": {"metadataFilters": [FLAGGED]}}


# What the page of the reference system says of `video.asset.deleted`.


def test_a_deletion_removes_every_object_of_the_asset_with_its_documents(mux: MuxWorld) -> None:
    mux.declare()
    mux.bucket("more")
    mux.sync("more", "more")
    gone, stays = mux.add(), mux.add()
    mux.run()
    mux.run("more")
    assert len(mux.documents()) == 12
    mux.library.delete(gone)
    answer = mux.tell(DELETED, gone)
    assert answer.status_code == 200
    assert answer.json() == {
        "received": True,
        "event_type": DELETED,
        "handled": True,
        "asset_id": gone,
        "deleted_objects": 2,
    }
    assert mux.indexed() == {stays}
    assert len(mux.documents()) == 6


def test_repeated_and_late_deliveries_change_nothing(mux: MuxWorld) -> None:
    mux.declare()
    gone, stays = mux.add(), mux.add()
    mux.run()
    mux.library.delete(gone)
    told = event(DELETED, {"id": gone})
    answers = [mux.deleted(told) for _ in range(3)]
    assert answers == [1, 0, 0]
    for kind in (UPDATED, READY, "video.asset.static_rendition.ready"):
        assert mux.tell(kind, gone).status_code == 200
    mux.run()
    assert mux.indexed() == {stays}


def test_a_deletion_of_what_was_never_indexed_is_handled(mux: MuxWorld) -> None:
    mux.declare()
    mux.run()
    answer = mux.tell(DELETED, "neverSeen").json()
    assert (answer["handled"], answer["deleted_objects"]) == (True, 0)


@pytest.mark.parametrize("keeping", [{"prune": False}, {"driftPolicy": "Warn"}])
def test_a_sync_that_keeps_what_is_gone_keeps_it(mux: MuxWorld, keeping: dict[str, Any]) -> None:
    mux.declare()
    ident = mux.add()
    mux.run()
    mux.resources.patch("Sync", "flagged", {"spec": keeping})
    assert mux.tell(DELETED, ident).json()["deleted_objects"] == 0
    assert mux.indexed() == {ident}


def test_other_connections_keep_their_objects(mux: MuxWorld) -> None:
    mux.declare()
    mux.resources.create("Connection", "other", mux.connection())
    mux.resources.create(
        "Sync", "other", {"bucketRef": {"name": "videos"}, "connectionRef": {"name": "other"}}
    )
    ident = mux.add()
    mux.run()
    mux.run("other")
    assert mux.tell(DELETED, ident).json()["deleted_objects"] == 1
    assert [r.connection for r in mux.index.ledger(mux.tenant).scan_all()] == ["other"]


def test_a_delete_between_listing_and_applying_does_not_come_back(mux: MuxWorld) -> None:
    mux.declare()
    gone, stays = mux.add(), mux.add()
    job, recorder = mux.job(), Recorder()

    @contextlib.contextmanager
    def meanwhile() -> Iterator[None]:
        # The listing is over; the plan is made and applied after this. Mux still serves the film.
        assert mux.tell(DELETED, gone).json()["deleted_objects"] == 0
        yield

    run_sync(job, Free(), recorder, meanwhile)
    assert recorder.step is RunStep.EXTRACT
    run_extract(job, range(recorder.chunks), Free(), recorder, TOOLS)
    assert mux.indexed() == {stays}


def test_a_delete_while_rows_are_written_does_not_come_back(
    mux: MuxWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    mux.declare()
    gone, stays = mux.add(), mux.add()
    job, recorder = mux.job(), Recorder()
    among = Tombstones.among

    def after_insert(tombstones: Tombstones, ids: Any) -> Any:
        found = among(tombstones, ids)  # asked a moment before the webhook comes
        assert mux.tell(DELETED, gone).json()["deleted_objects"] == 1
        return found

    monkeypatch.setattr(Tombstones, "among", after_insert)
    run_sync(job, Free(), recorder, contextlib.nullcontext)
    run_extract(job, range(recorder.chunks), Free(), recorder, TOOLS)
    assert mux.indexed() == {stays}


def test_a_delete_while_it_is_extracted_does_not_come_back(mux: MuxWorld) -> None:
    mux.declare()
    gone, stays = mux.add(), mux.add()
    job, recorder = mux.job(), Recorder()
    run_sync(job, Free(), recorder, contextlib.nullcontext)
    told: list[Any] = []

    class Deleting(Free):
        """The guard is asked before each write."""

        def check(self) -> None:
            if not told:
                told.append(mux.tell(DELETED, gone).json())

    run_extract(job, range(recorder.chunks), Deleting(), recorder, TOOLS)
    assert told[0]["deleted_objects"] == 1
    assert mux.indexed() == {stays}


def test_a_worker_that_dies_over_a_deleted_film_leaves_nothing_of_it(
    mux: MuxWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    mux.declare()
    gone = mux.add()
    job, recorder = mux.job(), Recorder()
    run_sync(job, Free(), recorder, contextlib.nullcontext)
    write = Documents.write
    writes: list[int] = []

    def dies(documents: Documents, batch: Any) -> None:
        writes.append(len(batch))
        if len(writes) == 1:
            assert mux.tell(DELETED, gone).json()["deleted_objects"] == 1
            write(documents, batch)
        else:
            raise RuntimeError("the worker is killed before the film's end")

    # Each document in a batch of its own, as those of a long film are.
    monkeypatch.setattr(extract, "DOCUMENTS_AT_ONCE", 1)
    monkeypatch.setattr(Documents, "write", dies)
    with pytest.raises(RuntimeError):
        run_extract(job, range(recorder.chunks), Free(), recorder, TOOLS)
    assert len(writes) == 2
    assert mux.documents() == []


def test_a_deleted_film_of_which_the_index_refuses_a_document_leaves_no_other(
    mux: MuxWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    mux.declare()
    gone = mux.add()
    job, recorder = mux.job(), Recorder()
    run_sync(job, Free(), recorder, contextlib.nullcontext)
    write = Documents.write

    def refuses(documents: Documents, batch: Any) -> None:
        assert mux.tell(DELETED, gone).json()["deleted_objects"] == 1
        write(documents, batch[:-1])
        raise IndexWriteError([(batch[-1].id, "too long")])

    monkeypatch.setattr(Documents, "write", refuses)
    run_extract(job, range(recorder.chunks), Free(), recorder, TOOLS)
    assert mux.documents() == []


def test_what_a_dead_gateway_had_begun_is_finished_by_the_next(
    mux: MuxWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    from telecine.execution.pool import IndexPool
    from telecine.gateway.directory import Directory
    from telecine.gateway.metrics import GatewayMetrics
    from telecine.gateway.requests import Requests

    mux.declare()
    gone, stays = mux.add(), mux.add()
    mux.run()

    def dies(*_: Any) -> None:
        raise httpx2.ConnectError("the gateway is gone")

    monkeypatch.setattr(Deletions, "finish", dies)
    assert mux.tell(DELETED, gone).json()["deleted_objects"] == 1
    assert mux.record(gone) is not None
    monkeypatch.undo()
    pool = IndexPool()
    requests = Requests(mux.client)
    next_one = Deletions(mux.client, pool, mux.settings, requests, GatewayMetrics())
    known = Directory(mux.client, mux.resources.namespace).connections()
    assert next_one.resume(known) == 0, "another may still be at it"
    assert next_one.resume(known, older_than=-1) == 1
    assert mux.indexed() == {stays}
    assert next_one.resume(known, older_than=-1) == 0
    tombstones = Tombstones(mux.index.ledger(mux.tenant))
    assert [t.finished for t in tombstones.all()] == [True]
    assert tombstones.forget(time.time() + 1) == 1
    requests.close()
    pool.close()


def test_tombstones_are_no_objects(mux: MuxWorld) -> None:
    mux.declare()
    gone = mux.add()
    mux.add()
    mux.run()
    mux.tell(DELETED, gone)
    ledger = mux.index.ledger(mux.tenant)
    ns = mux.resources.namespace
    for scope in ({}, {"bucket": "videos"}):
        assert ledger.counts(kube_namespace=ns, **scope)["objects"] == 1
        assert len(list(ledger.find(kube_namespace=ns, **scope))) == 1
    assert ledger.counts(kube_namespace=ns)["documents"] == 3


def test_a_large_cascade_is_answered_in_time_and_goes_on(
    cluster: Cluster,
    kube_namespace: str,
    weaviate: WeaviateSettings,
    short_film: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    going_on = threading.Event()

    def slowly(*arguments: Any) -> int:
        going_on.wait(30)
        return bury(*arguments)

    monkeypatch.setattr("telecine.gateway.deletion.bury", slowly)
    with (
        cluster.client() as client,
        make_mux_world(client, kube_namespace, weaviate, short_film, answer_seconds=0.5) as mux,
    ):
        mux.declare()
        ident = mux.add()
        mux.run()
        started = time.monotonic()
        answer = mux.tell(DELETED, ident)
        assert time.monotonic() - started < 5
        assert (answer.status_code, answer.json()["deleted_objects"]) == (200, 1)
        assert mux.record(ident) is not None
        going_on.set()
        eventually(lambda: mux.record(ident) is None and not mux.documents())


def test_a_removal_that_begins_too_late_for_its_answer_goes_on(
    cluster: Cluster,
    kube_namespace: str,
    weaviate: WeaviateSettings,
    short_film: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    going_on = threading.Event()
    begin = Deletions.begin

    def slowly(*arguments: Any) -> Deletion:
        going_on.wait(30)
        return begin(*arguments)

    monkeypatch.setattr(Deletions, "begin", slowly)
    with (
        cluster.client() as client,
        make_mux_world(client, kube_namespace, weaviate, short_film, answer_seconds=0.5) as mux,
    ):
        mux.declare()
        ident = mux.add()
        mux.run()
        assert mux.tell(DELETED, ident).status_code == 503
        assert mux.record(ident) is not None
        going_on.set()
        eventually(lambda: mux.record(ident) is None and not mux.documents())


def test_a_weaviate_out_of_reach_is_503_and_what_can_be_removed_is(mux: MuxWorld) -> None:
    mux.declare()
    ident = mux.add()
    mux.run()
    nowhere = {"endpoint": "http://127.0.0.1:9", "grpcPort": 9}
    mux.resources.create("Connection", "nowhere", {"provider": "weaviate", "weaviate": nowhere})
    elsewhere = {"weaviate": {"connectionRef": {"name": "nowhere"}}, "featureExtractors": [QUICK]}
    mux.resources.create("Namespace", "elsewhere", elsewhere)
    bucket = {"namespaceRef": {"name": "elsewhere"}, "blobType": "video"}
    mux.resources.create("Bucket", "away", bucket)
    mux.sync("away", "away")
    assert mux.tell(DELETED, ident).status_code == 503
    eventually(lambda: mux.record(ident) is None and not mux.documents())

"""Syncs on Mux, by what the reference system's page promises row by row; real films, real index."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from telecine.api.namespace import FeatureExtractor
from telecine.api.sync import SyncSpec
from telecine.dev.media.filming import Sentence, Shot, Style, film
from telecine.dev.media.photos import photograph
from telecine.planning.types import ObjectState
from telecine.providers.base import ProviderError
from telecine.workers.sync import run_sync

from tests.integration.harness import TOOLS, Free, Recorder
from tests.integration.mux_world import FLAGGED, QUICK, MuxWorld

SAID = "The lighthouse keeper lit the lamp before the storm reached the harbour."


def where(field: str, operator: str, value: Any = None) -> dict[str, Any]:
    rule = {"field": field, "operator": operator}
    return {"metadataFilters": [rule if value is None else {**rule, "value": value}]}


# Connection-level fields.


@pytest.mark.parametrize("key", ["access_token_id", "access_token_secret"])
def test_access_token_id_and_secret_are_required(mux: MuxWorld, key: str) -> None:
    mux.declare()
    both = {"access_token_id": "x", "access_token_secret": "y"}
    mux.resources.secret("mux", **{k: v for k, v in both.items() if k != key})
    with pytest.raises(ProviderError, match=key) as caught:
        mux.job()
    assert (caught.value.reason, caught.value.permanent) == ("SecretKeyMissing", True)


def test_webhook_secret_is_not_required(mux: MuxWorld) -> None:
    mux.declare()
    mux.resources.secret(
        "mux", access_token_id=mux.server.token_id, access_token_secret=mux.server.token_secret
    )
    ident = mux.add()
    mux.run()
    assert mux.indexed() == {ident}


# Sync-level fields, and the source path's format.


def test_source_path_mux_takes_all_ready_assets(mux: MuxWorld) -> None:
    mux.declare(sourcePath="mux://")
    made = {mux.add() for _ in range(3)}
    mux.run()
    assert mux.indexed() == made


def test_source_path_may_be_left_out(mux: MuxWorld) -> None:
    mux.declare(sourcePath="")
    ident = mux.add()
    mux.run()
    assert mux.indexed() == {ident}


def test_source_path_mux_asset_id_takes_that_asset(mux: MuxWorld) -> None:
    ident, _ = mux.add(), mux.add()
    mux.declare(sourcePath=f"mux://{ident}")
    mux.run()
    assert mux.indexed() == {ident}


def test_defaults_are_continuous_every_300_seconds_without_filters_or_reconciliation() -> None:
    spec = SyncSpec.model_validate({"bucketRef": {"name": "b"}, "connectionRef": {"name": "c"}})
    assert (spec.sync_mode, spec.polling_interval_seconds) == ("continuous", 300)
    assert (spec.filters().metadata_filters, spec.reconcile_on_sync) == ([], False)
    with pytest.raises(ValidationError):
        SyncSpec.model_validate({**spec.model_dump(by_alias=True), "pollingIntervalSeconds": 29})


@pytest.mark.parametrize(("mode", "again"), [("initial_only", False), ("continuous", True)])
def test_sync_mode_initial_only_runs_once_and_continuous_polls(mode: str, again: bool) -> None:
    from telecine.api.sync import RunStatus, SyncStatus
    from telecine.controllers.schedule import due

    at = datetime(2026, 1, 1, tzinfo=UTC)
    run = RunStatus.model_validate({"id": "1", "phase": "COMPLETED", "finishedAt": at})
    status = SyncStatus(run=run, last_sync_time=at, last_success_time=at, synced_inputs="x")
    spec = SyncSpec.model_validate(
        {"bucketRef": {"name": "b"}, "connectionRef": {"name": "c"}, "syncMode": mode}
    )
    found = due(
        "k", spec, status, inputs="x", requested_at=None, approved=None, now=at, retry_base=5,
        retry_cap=300,
    )  # fmt: skip
    if again:
        assert found.at is not None
        assert timedelta(seconds=300) <= found.at - at <= timedelta(seconds=330)
    else:
        assert found.at is None


def test_preparing_assets_are_picked_up_when_they_are_ready(mux: MuxWorld) -> None:
    mux.declare()
    late = mux.add(status="preparing")
    assert mux.run().plan.skipped == {"preparing": 1}
    mux.library.update(late, status="ready")
    mux.run()
    assert mux.indexed() == {late}


def test_an_asset_whose_rendition_comes_later_is_picked_up(mux: MuxWorld) -> None:
    mux.declare()
    ident = mux.library.add(passthrough="x")
    assert mux.run().plan.skipped == {"no_static_rendition": 1}
    mux.library.set_rendition(ident, "720p.mp4", mux.film)
    mux.run()
    assert mux.indexed() == {ident}


def test_everything_else_is_skipped_with_a_counted_reason(mux: MuxWorld) -> None:
    mux.declare(fileFilters={"minSize": 1000, "metadataFilters": [FLAGGED]})
    mux.add(status="preparing")
    mux.add(status="errored")
    mux.add(policies=())
    mux.add(policies=("drm",))
    mux.add(policies=("signed",))
    mux.library.add(passthrough="vi:1")
    mux.library.add(passthrough="vi:1", renditions={"low.mp4": 999})
    mux.library.add(passthrough="vi:1", static_renditions=_unsized(), duration=0.01)
    mux.add("vi:0")
    taken = mux.add()
    assert mux.run().plan.skipped == {
        "preparing": 1,
        "errored": 1,
        "no_playback_id": 1,
        "drm_only": 1,
        "no_signing_key": 1,
        "no_static_rendition": 1,
        "below_min_size": 2,
        "filtered": 1,
    }
    assert mux.indexed() == {taken}


def _unsized() -> dict[str, Any]:
    return {"files": [{"name": "low.mp4", "ext": "mp4", "status": "ready"}]}


def test_a_file_that_cannot_be_downloaded_fails_alone_and_is_tried_again(mux: MuxWorld) -> None:
    mux.declare()
    broken, whole = mux.add(), mux.add()
    files = mux.library._assets[broken].files
    film_path, files["low.mp4"] = files["low.mp4"], Path("/nonexistent")
    mux.run()
    record = mux.record(broken)
    assert record is not None
    assert record.state is ObjectState.FAILED
    files["low.mp4"] = film_path
    mux.run()
    assert mux.indexed() == {broken, whole}


# source_metadata: on objects, documents and results.


def test_source_metadata_reach_object_and_documents_unchanged(mux: MuxWorld) -> None:
    mux.declare()
    ident = mux.add("myapp|vi:1", meta={"external_id": "e-1"}, policies=("public", "signed"))
    mux.run()
    record = mux.record(ident)
    assert record is not None
    asset = mux.library.asset(ident) or {}
    public, signed = (one["id"] for one in asset["playback_ids"])
    rows = {
        "asset_id": ident,
        "playback_id": public,
        "playback_ids": [public, signed],
        "playback_url": f"{mux.server.url}/{public}.m3u8",
        "thumbnail_url": f"{mux.server.url}/{public}/thumbnail.jpg",
        "duration": 23.86,
        "resolution_tier": "1080p",
        "status": "ready",
        "aspect_ratio": "16:9",
        "passthrough": "myapp|vi:1",
        "meta": {"external_id": "e-1"},
    }
    assert {key: record.source_metadata.get(key) for key in rows} == rows
    documents = stored_metadata(mux)
    assert len(documents) == record.documents == 3
    assert all(one == record.source_metadata for one in documents)


def stored_metadata(mux: MuxWorld) -> list[dict[str, Any]]:
    """`source_metadata` of every document of the tenant."""
    found = []
    collections = mux.index.session.client.collections
    for name in mux.index.document_collections():
        if collections.use(name).tenants.get_by_name(mux.tenant) is not None:
            store = collections.use(name).with_tenant(mux.tenant)
            answer = store.query.fetch_objects(limit=100, return_properties=["source_metadata"])
            found += [json.loads(str(o.properties["source_metadata"])) for o in answer.objects]
    return found


# Metadata filters.

ROWS = [
    ("passthrough", "contains", "vi:1", {"passthrough": "myapp|vi:1|v:abc"}, True),
    ("passthrough", "contains", "vi:1", {"passthrough": "myapp|vi:0|v:abc"}, False),
    ("status", "equals", "ready", {}, True),
    ("resolution_tier", "not_equals", "audio_only", {}, True),
    ("resolution_tier", "not_equals", "audio_only", {"resolution_tier": "audio-only"}, False),
    ("passthrough", "not_contains", "skip", {"passthrough": "skip me"}, False),
    ("passthrough", "not_contains", "skip", {"passthrough": None}, True),
    ("duration", "gt", 10, {"duration": 10.0}, False),
    ("duration", "gt", 10, {"duration": 10.1}, True),
    ("duration", "lt", 10, {"duration": 9.9}, True),
    ("duration", "gte", 10, {"duration": 10.0}, True),
    ("duration", "lte", 10, {"duration": 10.1}, False),
    ("passthrough", "exists", None, {"passthrough": "x"}, True),
    ("passthrough", "exists", None, {"passthrough": None}, False),
    ("passthrough", "exists", False, {"passthrough": None}, True),
    ("meta.external_id", "equals", "a-1", {"meta": {"external_id": "a-1"}}, True),
    ("meta.external_id", "equals", "a-1", {"meta": {"title": "a-1"}}, False),
]


def test_each_operator_selects_as_its_row_says(mux: MuxWorld) -> None:
    mux.declare()
    wrong = []
    for field, operator, value, asset, taken in ROWS:
        for known in list(mux.library._assets):
            mux.library.delete(known)
        ident = mux.add(None, **{k: v for k, v in asset.items() if k != "passthrough"})
        mux.library.update(ident, passthrough=asset.get("passthrough"))
        mux.resources.patch(
            "Sync", "flagged", {"spec": {"fileFilters": where(field, operator, value)}}
        )
        plan = planned(mux)
        if (plan.add == 1) is not taken or (plan.skipped == {"filtered": 1}) is taken:
            wrong.append((field, operator, value, asset, plan.skipped))
    assert wrong == []


def planned(mux: MuxWorld) -> Any:
    from telecine.workers.planner import make_plan, stream_listing
    from telecine.workers.spool import Spool

    job = mux.job()
    with Spool() as spool:
        stream_listing(job, spool, lambda _: None)
        return make_plan(job, spool).summary


# Reconciliation.


def test_reconcile_on_sync_unindexes_what_lost_its_flag(mux: MuxWorld) -> None:
    mux.declare(fileFilters={"metadataFilters": [FLAGGED]}, reconcileOnSync=True)
    ident, stays = mux.add(), mux.add()
    mux.run()
    mux.library.update(ident, passthrough="vi:0")
    assert mux.run().unindexed == 1
    assert mux.indexed() == {stays}


def test_without_reconciliation_the_object_remains_and_is_counted_as_drifted(
    mux: MuxWorld,
) -> None:
    mux.declare(fileFilters={"metadataFilters": [FLAGGED]})
    ident = mux.add()
    mux.run()
    mux.library.update(ident, passthrough="vi:0")
    ran = mux.run()
    assert (ran.unindexed, ran.plan.drifted) == (0, 1)
    assert mux.indexed() == {ident}


def test_a_changed_passthrough_reaches_documents_without_extracting_again(mux: MuxWorld) -> None:
    mux.declare()
    ident = mux.add("before")
    mux.run()
    mux.library.update(ident, passthrough="after")
    ran = mux.run()
    assert (ran.plan.change, ran.progress.downloads) == (1, 0)
    record = mux.record(ident)
    assert record is not None
    assert record.source_metadata["passthrough"] == "after"


def test_a_second_run_costs_a_call_a_page_and_does_nothing(mux: MuxWorld) -> None:
    mux.declare(reconcileOnSync=True, fileFilters={"metadataFilters": [FLAGGED]})
    for _ in range(3):
        mux.add()
    mux.run()
    mux.server.calls.clear()
    ran = mux.run()
    assert (ran.plan.keep, ran.progress.downloads, ran.unindexed) == (3, 0, 0)
    assert sum(mux.server.calls.values()) == 1


def test_10000_assets_with_reconcile_on_sync_cost_pages_and_not_assets(mux: MuxWorld) -> None:
    mux.declare(reconcileOnSync=True, fileFilters={"metadataFilters": [FLAGGED]})
    made = mux.library.add_many(10_000, passthrough="vi:1", renditions={"low.mp4": 10})
    index_all(mux)
    mux.server.calls.clear()
    for ident in made[:100]:
        mux.library.update(ident, passthrough="vi:0")
    ran = mux.run()
    assert (ran.plan.listed, ran.plan.keep, ran.unindexed) == (10_000, 9_900, 100)
    assert mux.server.count("GET /video/v1/assets") == 100
    assert sum(mux.server.calls.values()) == 100


def index_all(mux: MuxWorld) -> None:
    """The sync step of a run, and its objects marked as extracted; there are no films."""
    job, recorder = mux.job(), Recorder()
    import contextlib

    run_sync(job, Free(), recorder, contextlib.nullcontext)
    ledger = mux.index.ledger(mux.tenant)
    rows = list(ledger.scan_all())
    for row in rows:
        row.state, row.recipes = ObjectState.COMPLETED, [job.recipes[0].key]
    ledger.insert(rows)


# Captions, and what a search result carries.


@pytest.fixture(scope="module")
def spoken_film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("mux") / "spoken.mp4"
    film(path, [Shot(photograph("cat"), 8)], [Sentence("Nothing of this counts.", 1)],
         Style((160, 90), 5))  # fmt: skip
    return path


def test_captions_of_the_asset_are_used_in_place_of_transcribing(
    mux: MuxWorld, spoken_film: Path, tmp_path: Path
) -> None:
    vtt = tmp_path / "en.vtt"
    vtt.write_text(f"WEBVTT\n\n00:04.500 --> 00:07.250\n<v Keeper>{SAID}\n")
    mux.declare()
    parameters = {**QUICK["parameters"], "run_transcription": True}  # type: ignore[dict-item]
    extractors = [{"name": "multimodal_extractor", "parameters": parameters}]
    mux.resources.patch("Namespace", "films", {"spec": {"featureExtractors": extractors}})
    ident = mux.library.add(spoken_film, captions={"en-GB": vtt})
    job = mux.job()
    mux.runs -= 1
    mux.run()
    record = mux.record(ident)
    assert record is not None
    assert record.state is ObjectState.COMPLETED, record.message
    tool = TOOLS.tool(job.recipes[0])
    store = mux.index.documents(mux.tenant, tool.collection)
    found = store.leading(record.id, record.content_hash, tool.recipe.key)
    spoken = [dict(d) for d in found if d.get("transcription")]
    sentences = [s for p in spoken if p["kind"] == "segment" for s in json.loads(p["sentences"])]
    assert sentences == [[4.5, 7.25, SAID]]
    assert {p["language"] for p in spoken} == {"en"}
    assert all("counts" not in p["transcription"] for p in spoken)


def test_an_extractor_of_the_examples_is_the_one_tested_here() -> None:
    assert FeatureExtractor.model_validate(QUICK).name == "multimodal_extractor"

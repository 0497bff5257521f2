"""Mux with everything in its own process: operator, workers, gateway; webhooks come from Mux."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from telecine.cli import app
from telecine.dev.media.filming import Shot, Style, film
from telecine.dev.media.photos import photograph
from telecine.dev.mux import MuxLibrary, MuxServer, event
from telecine.index.client import WeaviateSettings, open_index
from telecine.planning.identity import connection_id
from telecine.settings import Settings
from typer.testing import CliRunner

from tests.e2e.test_operator_runs import SETTINGS
from tests.integration.conftest import Cluster
from tests.integration.mux_world import FLAGGED, QUICK, WEBHOOK_SECRET, MuxWorld
from tests.integration.operator_process import Resources, eventually, gateway, operator

#: What is said comes from captions, so that nothing has to be transcribed.
CAPTIONED = {**QUICK, "parameters": {**QUICK["parameters"], "run_transcription": True}}  # type: ignore[dict-item]
SAID = {
    "lighthouse": "The keeper lit the lamp before the storm reached the harbour.",
    "bakery": "She baked seven loaves of bread for the market on Saturday.",
    "museum": "An old clock still tells the time of a country that is gone.",
}


class Site(MuxWorld):
    """The world with an operator that runs its Syncs."""

    env: dict[str, str]

    def put(self, name: str, folder: Path, passthrough: str) -> str:
        vtt = folder / f"{name}.vtt"
        vtt.write_text(f"WEBVTT\n\n00:00.500 --> 00:03.500\n{SAID[name]}\n")
        return self.add(passthrough, captions={"en": vtt})

    def search(self, query: str) -> list[dict[str, Any]]:
        command = ["search", query, "-n", "films", "-N", self.resources.namespace, "-o", "json"]
        done = CliRunner(env=self.env).invoke(app, command)
        assert done.exit_code == 0, done.output
        found: list[dict[str, Any]] = json.loads(done.stdout)
        return found

    def found(self) -> set[str]:
        """Ids of the assets that a search for anything finds."""
        return {one["source_metadata"]["asset_id"] for one in self.search("a story of a town")}

    def shows(self, count: int) -> bool:
        """Whether that number is in the status of Sync, Bucket and Namespace."""
        shown = [
            self.resources.status("Sync", "flagged").get("indexed"),
            self.resources.status("Bucket", "videos").get("objects"),
            self.resources.status("Namespace", "films").get("objects"),
        ]
        return shown == [count] * 3


@pytest.fixture
def site(
    cluster: Cluster,
    kube_namespace: str,
    weaviate: WeaviateSettings,
    operator_env: dict[str, str],
    tmp_path: Path,
) -> Iterator[Site]:
    path = tmp_path / "film.mp4"
    film(path, [Shot(photograph("cat"), 4)], (), Style((160, 90), 5))
    library = MuxLibrary()
    with (
        cluster.client() as client,
        gateway(operator_env, tmp_path / "gateway.log", kube_namespace=kube_namespace) as url,
        operator(
            operator_env,
            tmp_path / "operator.log",
            kube_namespace=kube_namespace,
            state_dir=tmp_path / "state",
            gateway_url=url,
            **SETTINGS,
        ),
        MuxServer(library) as server,
        open_index(weaviate) as index,
    ):
        resources = Resources(client, kube_namespace)
        made = Site(client, resources, Settings(), index, library, server, url, path)
        made.env = operator_env
        yield made
        resources.delete_all()


@pytest.mark.timeout(400)
def test_films_come_change_and_go_as_mux_says(site: Site, tmp_path: Path) -> None:
    keeps = site.put("lighthouse", tmp_path, "vi:1")
    goes = site.put("bakery", tmp_path, "vi:1")
    flagged_later = site.put("museum", tmp_path, "vi:0")
    site.declare(
        extractor=CAPTIONED,
        reconcileOnSync=True,
        pollingIntervalSeconds=86400,
        fileFilters={"metadataFilters": [FLAGGED]},
    )
    site.resources.wait("Sync", "flagged", ready=True, seconds=120)
    ident = connection_id(site.resources.namespace, "mux")
    status = site.resources.status("Connection", "mux")
    assert status["connectionId"] == ident
    assert status["webhookUrl"] == f"{site.gateway}/v1/webhooks/mux/{ident}"
    site.server.webhooks.subscribe(status["webhookUrl"], WEBHOOK_SECRET)

    # A result carries the playback URL, and the second.
    best = site.search("who lit the lamp in the harbour")[0]
    playback = (site.library.asset(keeps) or {})["playback_ids"][0]["id"]
    assert best["source_metadata"]["asset_id"] == keeps
    assert best["source_metadata"]["playback_url"] == f"{site.server.url}/{playback}.m3u8"
    assert best["reasons"][0]["why"] == "said"
    assert site.found() == {keeps, goes}
    # The page plays what browsers play.
    command = ["search", "who lit the lamp", "-n", "films", "-N", site.resources.namespace]
    page = CliRunner(env=site.env).invoke(app, [*command, "-o", "html"]).stdout
    assert f"{site.server.url}/{playback}/low.mp4#t=" in page

    # A passthrough changed at Mux: taken by a run that begins by itself.
    site.library.update(flagged_later, passthrough="vi:1")
    eventually(lambda: site.found() == {keeps, goes, flagged_later}, 90, "it is taken")
    # And changed back: gone at once, and the numbers follow.
    site.library.update(flagged_later, passthrough="vi:0")
    eventually(lambda: site.found() == {keeps, goes}, 30, "it is unindexed")
    # Deleted at Mux.
    site.library.delete(goes)
    eventually(lambda: site.found() == {keeps}, 30, "it is gone")
    eventually(lambda: site.shows(1), 60, "the numbers follow")
    site.server.webhooks.flush()
    assert [d.answer["deleted_objects"] for d in site.server.webhooks.sent] == [0, 1, 1]
    assert all(d.status == 200 and d.seconds < 5 for d in site.server.webhooks.sent)


@pytest.mark.timeout(400)
def test_a_delete_while_workers_run_does_not_come_back(site: Site) -> None:
    made = [site.add() for _ in range(12)]
    site.declare(pollingIntervalSeconds=86400, batchSize=1, parallelism=2)
    gone = made[:6]

    def in_progress() -> bool:
        run = site.resources.status("Sync", "flagged").get("run") or {}
        return bool(run.get("shards")) or run.get("step") == "extract"

    eventually(in_progress, 120, "extraction begins")
    for ident in gone:
        # Mux goes on serving what it has deleted for a while.
        assert site.post(event("video.asset.deleted", {"id": ident})).status_code == 200
    site.resources.wait("Sync", "flagged", ready=True, seconds=180)
    eventually(lambda: site.record(gone[0]) is None, 30)
    assert site.indexed() == set(made[6:])

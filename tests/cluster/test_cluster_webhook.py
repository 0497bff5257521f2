"""Films of Mux on a real cluster: indexed by Jobs, and gone when a signed webhook says so."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from telecine.dev.media.filming import Shot, Style, film
from telecine.dev.media.photos import photograph
from telecine.dev.mux import event, signature

from tests.cluster.site import MUX_TOKEN, NODE_PORTS, SERVICES, SYSTEM, Site, mux
from tests.cluster.test_cluster_story import telecine
from tests.integration.mux_world import QUICK, WEBHOOK_SECRET
from tests.integration.operator_process import Resources, eventually

CAPTIONS = "WEBVTT\n\n00:00.500 --> 00:01.500\nThe keeper lit the lamp before the storm.\n"
SPOKEN = {**QUICK, "parameters": {**QUICK["parameters"], "run_transcription": True}}  # type: ignore[dict-item]


@pytest.fixture(scope="module")
def server(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Mux test server in the cluster; where the tests reach it."""
    path = tmp_path_factory.mktemp("mux") / "film.mp4"
    film(path, [Shot(photograph("cat"), 2)], (), Style((160, 90), 5))
    bodies = mux(site, path, CAPTIONS)
    site.apply(*bodies)
    site.kubectl("rollout", "status", "deploy/mux", "-n", SERVICES, "--timeout=120s")
    yield f"http://{site.address}:{NODE_PORTS['mux']}"
    for body in bodies:
        site.kubectl("delete", body["kind"], body["metadata"]["name"], "-n", SERVICES)


def test_a_film_comes_and_goes_as_mux_says(site: Site, resources: Resources, server: str) -> None:
    inside = site.inside("mux", 8888)
    name, secret = MUX_TOKEN
    resources.secret(
        "mux", access_token_id=name, access_token_secret=secret, webhook_secret=WEBHOOK_SECRET
    )
    resources.create("Namespace", "films", {"featureExtractors": [SPOKEN]})
    block = {"endpoint": inside, "streamEndpoint": inside, "requestsPerSecond": 1000}
    connection = {"provider": "mux", "mux": block, "secretRef": {"name": "mux"}}
    resources.create("Connection", "mux", connection)
    bucket = {"namespaceRef": {"name": "films"}, "blobType": "video"}
    resources.create("Bucket", "videos", bucket)
    references = {"bucketRef": {"name": "videos"}, "connectionRef": {"name": "mux"}}
    spec = {**references, "sourcePath": "mux://", "pollingIntervalSeconds": 86400}
    resources.create("Sync", "all", spec)
    resources.wait("Sync", "all", ready=True, seconds=120)

    def found() -> list[dict[str, Any]]:
        told = telecine(
            site,
            "search",
            "who lit the lamp",
            "-n",
            "films",
            "-N",
            resources.namespace,
            "-o",
            "json",
        )
        results: list[dict[str, Any]] = json.loads(told)
        return results

    listed = httpx2.get(f"{server}/video/v1/assets", auth=MUX_TOKEN, trust_env=False).json()
    (asset,) = listed["data"]
    playback = asset["playback_ids"][0]["id"]
    assert found()[0]["source_metadata"]["playback_url"] == f"{inside}/{playback}.m3u8"

    url = resources.status("Connection", "mux")["webhookUrl"]
    assert url.startswith("https://telecine.test/v1/webhooks/mux/")
    body = json.dumps(event("video.asset.deleted", {"id": asset["id"]})).encode()
    with site.forwarded("service/telecine-gateway", 80, SYSTEM) as gateway:
        path = url.removeprefix("https://telecine.test")

        def post(header: str) -> httpx2.Response:
            return httpx2.post(
                gateway + path, content=body, headers={"Mux-Signature": header},
                timeout=20.0, trust_env=False,
            )  # fmt: skip

        assert post(signature("not the secret", body)).status_code == 401
        assert found()
        answer = post(signature(WEBHOOK_SECRET, body))
    assert answer.status_code == 200, answer.text
    assert answer.json()["deleted_objects"] == 1
    assert found() == []
    eventually(lambda: resources.status("Sync", "all").get("indexed") == 0, 60, "the numbers")


def test_the_gateways_metrics_and_health_are_served(site: Site) -> None:
    with site.forwarded("deploy/telecine-gateway", 8090, SYSTEM) as url:
        assert httpx2.get(f"{url}/readyz", trust_env=False).status_code == 200
    with site.forwarded("deploy/telecine-operator", 9090, SYSTEM) as url:
        told = httpx2.get(f"{url}/metrics", trust_env=False).text
    assert "telecine_" in told

"""A Pipeline on a real cluster: the user's function in a container without any rights."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from telecine.dev.media.filming import Shot, Style, film
from telecine.dev.media.photos import photograph
from telecine.index.index import Index

from tests.cluster.site import HANDLERS, ROOT, Site
from tests.cluster.test_cluster_story import telecine
from tests.integration.operator_process import Resources, eventually

HANDLER = """
import os
import urllib.request

from mixpeek import Mixpeek

TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount/token"


def handler(event):
    url = Mixpeek(os.getenv("API_KEY")).file_url(event["bucket"], event["key"])
    text = urllib.request.urlopen(url).read().decode()
    print("the key is", os.environ["API_KEY"])
    yield {
        "text": text,
        "key": event["key"],
        "token": os.path.exists(TOKEN),
        "uid": os.getuid(),
        "writes": os.access("/opt", os.W_OK),
        "names": sorted(name for name in os.environ if "TELECINE" in name or "KUBE" in name),
        "letters": len(os.environ["API_KEY"]),
    }
"""


PACKAGED = """
import humanize


def handler(event):
    if event["key"] == "1.txt":
        held = bytearray(400 << 20)
        held[::4096] = b"x" * len(held[::4096])
    return {"text": humanize.naturalsize(event["size"])}
"""


def documents(index: Index, status: dict[str, Any]) -> list[dict[str, Any]]:
    """What a Pipeline has made, each with its vector's length."""
    found = index.session.client.collections.use(status["collection"])
    rows = found.with_tenant(status["tenant"]).query.fetch_objects(limit=10, include_vector=True)
    return [{**o.properties, "numbers": len(o.vector.get("embedding", []))} for o in rows.objects]


def test_the_example_over_a_film_makes_a_document_for_every_ten_seconds(
    site: Site, resources: Resources, index: Index, tmp_path: Path
) -> None:
    path = tmp_path / "film.mp4"
    film(path, [Shot(photograph("cat"), 12)], (), Style((160, 90), 5))
    name = f"films-{resources.namespace}"
    store = site.s3()
    store.create_bucket(Bucket=name)
    store.put_object(Bucket=name, Key="film.mp4", Body=path.read_bytes())
    resources.create("Connection", "films", site.s3_connection(name))
    handler = (ROOT / "examples" / "pipelines" / "video-processor" / "handler.py").read_text()
    # The workers' image of these tests has no torch, and so no model for pictures.
    seen = 'mixpeek.embed.video(chunk, "mixpeek/vuse-generic-v1")'
    assert seen in handler
    spec = {
        "inline": {"handler": handler.replace(seen, "mixpeek.embed.text(str(len(chunk.frames)))")},
        "source": {"connectionRef": {"name": "films"}},
        "destination": {"collection": f"Films{resources.namespace.replace('-', '')}"},
    }
    resources.create("Pipeline", "films", spec)
    eventually(
        lambda: resources.status("Pipeline", "films").get("indexed") == 1, 120, "the film is there"
    )
    rows = documents(index, resources.status("Pipeline", "films"))
    assert sorted(row["start"] for row in rows) == [0.0, 10.0]
    assert {row["numbers"] for row in rows} == {384}


def test_a_users_function_runs_beside_the_worker_and_can_do_nothing_else(
    site: Site, resources: Resources, index: Index
) -> None:
    name = f"notes-{resources.namespace}"
    store = site.s3()
    store.create_bucket(Bucket=name)
    for number in range(3):
        store.put_object(Bucket=name, Key=f"{number}.txt", Body=f"note {number}".encode())
    resources.secret("keys", API_KEY="a-key-nobody-may-see")
    resources.create("Connection", "notes", site.s3_connection(name))
    spec = {
        "inline": {"handler": HANDLER},
        "source": {"connectionRef": {"name": "notes"}},
        "destination": {"collection": f"Notes{resources.namespace.replace('-', '')}"},
        "secretRef": {"name": "keys"},
    }
    resources.create("Pipeline", "notes", spec)

    def done() -> bool:
        return resources.status("Pipeline", "notes").get("indexed") == 3

    eventually(done, 120, "the notes are indexed")
    status = resources.status("Pipeline", "notes")
    rows = documents(index, status)
    assert sorted(row["text"] for row in rows) == ["note 0", "note 1", "note 2"]
    for row in rows:
        assert (row["token"], row["uid"], row["writes"], row["letters"]) == (
            False,
            65532,
            False,
            20,
        )
        # An empty list is no value: nothing of ours is in its environment.
        assert not row.get("names")
    labels = f"telecine.dev/sync={status['sync']},telecine.dev/step=extract"
    where = ("-n", resources.namespace, "-l", labels)
    log = site.kubectl("logs", *where, "-c", "worker", "--tail=-1")
    assert "the key is ***" in log
    assert "a-key-nobody-may-see" not in log


def test_a_function_with_an_image_of_its_own_has_its_packages_and_its_memory(
    site: Site, resources: Resources, index: Index
) -> None:
    image = HANDLERS if site.node else os.environ.get("TELECINE_E2E_HANDLER_IMAGE")
    if image is None:
        pytest.skip("TELECINE_E2E_HANDLER_IMAGE names no image with humanize for this cluster")
    name = f"sizes-{resources.namespace}"
    store = site.s3()
    store.create_bucket(Bucket=name)
    for number in range(3):
        store.put_object(Bucket=name, Key=f"{number}.txt", Body=b"x" * 2000)
    resources.create("Connection", "sizes", site.s3_connection(name))
    spec = {
        "alias": "Human sizes",
        "inline": {"handler": PACKAGED},
        "image": image,
        "source": {"connectionRef": {"name": "sizes"}},
        "destination": {"collection": f"Sizes{resources.namespace.replace('-', '')}"},
        "jobTemplate": {"resources": {"limits": {"memory": "300Mi"}}},
    }
    resources.create("Pipeline", "sizes", spec)

    def done() -> bool:
        found = resources.status("Pipeline", "sizes")
        return (found.get("indexed"), found.get("failed")) == (2, 1)

    eventually(done, 180, "two of three are indexed")
    status = resources.status("Pipeline", "sizes")
    assert [row["text"] for row in documents(index, status)] == ["2.0 kB", "2.0 kB"]
    records = index.ledger(status["tenant"]).scan_all()
    (greedy,) = [record for record in records if record.reason]
    assert (greedy.path, greedy.reason) == ("1.txt", "HandlerOutOfMemory")

    labels = f"telecine.dev/sync={status['sync']},telecine.dev/step=extract"
    where = ("-n", resources.namespace, "-l", labels)
    for pod in json.loads(site.kubectl("get", "pods", *where, "-o", "json"))["items"]:
        (handler,) = pod["spec"]["initContainers"]
        assert (handler["image"], handler["resources"]["limits"]) == (image, {"memory": "300Mi"})
    alias = ("pipeline/Human sizes", "-N", resources.namespace)
    assert "and may have 236 MiB" in telecine(site, "logs", *alias)

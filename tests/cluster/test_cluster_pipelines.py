"""A Pipeline on a real cluster: the user's function in a container without any rights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from telecine.dev.media.filming import Shot, Style, film
from telecine.dev.media.photos import photograph
from telecine.index.index import Index

from tests.cluster.site import ROOT, Site
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


def documents(index: Index, status: dict[str, Any]) -> list[dict[str, Any]]:
    """What a Pipeline has made, each with its vector's length."""
    found = index.session.client.collections.use(status["collection"])
    rows = found.with_tenant(status["tenant"]).query.fetch_objects(limit=10, include_vector=True)
    return [{**o.properties, "numbers": len(o.vector.get("embedding", []))} for o in rows.objects]


def test_the_example_of_the_seeds_makes_vectors_of_a_film(
    site: Site, resources: Resources, index: Index, tmp_path: Path
) -> None:
    path = tmp_path / "film.mp4"
    film(path, [Shot(photograph("cat"), 12)], (), Style((160, 90), 5))
    name = f"films-{resources.namespace}"
    store = site.s3()
    store.create_bucket(Bucket=name)
    store.put_object(Bucket=name, Key="film.mp4", Body=path.read_bytes())
    resources.create("Connection", "films", site.s3_connection(name))
    handler = ROOT / "examples" / "pipelines" / "video-processor" / "handler.py"
    spec = {
        "inline": {"handler": handler.read_text()},
        "source": {"connectionRef": {"name": "films"}},
        "destination": {"collection": f"Films{resources.namespace.replace('-', '')}"},
    }
    resources.create("Pipeline", "films", spec)
    eventually(
        lambda: resources.status("Pipeline", "films").get("indexed") == 1, 120, "the film is there"
    )
    rows = documents(index, resources.status("Pipeline", "films"))
    assert sorted(row["start"] for row in rows) == [0.0, 10.0]
    assert {row["numbers"] for row in rows} == {1280}


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
        assert not row["names"]
    labels = f"telecine.dev/sync={status['sync']},telecine.dev/step=extract"
    where = ("-n", resources.namespace, "-l", labels)
    log = site.kubectl("logs", *where, "-c", "worker", "--tail=-1")
    assert "the key is ***" in log
    assert "a-key-nobody-may-see" not in log

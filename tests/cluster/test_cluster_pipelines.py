"""A Pipeline on a real cluster: the user's function in a container without any rights."""

from __future__ import annotations

from typing import Any

from telecine.index.index import Index

from tests.cluster.site import Site
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

    eventually(done, 120, str(resources.status("Pipeline", "notes")))
    status = resources.status("Pipeline", "notes")
    collection = index.session.client.collections.use(status["collection"])
    rows: list[dict[str, Any]] = [
        dict(o.properties)
        for o in collection.with_tenant(status["tenant"]).query.fetch_objects(limit=10).objects
    ]
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

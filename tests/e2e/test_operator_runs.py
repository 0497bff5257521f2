"""Syncs under a real operator: API server, Weaviate, S3 server, folders and weights are real."""

from __future__ import annotations

import shlex
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest
from lightkube import Client
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Namespace
from telecine.index.client import WeaviateSettings, open_index
from telecine.index.index import Index

from tests.e2e.manifests import EXTRACTORS, NAMESPACE, Shelf, local
from tests.integration.operator_process import Resources, eventually, operator

SETTINGS = {
    "retry_base_seconds": 0.2,
    "retry_cap_seconds": 1,
    "lease_seconds": 3,
    "cleanup_seconds": 30,
}


class Cluster(Protocol):
    def client(self) -> Client: ...

    def kubectl(self, *arguments: str) -> subprocess.CompletedProcess[str]: ...


@pytest.fixture(scope="module")
def index(weaviate: WeaviateSettings) -> Iterator[Index]:
    with open_index(weaviate) as opened:
        yield opened


@pytest.fixture(scope="module")
def resources(
    cluster: Cluster, operator_env: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Resources]:
    """One Kubernetes namespace with a Namespace ready in it, and an operator for all tests."""
    client = cluster.client()
    made = Resources(client, f"runs-{uuid.uuid4().hex[:10]}")
    client.create(Namespace(metadata=ObjectMeta(name=made.namespace)))
    folder = tmp_path_factory.mktemp("operator")
    with operator(
        operator_env,
        folder / "operator.log",
        kube_namespace=made.namespace,
        state_dir=folder / "state",
        **SETTINGS,
    ):
        made.create("Namespace", NAMESPACE, EXTRACTORS)
        made.wait("Namespace", NAMESPACE, phase="ACTIVE", ready=True)
        yield made
        made.delete_all()
        for kind, name in made.made:
            eventually(lambda k=kind, n=name: not made.exists(k, n), 60, f"{kind} {name} goes")
    client.delete(Namespace, made.namespace)


@pytest.fixture
def shelf(resources: Resources, index: Index, tmp_path: Path) -> Shelf:
    """Three small texts, and no resource yet."""
    folder = tmp_path / "assets"
    folder.mkdir()
    made = Shelf(resources, index, folder)
    for name in ("one.txt", "two.txt", "three.md"):
        made.write(name, f"The passage of {name}.")
    return made


def test_a_sync_applied_first_waits_for_what_it_refers_to_and_then_goes_on(
    shelf: Shelf, cluster: Cluster
) -> None:
    shelf.create_sync()
    shelf.resources.wait("Sync", shelf.name, reason="ReferenceNotFound", ready=False)
    shelf.create_sources()
    waited = cluster.kubectl(
        "wait", "--for=condition=Ready", f"tsync/{shelf.name}",
        "-n", shelf.resources.namespace, "--timeout=180s",
    )  # fmt: skip
    assert waited.returncode == 0, waited.stderr
    assert "condition met" in waited.stdout
    shelf.assert_whole({"one.txt", "two.txt", "three.md"})
    status = shelf.status()
    assert (status["phase"], status["objects"], status["indexed"]) == ("COMPLETED", 3, 3)


def test_a_requested_run_is_acknowledged_and_does_no_work_twice(shelf: Shelf) -> None:
    shelf.indexed()
    asked = shelf.request()
    status = shelf.wait(lastHandledReconcileAt=asked, runCount=2)
    newest = status["history"][0]
    assert newest["trigger"] == "requested"
    assert (newest.get("downloads", 0), newest.get("embeddings", 0)) == (0, 0)
    assert shelf.ready()["status"] == "True"


def test_suspend_stops_and_resumes(shelf: Shelf) -> None:
    shelf.indexed()
    shelf.change(suspend=True)
    shelf.resources.wait("Sync", shelf.name, phase="SUSPENDED", reason="Suspended", ready=False)
    shelf.write("four.txt", "The passage of four.")
    asked = shelf.request()
    shelf.resources.wait("Sync", shelf.name, phase="SUSPENDED", runCount=1)
    assert shelf.paths() == {"one.txt", "two.txt", "three.md"}
    shelf.change(suspend=False)
    shelf.wait(lastHandledReconcileAt=asked, phase="COMPLETED")
    shelf.assert_whole({"one.txt", "two.txt", "three.md", "four.txt"})


def test_a_filter_changed_in_the_spec_takes_effect(shelf: Shelf) -> None:
    shelf.indexed(reconcileOnSync=True)
    shelf.change(fileFilters={"extensions": ["txt"]})
    status = shelf.wait(runCount=2, phase="COMPLETED")
    assert status["history"][0]["trigger"] == "spec"
    assert status["history"][0]["unindexed"] == 1
    shelf.assert_whole({"one.txt", "two.txt"})


def test_an_emptied_source_trips_the_fuse_and_the_told_command_lets_it_through(
    shelf: Shelf, cluster: Cluster
) -> None:
    shelf.indexed()
    for path in list(shelf.folder.iterdir()):
        path.unlink()
    status = shelf.run()
    assert status["phase"] == "FAILED"
    stalled = shelf.ready("Stalled")
    assert (stalled["status"], stalled["reason"]) == ("True", "DeleteLimitExceeded")
    shelf.assert_whole({"one.txt", "two.txt", "three.md"})
    program, *arguments = shlex.split(stalled["message"].partition("through with: ")[2])
    assert program == "kubectl"
    done = cluster.kubectl(*arguments)
    assert done.returncode == 0, done.stderr
    shelf.wait(phase="COMPLETED", objects=0)
    assert shelf.paths() == set()
    assert not shelf.ready("Stalled")


def test_drift_policy_warn_reports_and_changes_nothing(shelf: Shelf) -> None:
    shelf.indexed()
    shelf.change(driftPolicy="Warn")
    shelf.wait(runCount=2, phase="COMPLETED")
    shelf.write("two.txt", "The passage of two is another one now.")
    shelf.write("four.txt", "The passage of four.")
    (shelf.folder / "one.txt").unlink()
    status = shelf.run()
    plan = status["plan"]
    assert [plan[key] for key in ("add", "change", "unindex", "keep")] == [1, 1, 1, 1]
    assert status["phase"] == "COMPLETED"
    shelf.assert_whole({"one.txt", "two.txt", "three.md"})
    assert "nothing was changed" in shelf.ready()["message"]


def test_the_history_keeps_five_runs(shelf: Shelf) -> None:
    shelf.indexed()
    for _ in range(6):
        status = shelf.run()
    assert [run["id"] for run in status["history"]] == ["7", "6", "5", "4", "3"]


def test_a_failed_asset_is_counted_and_the_others_are_indexed(shelf: Shelf) -> None:
    shelf.write("empty.txt", "")
    status = shelf.indexed()
    assert status["phase"] == "COMPLETED_WITH_ERRORS"
    assert (status["objects"], status["indexed"], status["failed"]) == (4, 3, 1)
    record = shelf.records()["empty.txt"]
    assert record.state == "FAILED"
    assert record.message
    assert "1 failed" in shelf.ready()["message"]


@pytest.mark.parametrize(("policy", "left"), [("Delete", 0), ("Orphan", 3)])
def test_the_deletion_policy_of_a_sync_decides_about_its_objects(
    shelf: Shelf, policy: str, left: int
) -> None:
    shelf.indexed(deletionPolicy=policy)
    shelf.delete()
    assert len(shelf.records()) == left
    assert len(shelf.texts()) == left


def test_what_is_not_implemented_is_stalled(resources: Resources) -> None:
    resources.create("Connection", "box", {"provider": "box"})
    resources.wait("Connection", "box", reason="NotImplemented", ready=False)
    assert resources.condition("Connection", "box", "Stalled")["reason"] == "NotImplemented"


def test_s3_metadata_and_tags_filter_and_a_rewrite_of_metadata_embeds_nothing(
    shelf: Shelf, s3_server: Any, s3_bucket: str
) -> None:
    client = s3_server.client()

    def put(key: str, shelf_name: str, team: str, **more: str) -> None:
        client.put_object(
            Bucket=s3_bucket,
            Key=key,
            Body=f"The passage of {key}.".encode(),
            Metadata={"shelf": shelf_name, **more},
            Tagging=f"team={team}",
            ContentType="text/plain",
        )

    put("mine.txt", "sea", "red")
    put("other-shelf.txt", "land", "red")
    put("other-team.txt", "sea", "blue")
    shelf.resources.secret("keys", access_key_id="telecine", secret_access_key="not-so-secret")
    connection = {
        "provider": "s3",
        "s3": {"bucket": s3_bucket, "endpoint": s3_server.endpoint},
        "secretRef": {"name": "keys"},
    }
    filters = [
        {"field": "metadata.shelf", "operator": "equals", "value": "sea"},
        {"field": "tags.team", "operator": "equals", "value": "red"},
    ]
    shelf.indexed(connection, fileFilters={"metadataFilters": filters})
    shelf.assert_whole({"mine.txt"})
    put("mine.txt", "sea", "red", edition="2")
    status = shelf.run()
    newest = status["history"][0]
    assert newest["changed"] == 1
    assert newest.get("embeddings", 0) == 0
    assert shelf.records()["mine.txt"].source_metadata["metadata"]["edition"] == "2"
    shelf.assert_whole({"mine.txt"})


def test_the_namespace_tells_which_features_are_on(resources: Resources, shelf: Shelf) -> None:
    shelf.indexed()
    eventually(
        lambda: (
            resources.status("Namespace", NAMESPACE).get("features")
            == {"text_extractor.text": "on"}
        ),
        what="status.features",
    )


def test_a_model_that_was_named_and_is_not_there_fails_the_run_and_says_so(
    resources: Resources, shelf: Shelf
) -> None:
    space = f"unmounted-{uuid.uuid4().hex[:6]}"
    extractor = {"name": "multimodal_extractor", "parameters": {"text_model": "/no/such/model"}}
    resources.create("Namespace", space, {"featureExtractors": [extractor]})
    spec = {"namespaceRef": {"name": space}, "blobType": "text"}
    resources.create("Bucket", shelf.name, spec)
    resources.create("Connection", shelf.name, local(shelf.folder))
    shelf.create_sync()
    try:
        eventually(lambda: shelf.ready().get("reason") == "ModelUnavailable", what="the reason")
        record = shelf.status()["history"][0]
        assert record["phase"] == "FAILED"
        assert "/no/such/model" in record["message"]
    finally:
        shelf.delete()  # it would try again and again, beside the tests that follow

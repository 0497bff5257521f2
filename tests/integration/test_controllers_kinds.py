"""Namespaces, Connections, Buckets and Pipelines under a real operator, API server, Weaviate."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest
from lightkube import Client
from telecine.api.namespace import FeatureExtractor, NamespaceState
from telecine.dev.mux import MuxLibrary, MuxServer
from telecine.index.client import WeaviateSettings, open_index
from telecine.planning.identity import connection_id, object_id, owner_id, recipe
from telecine.planning.types import ObjectRecord, ObjectState

from tests.integration.operator_process import Resources, eventually, operator
from tests.integration.providers.scripted_s3 import Reply, listing, refusal, scripted_s3

EXTRACTORS = {"featureExtractors": [{"name": "text_extractor"}]}
BUCKET = {"namespaceRef": {"name": "library"}, "blobType": "text"}
FAST = {
    "retry_base_seconds": 0.2,
    "retry_cap_seconds": 0.5,
    "breaker_failures": 3,
    "breaker_seconds": 1,
    "cleanup_seconds": 30,
}


class Cluster(Protocol):
    def client(self) -> Client: ...


@pytest.fixture(scope="module")
def log(operator_env: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The log of an operator for the whole cluster."""
    folder = tmp_path_factory.mktemp("operator")
    with operator(operator_env, folder / "log", state_dir=folder / "state", **FAST):
        yield folder / "log"


@pytest.fixture
def resources(cluster: Cluster, kube_namespace: str, log: Path) -> Iterator[Resources]:
    """The resources of a test, with an operator running; at the test's end they go."""
    made = Resources(cluster.client(), kube_namespace)
    yield made
    made.delete_all()
    for kind, name in made.made:
        eventually(lambda k=kind, n=name: not made.exists(k, n), what=f"{kind} {name} goes")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "assets"
    made.mkdir()
    return made


def local(path: Path) -> dict[str, Any]:
    return {"provider": "local", "local": {"path": str(path)}}


def s3(server: Any, bucket: str) -> dict[str, Any]:
    return {
        "provider": "s3",
        "s3": {"bucket": bucket, "endpoint": server.endpoint},
        "secretRef": {"name": "keys"},
    }


def tenant_of(resources: Resources) -> str:
    return f"{resources.namespace}_library"


def recipe_key(serving: dict[str, Any]) -> str:
    return f"{serving['name']}@{serving['version']}:{serving['recipe']}"


def an_object(namespace: str, recipes: list[str], bucket: str = "books") -> ObjectRecord:
    """A row of the ledger as a run leaves it."""
    return ObjectRecord(
        id=object_id(namespace, bucket, "disk", "a.txt"),
        kube_namespace=namespace,
        bucket=bucket,
        connection="disk",
        asset_id="a.txt",
        path="a.txt",
        size=1,
        modified=1.0,
        fingerprint="f",
        version="v",
        mime_type="text/plain",
        state=ObjectState.COMPLETED,
        recipes=recipes,
        owner=owner_id("", namespace, bucket),
    )


def test_every_kind_becomes_ready(resources: Resources, folder: Path) -> None:
    resources.create("Bucket", "books", BUCKET)
    resources.create("Connection", "disk", local(folder))
    resources.create("Namespace", "library", EXTRACTORS)
    namespace = resources.wait("Namespace", "library", phase="ACTIVE", ready=True, buckets=1)
    assert namespace["tenant"] == tenant_of(resources)
    assert namespace["tenantState"] == "ACTIVE"
    assert namespace["serving"][0]["collection"] == "Telecine_text_extractor_v1"
    connection = resources.wait("Connection", "disk", phase="ACTIVE", reason="Checked")
    assert connection["connectionId"].startswith("conn_")
    resources.wait("Bucket", "books", phase="ACTIVE", ready=True, objects=0, syncs=0)
    assert [c["type"] for c in resources.status("Bucket", "books")["conditions"]] == ["Ready"]


def test_a_pipeline_that_does_not_say_what_it_takes_is_told_so(resources: Resources) -> None:
    resources.create("Pipeline", "captions", {"inline": {"handler": "def handler(event): pass"}})
    resources.wait("Pipeline", "captions", reason="InvalidConfig", observedGeneration=1)
    stalled = resources.condition("Pipeline", "captions", "Stalled")
    assert "source.connection_id" in stalled["message"]
    assert "destination.collection" in stalled["message"]


def test_a_reference_that_appears_later_is_noticed(resources: Resources) -> None:
    resources.create("Bucket", "books", BUCKET)
    resources.wait("Bucket", "books", phase="PENDING", reason="ReferenceNotFound")
    resources.create("Namespace", "library", EXTRACTORS)
    resources.wait("Bucket", "books", phase="ACTIVE", ready=True)


@pytest.mark.parametrize(
    ("extractor", "reason", "said"),
    [
        ({"name": "time_extractor"}, "UnknownExtractor", "time_extractor v1"),
        (
            {"name": "multimodal_extractor", "parameters": {"split_method": "mood"}},
            "InvalidParameters",
            "split_method",
        ),
        (
            {"name": "text_extractor", "parameters": {"chunk_size": 7}},
            "InvalidParameters",
            "chunk_size",
        ),
    ],
)
def test_an_extractor_that_cannot_be_used_stalls_its_namespace(
    resources: Resources, extractor: dict[str, Any], reason: str, said: str
) -> None:
    resources.create("Namespace", "library", {"featureExtractors": [extractor]})
    resources.wait("Namespace", "library", phase="FAILED", reason=reason, ready=False)
    assert said in resources.condition("Namespace", "library", "Stalled")["message"]
    resources.patch("Namespace", "library", {"spec": EXTRACTORS})
    resources.wait("Namespace", "library", phase="ACTIVE", ready=True, observedGeneration=2)
    assert not resources.condition("Namespace", "library", "Stalled")


def test_a_namespaces_state_moves_its_tenant(
    resources: Resources, weaviate: WeaviateSettings
) -> None:
    resources.create("Namespace", "library", EXTRACTORS)
    resources.wait("Namespace", "library", phase="ACTIVE", ready=True)
    with open_index(weaviate) as index:
        resources.patch("Namespace", "library", {"spec": {"state": "SUSPENDED"}})
        resources.wait("Namespace", "library", phase="SUSPENDED", tenantState="INACTIVE")
        assert index.tenant_state(tenant_of(resources)) == "INACTIVE"
        resources.patch("Namespace", "library", {"spec": {"state": "ARCHIVED"}})
        resources.wait("Namespace", "library", phase="ARCHIVED", tenantState="INACTIVE")
        assert "no offload module" in resources.condition("Namespace", "library")["message"]
        resources.patch("Namespace", "library", {"spec": {"state": "ACTIVE"}})
        resources.wait("Namespace", "library", phase="ACTIVE", tenantState="ACTIVE")
        assert index.tenant_state(tenant_of(resources)) == "ACTIVE"


def test_a_tenant_of_another_namespace_cannot_be_had(
    resources: Resources, weaviate: WeaviateSettings
) -> None:
    resources.create("Namespace", "library", EXTRACTORS)
    resources.wait("Namespace", "library", phase="ACTIVE", ready=True)
    resources.create("Namespace", "rival", {**EXTRACTORS, "tenant": tenant_of(resources)})
    resources.wait("Namespace", "rival", phase="FAILED", reason="TenantInUse")
    resources.delete("Namespace", "rival")
    eventually(lambda: not resources.exists("Namespace", "rival"))
    with open_index(weaviate) as index:
        assert index.tenant_state(tenant_of(resources)) == "ACTIVE"


def test_a_namespace_that_never_became_ready_drops_nothing(
    resources: Resources, weaviate: WeaviateSettings
) -> None:
    with open_index(weaviate) as index:
        index.ensure_schema([])
        index.set_tenant(tenant_of(resources), NamespaceState.ACTIVE)
        resources.create("Namespace", "library", {"featureExtractors": [{"name": "nobody"}]})
        resources.wait("Namespace", "library", phase="FAILED")
        assert not resources.get("Namespace", "library")["metadata"].get("finalizers")
        resources.delete("Namespace", "library")
        eventually(lambda: not resources.exists("Namespace", "library"))
        assert index.tenant_state(tenant_of(resources)) == "ACTIVE"
        index.drop_tenant(tenant_of(resources))


@pytest.mark.parametrize(("policy", "left"), [("Delete", None), ("Orphan", "ACTIVE")])
def test_a_namespaces_deletion_policy_decides_about_its_tenant(
    resources: Resources, weaviate: WeaviateSettings, policy: str, left: str | None
) -> None:
    resources.create("Namespace", "library", {**EXTRACTORS, "deletionPolicy": policy})
    resources.wait("Namespace", "library", phase="ACTIVE", ready=True)
    resources.delete("Namespace", "library")
    eventually(lambda: not resources.exists("Namespace", "library"))
    with open_index(weaviate) as index:
        assert index.tenant_state(tenant_of(resources)) == left
        index.drop_tenant(tenant_of(resources))


def test_a_bucket_with_storage_says_that_it_takes_no_uploads(resources: Resources) -> None:
    storage = {"storage": {"connectionRef": {"name": "disk"}}}
    resources.create("Bucket", "books", {**BUCKET, **storage})
    resources.wait("Bucket", "books", phase="FAILED", reason="NotImplemented")
    assert "spec.storage" in resources.condition("Bucket", "books")["message"]


def test_a_mux_connection_is_checked_live_and_says_which_credential_is_wrong(
    resources: Resources,
) -> None:
    with MuxServer(MuxLibrary()) as server:
        resources.secret("mux", access_token_id=server.token_id, access_token_secret="wr0ngSecret")
        spec = {"provider": "mux", "mux": {"endpoint": server.url}, "secretRef": {"name": "mux"}}
        made = resources.create("Connection", "mux", spec)
        status = resources.wait("Connection", "mux", phase="FAILED", reason="Unauthorized")
        assert "access_token_id and access_token_secret" in status["lastError"]
        assert "Settings, Access Tokens" in status["lastError"]
        assert "wr0ngSecret" not in str(resources.get("Connection", "mux")["status"])
        ident = connection_id(made["metadata"]["namespace"], "mux")
        assert status["webhookUrl"] == f"/v1/webhooks/mux/{ident}"
        resources.secret(
            "mux", access_token_id=server.token_id, access_token_secret=server.token_secret
        )
        resources.wait("Connection", "mux", phase="ACTIVE", reason="Checked")
        assert "Mux environment Test" in resources.condition("Connection", "mux")["message"]


def test_a_provider_to_come_is_stalled_as_not_implemented(resources: Resources) -> None:
    resources.create("Connection", "box", {"provider": "box"})
    resources.wait("Connection", "box", phase="FAILED", reason="NotImplemented")
    assert resources.condition("Connection", "box", "Stalled")


def test_a_connection_to_weaviate_is_checked(
    resources: Resources, weaviate: WeaviateSettings
) -> None:
    block = {"endpoint": weaviate.endpoint, "grpcPort": weaviate.grpc_port}
    resources.create("Connection", "vectors", {"provider": "weaviate", "weaviate": block})
    resources.wait("Connection", "vectors", phase="ACTIVE", reason="Checked")
    spec = {**EXTRACTORS, "weaviate": {"connectionRef": {"name": "vectors"}}}
    resources.create("Namespace", "library", spec)
    resources.wait("Namespace", "library", phase="ACTIVE", ready=True)


def test_a_connection_waits_for_its_secret_and_notices_every_change_of_it(
    resources: Resources, s3_server: Any, s3_bucket: str
) -> None:
    resources.create("Connection", "shelves", s3(s3_server, s3_bucket))
    resources.wait("Connection", "shelves", phase="PENDING", reason="SecretNotFound")
    resources.secret("keys", access_key_id="telecine")
    resources.wait("Connection", "shelves", phase="FAILED", reason="SecretKeyMissing")
    assert "secret_access_key" in resources.condition("Connection", "shelves")["message"]
    resources.secret("keys", access_key_id="telecine", secret_access_key="first-secret")
    first = resources.wait("Connection", "shelves", phase="ACTIVE", reason="Checked")
    resources.secret("keys", access_key_id="telecine", secret_access_key="second-secret")
    eventually(
        lambda: (
            resources.status("Connection", "shelves")["secretResourceVersion"]
            != first["secretResourceVersion"]
        )
    )
    resources.wait("Connection", "shelves", phase="ACTIVE", ready=True)


def test_a_bucket_that_does_not_exist_makes_the_connection_failed_until_it_changes(
    resources: Resources, s3_server: Any, s3_bucket: str
) -> None:
    resources.secret("keys", access_key_id="telecine", secret_access_key="very-secret-value")
    resources.create("Connection", "shelves", s3(s3_server, "no-such-bucket"))
    status = resources.wait("Connection", "shelves", phase="FAILED", ready=False)
    assert resources.condition("Connection", "shelves", "Stalled")["status"] == "True"
    assert status["lastError"]
    assert status["consecutiveFailures"] == 1
    resources.patch("Connection", "shelves", {"spec": {"s3": {"bucket": s3_bucket}}})
    status = resources.wait("Connection", "shelves", phase="ACTIVE", consecutiveFailures=0)
    assert "lastError" not in status


def test_wrong_credentials_are_told_in_the_providers_words_without_the_secret(
    resources: Resources, log: Path
) -> None:
    said = "The signature does not match that of hunter2-very-secret."
    with scripted_s3(lambda _: refusal(403, "SignatureDoesNotMatch", said)) as server:
        resources.secret("keys", access_key_id="telecine", secret_access_key="hunter2-very-secret")
        resources.create("Connection", "shelves", s3(server, "media"))
        status = resources.wait("Connection", "shelves", phase="FAILED", ready=False)
    assert "does not match" in status["lastError"]
    assert "hunter2" not in str(resources.get("Connection", "shelves"))
    assert "hunter2" not in str(eventually(lambda: resources.events("shelves")))
    assert "hunter2" not in log.read_text()


def test_failures_in_a_row_open_the_breaker_which_closes_by_itself(
    resources: Resources,
) -> None:
    with scripted_s3(lambda _: refusal(503, "SlowDown")) as server:
        resources.secret("keys", access_key_id="telecine", secret_access_key="secret-value")
        resources.create("Connection", "shelves", s3(server, "media"))
        status = resources.wait("Connection", "shelves", phase="SUSPENDED", reason="BreakerOpen")
        assert status["consecutiveFailures"] >= 3
        assert status["nextCheckTime"]
        server.answer = lambda _: Reply(200, listing(["a.txt"]))
        status = resources.wait("Connection", "shelves", phase="ACTIVE", consecutiveFailures=0)
    events = [e for e in resources.events("shelves") if e[1] == "BreakerOpen"]
    assert [kind for kind, _, _ in events] == ["Warning"]


def test_a_connection_that_is_not_to_be_tested_is_active_at_once(
    resources: Resources, tmp_path: Path
) -> None:
    spec = {**local(tmp_path / "absent"), "testBeforeUse": False}
    resources.create("Connection", "disk", spec)
    resources.wait("Connection", "disk", phase="ACTIVE", reason="NotChecked")
    resources.patch("Connection", "disk", {"spec": {"testBeforeUse": True}})
    resources.wait("Connection", "disk", phase="FAILED", ready=False)


def test_a_request_is_acted_on_and_acknowledged(resources: Resources, tmp_path: Path) -> None:
    resources.create("Connection", "disk", local(tmp_path / "later"))
    resources.wait("Connection", "disk", phase="FAILED")
    (tmp_path / "later").mkdir()
    resources.request("Connection", "disk", "now")
    resources.wait("Connection", "disk", phase="ACTIVE", lastHandledReconcileAt="now")
    resources.create("Namespace", "library", EXTRACTORS)
    resources.wait("Namespace", "library", phase="ACTIVE")
    resources.request("Namespace", "library", "later")
    resources.wait("Namespace", "library", lastHandledReconcileAt="later")


def test_nothing_is_written_when_nothing_changed(resources: Resources, folder: Path) -> None:
    kinds = {"Namespace": "library", "Connection": "disk", "Bucket": "books"}
    specs = {"Namespace": EXTRACTORS, "Connection": local(folder), "Bucket": BUCKET}
    for kind, name in kinds.items():
        resources.create(kind, name, specs[kind])
    for kind, name in kinds.items():
        resources.wait(kind, name, phase="ACTIVE", ready=True)
    resources.wait("Namespace", "library", buckets=1)
    # An annotation of somebody else has each looked at again; the last of the looks is over when
    # a resource made after them is ready.
    marked = {
        kind: resources.patch(kind, name, {"metadata": {"annotations": {"example.com/seen": "1"}}})
        for kind, name in kinds.items()
    }
    resources.create("Bucket", "later", {"namespaceRef": {"name": "absent"}, "blobType": "text"})
    resources.wait("Bucket", "later", reason="ReferenceNotFound")
    for kind, name in kinds.items():
        versions = [
            body["metadata"]["resourceVersion"]
            for body in (marked[kind], resources.get(kind, name))
        ]
        assert versions[0] == versions[1], kind


def test_a_new_model_answers_only_when_its_collection_is_filled(
    resources: Resources, weaviate: WeaviateSettings
) -> None:
    resources.create("Namespace", "library", EXTRACTORS)
    first = resources.wait("Namespace", "library", phase="ACTIVE", ready=True)["serving"][0]
    record = an_object(resources.namespace, [recipe_key(first)])
    with open_index(weaviate) as index:
        ledger = index.ledger(tenant_of(resources))
        ledger.insert([record])
        other = {"name": "text_extractor", "parameters": {"model": "another/model"}}
        resources.patch("Namespace", "library", {"spec": {"featureExtractors": [other]}})
        status = resources.wait("Namespace", "library", observedGeneration=2, ready=True)
        assert status["serving"] == [first]
        assert "1 objects to go" in resources.condition("Namespace", "library")["message"]
        wanted = recipe(FeatureExtractor.model_validate(other)).key
        ledger.patch({record.id: {"recipes": [wanted]}})
        resources.request("Namespace", "library", "now")
        status = resources.wait("Namespace", "library", lastHandledReconcileAt="now")
        assert status["serving"][0]["parameters"] == {"model": "another/model"}
        assert status["serving"][0]["collection"] != first["collection"]
        old = index.documents(tenant_of(resources), first["collection"])
        assert old.count() == 0


def test_a_deleted_bucket_is_unindexed_and_an_orphaned_one_is_not(
    resources: Resources, weaviate: WeaviateSettings
) -> None:
    resources.create("Namespace", "library", EXTRACTORS)
    resources.create("Bucket", "books", BUCKET)
    resources.create("Bucket", "kept", {**BUCKET, "deletionPolicy": "Orphan"})
    for name in ("books", "kept"):
        resources.wait("Bucket", name, phase="ACTIVE", ready=True)
    records = [an_object(resources.namespace, [], bucket) for bucket in ("books", "kept")]
    with open_index(weaviate) as index:
        ledger = index.ledger(tenant_of(resources))
        ledger.insert(records)
        for name in ("books", "kept"):
            resources.delete("Bucket", name)
            eventually(lambda name=name: not resources.exists("Bucket", name))
        assert [record.bucket for record in ledger.scan_all()] == ["kept"]
    assert "ObjectDeleted" in {reason for _, reason, _ in resources.events("books")}


def test_a_bucket_of_a_suspended_namespace_is_unindexed_as_well(
    resources: Resources, weaviate: WeaviateSettings
) -> None:
    resources.create("Namespace", "library", EXTRACTORS)
    resources.create("Bucket", "books", BUCKET)
    resources.wait("Bucket", "books", phase="ACTIVE", ready=True)
    with open_index(weaviate) as index:
        index.ledger(tenant_of(resources)).insert([an_object(resources.namespace, [])])
        resources.patch("Namespace", "library", {"spec": {"state": "SUSPENDED"}})
        resources.wait("Namespace", "library", phase="SUSPENDED")
        resources.delete("Bucket", "books")
        eventually(lambda: not resources.exists("Bucket", "books"))
        assert index.tenant_state(tenant_of(resources)) == "INACTIVE"
        resources.patch("Namespace", "library", {"spec": {"state": "ACTIVE"}})
        resources.wait("Namespace", "library", phase="ACTIVE", tenantState="ACTIVE")
        assert not list(index.ledger(tenant_of(resources)).scan_all())

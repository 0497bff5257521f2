"""`kubectl delete` of everything in any order ends, also with Weaviate down."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest
from lightkube import ApiError, Client
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Namespace
from telecine.dev.processes import free_ports
from telecine.index.client import WeaviateSettings, open_index

from tests.integration.operator_process import Resources, eventually, operator

KINDS = {"Namespace": "library", "Bucket": "books", "Connection": "disk", "Sync": "texts"}
ORDERS = list(itertools.permutations(KINDS))[::5]
FAST = {"retry_base_seconds": 0.2, "retry_cap_seconds": 0.5, "cleanup_seconds": 20}


class Cluster(Protocol):
    def client(self) -> Client: ...


@pytest.fixture
def resources(cluster: Cluster, kube_namespace: str) -> Resources:
    return Resources(cluster.client(), kube_namespace)


@pytest.fixture
def env(operator_env: dict[str, str], resources: Resources, tmp_path: Path) -> dict[str, str]:
    """The operator of the test's Kubernetes namespace alone."""
    return {
        **operator_env,
        "TELECINE_KUBE_NAMESPACE": resources.namespace,
        "TELECINE_STATE_DIR": str(tmp_path / "state"),
    }


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Path]:
    """The log of all operators of the test, shown when the test fails."""
    path = tmp_path / "operator.log"
    yield path
    print(path.read_text()[-6000:])


def create_all(resources: Resources, folder: Path, **policies: str) -> None:
    """One of each kind, of which one refers to the other; the Sync is at rest."""
    folder.mkdir(exist_ok=True)
    specs: dict[str, dict[str, Any]] = {
        "Namespace": {"featureExtractors": [{"name": "text_extractor"}]},
        "Bucket": {"namespaceRef": {"name": "library"}, "blobType": "text"},
        "Connection": {"provider": "local", "local": {"path": str(folder)}},
        "Sync": {
            "bucketRef": {"name": "books"},
            "connectionRef": {"name": "disk"},
            "deletionPolicy": "Delete",
            "suspend": True,
        },
    }
    for kind, name in KINDS.items():
        resources.create(kind, name, specs[kind])
    for kind in ("Namespace", "Bucket", "Connection"):
        resources.wait(kind, KINDS[kind], phase="ACTIVE", ready=True)
    resources.wait("Sync", "texts", phase="SUSPENDED")


def gone(resources: Resources) -> bool:
    return not any(resources.exists(kind, name) for kind, name in KINDS.items())


def test_deleting_everything_in_any_order_ends_and_leaves_no_tenant(
    resources: Resources,
    env: dict[str, str],
    log: Path,
    tmp_path: Path,
    weaviate: WeaviateSettings,
) -> None:
    tenant = f"{resources.namespace}_library"
    with operator(env, log, **FAST), open_index(weaviate) as index:
        for order in ORDERS:
            create_all(resources, tmp_path / "assets")
            assert index.tenant_state(tenant) == "ACTIVE"
            for kind in order:
                resources.delete(kind, KINDS[kind])
            eventually(lambda: gone(resources), what=f"all go in the order {order}")
            assert index.tenant_state(tenant) is None
    assert not [e for e in resources.events("library") if e[1] == "CleanupSkipped"]


def test_deleting_the_kubernetes_namespace_with_all_in_it_ends(
    cluster: Cluster,
    operator_env: dict[str, str],
    log: Path,
    tmp_path: Path,
    weaviate: WeaviateSettings,
) -> None:
    client = cluster.client()
    name = f"test-{uuid.uuid4().hex[:10]}"
    client.create(Namespace(metadata=ObjectMeta(name=name)))
    resources = Resources(client, name)
    env = {**operator_env, "TELECINE_STATE_DIR": str(tmp_path), "TELECINE_KUBE_NAMESPACE": name}
    with operator(env, log, **FAST), open_index(weaviate) as index:
        create_all(resources, tmp_path / "assets")
        resources.client.delete(Namespace, resources.namespace)
        eventually(lambda: absent(resources), what="the Kubernetes namespace goes")
        assert index.tenant_state(f"{resources.namespace}_library") is None


def absent(resources: Resources) -> bool:
    try:
        resources.client.get(Namespace, resources.namespace)
    except ApiError as error:
        return bool(error.status.code == 404)
    return False


def test_deleting_everything_ends_with_weaviate_down(
    resources: Resources,
    env: dict[str, str],
    log: Path,
    tmp_path: Path,
    weaviate: WeaviateSettings,
) -> None:
    with operator(env, log, **FAST):
        create_all(resources, tmp_path / "assets")
    http, grpc = free_ports(2)
    down = {
        "weaviate_endpoint": f"http://127.0.0.1:{http}",
        "weaviate_grpc_port": grpc,
        **FAST,
        "cleanup_seconds": 3,
    }
    with operator(env, log, **down):
        for kind, name in KINDS.items():
            resources.delete(kind, name)
        resources.wait("Namespace", "library", reason="Deleting", ready=False)
        eventually(lambda: gone(resources), what="all go although Weaviate is down")
    skipped = [e for e in resources.events("library") if e[1] == "CleanupSkipped"]
    assert [kind for kind, _, _ in skipped] == ["Warning"]
    assert f"tenant {resources.namespace}_library stays" in skipped[0][2]
    with open_index(weaviate) as index:
        assert index.tenant_state(f"{resources.namespace}_library") == "ACTIVE"
        index.drop_tenant(f"{resources.namespace}_library")


def test_a_weaviate_that_comes_back_in_time_is_cleaned_up(
    resources: Resources,
    env: dict[str, str],
    log: Path,
    tmp_path: Path,
    weaviate: WeaviateSettings,
) -> None:
    with operator(env, log, **FAST):
        create_all(resources, tmp_path / "assets")
    http, grpc = free_ports(2)
    down = {"weaviate_endpoint": f"http://127.0.0.1:{http}", "weaviate_grpc_port": grpc}
    with operator(env, log, **{**FAST, **down, "cleanup_seconds": 600}):
        resources.delete("Namespace", "library")
        resources.wait("Namespace", "library", reason="Deleting", ready=False)
    with operator(env, log, **{**FAST, "cleanup_seconds": 600}), open_index(weaviate) as index:
        eventually(lambda: not resources.exists("Namespace", "library"))
        assert index.tenant_state(f"{resources.namespace}_library") is None
        for kind in ("Sync", "Bucket", "Connection"):
            resources.delete(kind, KINDS[kind])
        eventually(lambda: gone(resources))


def test_weaviate_out_of_reach_is_a_condition_and_heals(
    resources: Resources, env: dict[str, str], log: Path, tmp_path: Path
) -> None:
    http, grpc = free_ports(2)
    down = {"weaviate_endpoint": f"http://127.0.0.1:{http}", "weaviate_grpc_port": grpc}
    spec = {"featureExtractors": [{"name": "text_extractor"}]}
    resources.create("Namespace", "library", spec)
    with operator(env, log, **{**FAST, **down}) as process:
        resources.wait("Namespace", "library", phase="PENDING", reason="IndexUnavailable")
        assert process.poll() is None
    with operator(env, log, **FAST):
        resources.wait("Namespace", "library", phase="ACTIVE", ready=True)
        resources.delete("Namespace", "library")
        eventually(lambda: not resources.exists("Namespace", "library"))

"""`telecine release` on a real API server, with the rights that the chart gives it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import Namespace
from telecine.api.base import FINALIZER
from telecine.cli import app
from typer.testing import CliRunner

from tests.integration.conftest import Cluster
from tests.integration.operator_process import Resources, eventually
from tests.integration.test_chart import helm, kubeconfig, of, rendered

__all__ = ["helm"]
_TEXTS = {"featureExtractors": [{"name": "text_extractor"}]}
_LOCAL = {"provider": "local", "local": {"path": "/tmp"}}


@pytest.fixture
def resources(cluster: Cluster, kube_namespace: str) -> Resources:
    return Resources(cluster.client(), kube_namespace)


def test_what_was_held_is_let_go_and_stays(
    cluster: Cluster, helm: Path, resources: Resources, kube_namespace: str, tmp_path: Path
) -> None:
    bodies = rendered(helm, f"watchNamespace={kube_namespace}", ns=kube_namespace)
    rights = [b for b in bodies if b["kind"] in ("ServiceAccount", "Role", "RoleBinding")]
    done = cluster.kubectl("apply", "-f", "-", input=yaml.safe_dump_all(rights))
    assert done.returncode == 0, done.stderr
    client = resources.client
    client.create(Deployment.from_dict(of(bodies, "Deployment", "operator")))
    held, others = [FINALIZER], [FINALIZER, "example.com/mine"]
    resources.create("Namespace", "library", _TEXTS, finalizers=held)
    resources.create("Connection", "desk", _LOCAL, finalizers=others)
    resources.create("Bucket", "free", {"namespaceRef": {"name": "library"}, "blobType": "text"})
    resources.create("Connection", "going", _LOCAL, finalizers=held)
    resources.delete("Connection", "going")
    assert resources.exists("Connection", "going")

    config = kubeconfig(cluster, "telecine-release", kube_namespace, tmp_path / "config.yaml")
    runner = CliRunner(env={"KUBECONFIG": str(config)})
    line = [
        "release",
        f"--operator={kube_namespace}/telecine-operator",
        f"--watch-namespace={kube_namespace}",
    ]
    told = runner.invoke(app, line)
    assert told.exit_code == 0, told.output
    assert "telecine-operator has ended" in told.output
    assert "namespaces released: 1" in told.output
    assert "connections released: 2" in told.output
    assert "buckets released: 0" in told.output
    scaled = client.get(Deployment, "telecine-operator", namespace=kube_namespace)
    assert scaled.spec is not None
    assert scaled.spec.replicas == 0
    eventually(lambda: not resources.exists("Connection", "going"))
    assert resources.get("Connection", "desk")["metadata"]["finalizers"] == ["example.com/mine"]
    assert "finalizers" not in resources.get("Namespace", "library")["metadata"]

    again = runner.invoke(app, line)
    assert again.exit_code == 0, again.output
    assert "connections released: 0" in again.output
    resources.patch("Connection", "desk", {"metadata": {"finalizers": None}})


def test_what_may_not_be_done_is_told(
    cluster: Cluster, kube_namespace: str, tmp_path: Path
) -> None:
    client = cluster.client()
    other = f"{kube_namespace}-other"
    client.create(Namespace(metadata=ObjectMeta(name=other)))
    cluster.kubectl("create", "serviceaccount", "nobody", "-n", other)
    config = kubeconfig(cluster, "nobody", other, tmp_path / "config.yaml")
    told = CliRunner(env={"KUBECONFIG": str(config)}).invoke(app, ["release"])
    assert told.exit_code == 1
    assert "cannot list resource" in told.output
    client.delete(Namespace, other)

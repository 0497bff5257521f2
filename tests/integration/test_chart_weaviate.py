"""The Weaviate that the chart can install: its manifests, and a real Weaviate run as they say."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml
from lightkube import ApiError
from lightkube.resources.core_v1 import PersistentVolumeClaim, Secret
from telecine.dev import binaries
from telecine.dev.catalog import WEAVIATE
from telecine.dev.processes import free_ports
from telecine.index.client import WeaviateSettings, open_index

from tests.integration.conftest import Cluster
from tests.integration.operator_process import eventually
from tests.integration.test_chart import CHART, helm, of, rendered, restricted, run, template

__all__ = ["helm", "restricted"]
SUBCHART = CHART / "charts" / "weaviate"
INSTALL = "weaviate.install=true"
Body = dict[str, Any]


def container_of(bodies: list[Body]) -> Body:
    (container,) = of(bodies, "StatefulSet")["spec"]["template"]["spec"]["containers"]
    return dict(container)


def test_there_is_none_unless_it_is_asked_for(helm: Path) -> None:
    assert not any("StatefulSet" in b["kind"] for b in rendered(helm))
    assert any("StatefulSet" in b["kind"] for b in rendered(helm, INSTALL))


@pytest.mark.parametrize("more", ["networkPolicy.enabled=true", "weaviateServer.existingSecret=k"])
def test_it_lints_strictly(helm: Path, more: str) -> None:
    done = run(helm, "lint", "--strict", str(CHART), "--set", INSTALL, "--set", more)
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_is_the_version_that_telecine_is_tested_with(helm: Path) -> None:
    image = container_of(rendered(helm, INSTALL))["image"]
    assert image == f"cr.weaviate.io/semitechnologies/weaviate:{WEAVIATE}"
    assert yaml.safe_load((SUBCHART / "Chart.yaml").read_text())["appVersion"] == WEAVIATE


def test_the_chart_takes_the_values_that_the_subchart_knows() -> None:
    own = json.loads((SUBCHART / "values.schema.json").read_text())["properties"]
    parent = json.loads((CHART / "values.schema.json").read_text())["properties"]
    assert parent["weaviateServer"]["properties"].keys() == own.keys()
    values = yaml.safe_load((SUBCHART / "values.yaml").read_text())
    assert values.keys() | {"global"} == own.keys()


def test_operator_and_gateway_are_pointed_at_it(helm: Path) -> None:
    bodies = rendered(helm, INSTALL)
    service = of(bodies, "Service", "weaviate")
    ports = {port["name"]: port["port"] for port in service["spec"]["ports"]}
    host = f"{service['metadata']['name']}.apps.svc"
    for component in ("operator", "gateway"):
        (container,) = of(bodies, "Deployment", component)["spec"]["template"]["spec"]["containers"]
        env = {one["name"]: one["value"] for one in container["env"]}
        assert env["TELECINE_WEAVIATE_ENDPOINT"] == f"http://{host}:{ports['http']}"
        assert env["TELECINE_WEAVIATE_GRPC_HOST"] == host
        assert env["TELECINE_WEAVIATE_GRPC_PORT"] == str(ports["grpc"])
        assert env["TELECINE_WEAVIATE_SECRET"] == "apps/telecine-weaviate"
    labels = of(bodies, "StatefulSet")["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()


def test_its_key_is_lent_and_taken_back_as_any_other(helm: Path) -> None:
    bodies = rendered(helm, INSTALL, "watchNamespace=media")
    for component in ("operator", "gateway"):
        role = of(bodies, "Role", f"{component}-key")
        (rule,) = [rule for rule in role["rules"] if rule["resources"] == ["secrets"]]
        assert (role["metadata"]["namespace"], rule["verbs"]) == ("apps", ["get"])
        assert rule["resourceNames"] == ["telecine-weaviate"]
    dropped = of(bodies, "Role", "release-key")["rules"][1]["resourceNames"]
    assert dropped == ["telecine-key-telecine-weaviate"]
    (job,) = of(bodies, "Job", "release")["spec"]["template"]["spec"]["containers"]
    assert {"name": "TELECINE_WEAVIATE_SECRET", "value": "apps/telecine-weaviate"} in job["env"]


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ("weaviate.endpoint=http://w:80", "weaviate.endpoint is of a Weaviate that is there"),
        ("weaviate.grpcHost=w", "weaviate.grpcHost is of a Weaviate that is there"),
        ("weaviate.grpcPort=50052", "weaviate.grpcPort is of a Weaviate that is there"),
        ("weaviate.secret=a/b", "weaviate.secret is of a Weaviate that is there"),
        ("weaviateServer.storage.sise=1Gi", "sise"),
        ("weaviateServer.storage.size=much", "size"),
        ("weaviateServer.endpoint=http://w:80", "endpoint"),
        ("weaviateServer.settings.CLUSTER_BASIC_AUTH_PASSWORD=x", "CLUSTER_BASIC_AUTH_PASSWORD"),
    ],
)
def test_what_contradicts_it_is_refused_by_name(helm: Path, value: str, named: str) -> None:
    done = template(helm, "telecine", "--set", INSTALL, "--set", value)
    assert done.returncode != 0
    assert named in done.stderr


def test_a_wrong_value_is_refused_also_where_none_is_installed(helm: Path) -> None:
    done = template(helm, "telecine", "--set", "weaviateServer.storge.size=1Gi")
    assert done.returncode != 0
    assert "storge" in done.stderr


def test_its_volume_is_as_asked_for_and_outlives_an_uninstall(helm: Path) -> None:
    sizes = ("weaviateServer.storage.size=1Ti", "weaviateServer.storage.storageClass=fast")
    spec = of(rendered(helm, INSTALL, *sizes), "StatefulSet")["spec"]
    (claim,) = spec["volumeClaimTemplates"]
    assert claim["spec"]["resources"]["requests"]["storage"] == "1Ti"
    assert claim["spec"]["storageClassName"] == "fast"
    assert spec["persistentVolumeClaimRetentionPolicy"]["whenDeleted"] == "Retain"
    (claim,) = of(rendered(helm, INSTALL), "StatefulSet")["spec"]["volumeClaimTemplates"]
    assert "storageClassName" not in claim["spec"]


def test_only_its_two_ports_are_reached(helm: Path) -> None:
    bodies = rendered(helm, INSTALL)
    policy = of(bodies, "NetworkPolicy", "weaviate")["spec"]
    labels = of(bodies, "StatefulSet")["spec"]["template"]["metadata"]["labels"]
    assert policy["podSelector"]["matchLabels"].items() <= labels.items()
    assert policy["ingress"] == [{"ports": [{"port": "http"}, {"port": "grpc"}]}]
    names = {port["name"] for port in container_of(bodies)["ports"]}
    assert names == {port["name"] for port in of(bodies, "Service", "weaviate")["spec"]["ports"]}
    bodies = rendered(helm, INSTALL, "networkPolicy.enabled=false")
    assert not any(b["kind"] == "NetworkPolicy" for b in bodies)


def test_upgrades_keep_the_key_and_an_uninstall_the_volume(
    cluster: Cluster, helm: Path, kube_namespace: str
) -> None:
    def do(*arguments: str) -> None:
        line = [helm, *arguments, "-n", kube_namespace]
        env = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig)}
        done = subprocess.run(line, env=env, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr

    def key() -> str:
        with cluster.client() as client:
            data = client.get(Secret, "telecine-weaviate", namespace=kube_namespace).data
            return base64.b64decode((data or {})["api_key"]).decode()

    def claims() -> list[str]:
        with cluster.client() as client:
            found = client.list(PersistentVolumeClaim, namespace=kube_namespace)
            return [str(one.metadata.name) for one in found if one.metadata]

    one = ["telecine", str(CHART), "--set", f"{INSTALL},crds.enabled=false"]
    one += ["--set", f"watchNamespace={kube_namespace}"]
    do("install", *one)
    made = key()
    assert len(made) == 40
    do("upgrade", *one, "--set", "weaviateServer.resources.limits.memory=8Gi")
    assert key() == made
    eventually(claims, what="the volume is claimed")
    # No node runs the hook here.
    do("uninstall", "telecine", "--no-hooks")
    with pytest.raises(ApiError, match="not found"):
        key()
    assert claims() == ["data-telecine-weaviate-0"]
    do("install", *one)
    assert key() != made
    do("uninstall", "telecine", "--no-hooks")


def test_a_key_that_is_given_is_used_and_none_is_made(helm: Path) -> None:
    bodies = rendered(helm, INSTALL, "weaviateServer.existingSecret=mine")
    assert not any(b["kind"] == "Secret" for b in bodies)
    refs = [one["valueFrom"]["secretKeyRef"] for one in container_of(bodies)["env"]
            if "valueFrom" in one]  # fmt: skip
    assert refs == [{"name": "mine", "key": "api_key"}] * 2
    assert "apps/mine" in str(of(bodies, "Deployment", "operator"))


def test_the_api_server_takes_it_where_restricted_is_enforced(
    cluster: Cluster, helm: Path, restricted: str
) -> None:
    bodies = rendered(helm, INSTALL, "crds.enabled=false", ns=restricted)
    made = cluster.kubectl("apply", "--dry-run=server", "-f", "-", input=yaml.safe_dump_all(bodies))
    assert made.returncode == 0, made.stderr
    assert "Warning" not in made.stderr
    cluster.kubectl("create", "serviceaccount", "default", "-n", restricted)
    spec = of(bodies, "StatefulSet")["spec"]["template"]["spec"]
    # What the controller of StatefulSets does with the claim.
    spec["volumes"].append({"name": "data", "persistentVolumeClaim": {"claimName": "data-0"}})
    metadata = {"name": "weaviate-0", "namespace": restricted}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
    done = cluster.kubectl("create", "--dry-run=server", "-f", "-", input=json.dumps(pod))
    assert done.returncode == 0, done.stderr


@dataclass(frozen=True)
class Running:
    """A Weaviate that runs by the container's arguments and variables."""

    url: str
    inside: str
    """Where its nodes would speak to each other."""
    grpc: int
    key: str
    folder: Path


@pytest.fixture
def running(helm: Path, tmp_path: Path) -> Iterator[Running]:
    http, grpc, gossip, data, raft, rpc = free_ports(6)
    ports = {"CLUSTER_GOSSIP_BIND_PORT": gossip, "CLUSTER_DATA_BIND_PORT": data,
             "RAFT_PORT": raft, "RAFT_INTERNAL_RPC_PORT": rpc, "GRPC_PORT": grpc}  # fmt: skip
    given = [f"weaviateServer.settings.{name}={port}" for name, port in ports.items()]
    flags = [part for value in given for part in ("--set-string", value)]
    done = template(helm, "telecine", "--set", INSTALL, *flags)
    assert done.returncode == 0, done.stderr
    bodies = [body for body in yaml.safe_load_all(done.stdout) if body]
    container = container_of(bodies)
    key = base64.b64decode(of(bodies, "Secret", "weaviate")["data"]["api_key"]).decode()
    env = {one["name"]: one.get("value", key) for one in container["env"]}
    env["PERSISTENCE_DATA_PATH"] = str(tmp_path / "data")
    there = {"8080": str(http), "0.0.0.0": "127.0.0.1"}
    line = [there.get(argument, argument) for argument in container["args"]]
    (tmp_path / "cwd").mkdir()
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [binaries.ensure(["weaviate"])["weaviate"], *line],
            env=env,
            cwd=tmp_path / "cwd",
            stdout=log,
            stderr=log,
        )
    try:
        url, inside = (f"http://127.0.0.1:{port}" for port in (http, data))
        path = container["readinessProbe"]["httpGet"]["path"]
        eventually(lambda: status(process, f"{url}{path}") == 200, what="it is ready")
        yield Running(url, inside, grpc, key, tmp_path)
    finally:
        process.terminate()
        process.wait(60)


def status(process: subprocess.Popen[bytes], url: str) -> int:
    assert process.poll() is None
    try:
        return httpx2.get(url, trust_env=False).status_code
    except httpx2.HTTPError:
        return 0


def test_a_weaviate_run_so_serves_who_has_the_key_and_nobody_else(running: Running) -> None:
    def ask(url: str, **options: Any) -> int:
        return httpx2.get(url, trust_env=False, **options).status_code

    bearer = {"Authorization": f"Bearer {running.key}"}
    assert ask(f"{running.url}/v1/.well-known/live") == 200
    assert ask(f"{running.url}/v1/schema") == 401
    assert ask(f"{running.url}/v1/schema", headers={"Authorization": "Bearer other"}) == 401
    assert ask(f"{running.url}/v1/schema", headers=bearer) == 200
    assert ask(f"{running.inside}/nodes/status") == 401
    assert ask(f"{running.inside}/nodes/status", auth=("telecine", running.key)) == 200
    settings = WeaviateSettings(running.url, grpc_port=running.grpc, api_key=running.key)
    with open_index(settings) as index:
        assert index.document_collections() == []
    # Its root is read-only: it writes to its volume alone.
    assert not any((running.folder / "cwd").iterdir())
    assert any((running.folder / "data").iterdir())

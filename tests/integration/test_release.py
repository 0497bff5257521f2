"""`telecine release` on a real API server, with the rights that the chart gives it."""

from __future__ import annotations

import importlib
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from lightkube import Client
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.batch_v1 import Job
from lightkube.resources.core_v1 import Pod
from telecine.api.base import FINALIZER
from telecine.cli import app
from telecine.execution.jobs import MANAGED, STEP_LABEL
from typer.testing import CliRunner, Result

from tests.integration.conftest import Cluster
from tests.integration.operator_process import Resources, eventually
from tests.integration.test_chart import CHART, KINDS, allowed, helm, kubeconfig, of, rendered, run

__all__ = ["helm"]
Hook = Callable[..., Result]
# The package has the command under the module's name.
release = importlib.import_module("telecine.cli.release")
_TEXTS = {"featureExtractors": [{"name": "text_extractor"}]}
_LOCAL = {"provider": "local", "local": {"path": "/tmp"}}


@pytest.fixture
def resources(cluster: Cluster, kube_namespace: str) -> Iterator[Resources]:
    with cluster.client() as client:
        yield Resources(client, kube_namespace)


@pytest.fixture
def hook(cluster: Cluster, helm: Path, kube_namespace: str, tmp_path: Path) -> Hook:
    """Runs what the chart's hook runs, with the hook's rights; the operator is not installed."""
    bodies = rendered(helm, f"watchNamespace={kube_namespace}", ns=kube_namespace)
    rights = [b for b in bodies if b["kind"] in ("ServiceAccount", "Role", "RoleBinding")]
    done = cluster.kubectl("apply", "-f", "-", input=yaml.safe_dump_all(rights))
    assert done.returncode == 0, done.stderr
    (container,) = of(bodies, "Job", "release")["spec"]["template"]["spec"]["containers"]
    program, *line = container["command"]
    assert program == "telecine"
    config = kubeconfig(cluster, "telecine-release", kube_namespace, tmp_path / "config.yaml")
    # It gets no address of Weaviate: whatever it did to an index would fail.
    nowhere = {"TELECINE_WEAVIATE_ENDPOINT": "http://127.0.0.1:1"}
    runner = CliRunner(env={"KUBECONFIG": str(config), **nowhere})
    return lambda *more: runner.invoke(app, [*line, *more])


def deployment(helm: Path, namespace: str) -> Deployment:
    bodies = rendered(helm, f"watchNamespace={namespace}", ns=namespace)
    return Deployment.from_dict(of(bodies, "Deployment", "operator"))


def test_what_was_held_is_let_go_and_stays(
    helm: Path, resources: Resources, kube_namespace: str, hook: Hook
) -> None:
    client = resources.client
    client.create(deployment(helm, kube_namespace))
    held, others = [FINALIZER], ["example.com/mine", FINALIZER, "example.com/yours"]
    resources.create("Namespace", "library", _TEXTS, finalizers=held)
    resources.create("Connection", "desk", _LOCAL, finalizers=others)
    resources.create("Bucket", "free", {"namespaceRef": {"name": "library"}, "blobType": "text"})
    resources.create("Connection", "going", _LOCAL, finalizers=held)
    resources.delete("Connection", "going")
    assert resources.exists("Connection", "going")

    told = hook()
    assert told.exit_code == 0, told.output
    assert "telecine-operator has ended" in told.output
    assert "namespaces released: 1" in told.output
    assert "connections released: 2" in told.output
    assert "buckets released: 0" in told.output
    assert "nothing was held" not in told.output
    scaled = client.get(Deployment, "telecine-operator", namespace=kube_namespace)
    assert scaled.spec is not None
    assert scaled.spec.replicas == 0
    eventually(lambda: not resources.exists("Connection", "going"))
    left = resources.get("Connection", "desk")["metadata"]["finalizers"]
    assert left == ["example.com/mine", "example.com/yours"]
    assert "finalizers" not in resources.get("Namespace", "library")["metadata"]

    again = hook()
    assert again.exit_code == 0, again.output
    assert "connections released: 0" in again.output
    assert "nothing was held" in again.output
    resources.patch("Connection", "desk", {"metadata": {"finalizers": None}})


def test_without_an_operator_what_hangs_goes(
    resources: Resources, kube_namespace: str, hook: Hook
) -> None:
    resources.create("Connection", "desk", _LOCAL, finalizers=[FINALIZER])
    resources.delete("Connection", "desk")
    told = hook()
    assert told.exit_code == 0, told.output
    assert f"no Deployment {kube_namespace}/telecine-operator" in told.output
    assert "connections released: 1" in told.output
    assert not resources.exists("Connection", "desk")


def test_more_than_a_page_is_let_go(
    resources: Resources, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(release, "_PAGE", 2)
    for number in range(5):
        resources.create("Connection", f"desk-{number}", _LOCAL, finalizers=[FINALIZER])
    assert "connections released: 5" in hook().output


def test_what_changes_meanwhile_is_met_again(
    resources: Resources, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    resources.create("Connection", "desk", _LOCAL, finalizers=[FINALIZER])
    look, looks = release._held, []

    def held(*arguments: Any) -> Any:
        found = look(*arguments)
        if found and not looks:
            # Another controller's finalizer comes before ours.
            others = {"metadata": {"finalizers": ["example.com/mine", FINALIZER]}}
            resources.patch("Connection", "desk", others)
            looks.append(found)
        return found

    monkeypatch.setattr(release, "_held", held)
    told = hook()
    assert told.exit_code == 0, told.output
    assert "connections released: 1" in told.output
    left = resources.get("Connection", "desk")["metadata"]["finalizers"]
    assert left == ["example.com/mine"]
    resources.patch("Connection", "desk", {"metadata": {"finalizers": None}})


def test_the_jobs_of_runs_are_ended_and_no_others(
    resources: Resources, kube_namespace: str, hook: Hook
) -> None:
    client = resources.client
    for name, labels in {
        "of-a-run": {**MANAGED, STEP_LABEL: "sync"},
        "somebodys": dict(MANAGED),
    }.items():
        template = {
            "spec": {
                "restartPolicy": "Never",
                "containers": [{"name": "worker", "image": "none.invalid/none"}],
            }
        }
        metadata = {"name": name, "namespace": kube_namespace, "labels": labels}
        client.create(Job.from_dict({"metadata": metadata, "spec": {"template": template}}))
    pods = {"batch.kubernetes.io/job-name": "of-a-run"}
    eventually(lambda: list(client.list(Pod, namespace=kube_namespace, labels=pods)))
    told = hook()
    assert told.exit_code == 0, told.output
    assert "Jobs stopped: 1" in told.output
    left = [j.metadata.name for j in client.list(Job, namespace=kube_namespace) if j.metadata]
    assert left == ["somebodys"]
    eventually(lambda: not list(client.list(Pod, namespace=kube_namespace, labels=pods)))


def pod_of_the_operator(client: Client, made: Deployment, name: str, phase: str) -> None:
    assert made.metadata is not None
    assert made.spec is not None
    assert made.spec.template.metadata is not None
    labels = made.spec.template.metadata.labels
    metadata = ObjectMeta(name=name, namespace=made.metadata.namespace, labels=labels)
    containers = [{"name": "operator", "image": "none.invalid/none"}]
    body = {"metadata": metadata.to_dict(), "spec": {"containers": containers}}
    client.create(Pod.from_dict(body))
    client.patch(Pod.Status, name, {"status": {"phase": phase}}, namespace=metadata.namespace)


def test_it_waits_for_pods_that_run_and_not_for_those_that_were_evicted(
    helm: Path, resources: Resources, kube_namespace: str, hook: Hook
) -> None:
    client, made = resources.client, deployment(helm, kube_namespace)
    assert made.spec is not None
    made.spec.replicas = 0
    client.create(made)
    resources.create("Connection", "desk", _LOCAL, finalizers=[FINALIZER])
    pod_of_the_operator(client, made, "runs", "Running")
    told = hook("--timeout=1")
    assert told.exit_code == 1
    assert "did not end in time: pods runs" in told.output
    assert resources.get("Connection", "desk")["metadata"]["finalizers"] == [FINALIZER]
    client.delete(Pod, "runs", namespace=kube_namespace, grace_period=0)
    pod_of_the_operator(client, made, "evicted", "Failed")
    assert "connections released: 1" in hook().output


def test_what_may_not_be_done_is_told(
    cluster: Cluster, kube_namespace: str, tmp_path: Path
) -> None:
    cluster.kubectl("create", "serviceaccount", "nobody", "-n", kube_namespace)
    config = kubeconfig(cluster, "nobody", kube_namespace, tmp_path / "config.yaml")
    told = CliRunner(env={"KUBECONFIG": str(config)}).invoke(app, ["release"])
    assert told.exit_code == 1
    assert "cannot list resource" in told.output


RELEASE = {
    *(("telecine.dev", kind, verb) for kind in KINDS for verb in ("list", "patch")),
    ("batch", "jobs", "list"), ("batch", "jobs", "delete"),
}  # fmt: skip


def test_what_runs_before_an_uninstall_may_do_this_and_no_more(helm: Path) -> None:
    everywhere, one = rendered(helm), rendered(helm, "watchNamespace=media")
    assert allowed(of(everywhere, "ClusterRole", "release")) == RELEASE
    assert allowed(of(one, "Role", "release")) == RELEASE
    assert of(one, "Role", "release")["metadata"]["namespace"] == "media"
    rules = of(one, "Role", "operator-end")["rules"]
    assert of(one, "Role", "operator-end")["metadata"]["namespace"] == "apps"
    assert rules == [
        {
            "apiGroups": ["apps"],
            "resources": ["deployments"],
            "resourceNames": ["telecine-operator"],
            "verbs": ["get"],
        },
        {
            "apiGroups": ["apps"],
            "resources": ["deployments/scale"],
            "resourceNames": ["telecine-operator"],
            "verbs": ["patch"],
        },
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]},
    ]
    keyed = of(rendered(helm, "weaviate.secret=ops/key"), "Role", "release-key")
    assert keyed["metadata"]["namespace"] == "ops"
    assert [(r["resources"], r.get("resourceNames"), r["verbs"]) for r in keyed["rules"]] == [
        (["rolebindings"], None, ["list", "delete"]),
        (["roles"], ["telecine-key-key"], ["delete"]),
    ]
    hooks = [b for b in one if "helm.sh/hook" in (b["metadata"].get("annotations") or {})]
    kinds = ["Job", "Role", "Role", "RoleBinding", "RoleBinding", "ServiceAccount"]
    assert sorted(b["kind"] for b in hooks) == kinds
    assert {b["metadata"]["annotations"]["helm.sh/hook"] for b in hooks} == {"pre-delete"}
    assert not any("hook" in str(b["metadata"]) for b in rendered(helm, "uninstall.release=false"))


@pytest.mark.parametrize("executor", ["kubernetes", "process"])
def test_it_runs_where_the_operator_does_by_the_same_image(helm: Path, executor: str) -> None:
    bodies = rendered(
        helm,
        f"workers.executor={executor}",
        "image.pullPolicy=Always",
        "operator.nodeSelector.disk=fast",
        "operator.tolerations[0].key=media",
        "operator.priorityClassName=high",
    )
    operator, hook = (
        of(bodies, kind, name)["spec"]["template"]["spec"]
        for kind, name in (("Deployment", "operator"), ("Job", "release"))
    )
    for field in ("nodeSelector", "tolerations", "priorityClassName"):
        assert operator[field] == hook[field]
    for field in ("image", "imagePullPolicy"):
        assert operator["containers"][0][field] == hook["containers"][0][field]


def test_it_is_bounded_in_time_before_helm_gives_up(helm: Path) -> None:
    spec = of(rendered(helm), "Job", "release")["spec"]
    assert spec["activeDeadlineSeconds"] < 300


def test_an_uninstall_runs_it_and_leaves_nothing_of_its_own(
    cluster: Cluster, helm: Path, resources: Resources, kube_namespace: str, tmp_path: Path
) -> None:
    client = resources.client
    own = [f"--kubeconfig={cluster.kubeconfig}", f"--namespace={kube_namespace}"]
    values = f"watchNamespace={kube_namespace},crds.enabled=false,weaviate.install=true"
    done = run(helm, "install", "telecine", str(CHART), "--set", values, *own)
    assert done.returncode == 0, done.stderr
    resources.create("Connection", "desk", _LOCAL, finalizers=[FINALIZER])
    operator = {"app.kubernetes.io/component": "operator"}
    eventually(lambda: list(client.list(Pod, namespace=kube_namespace, labels=operator)))
    leaving = subprocess.Popen(
        [helm, "uninstall", "telecine", "--timeout=60s", *own],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    # No node is there to run the hook's Pod: this test does, as the account that the Pod names.
    labels = {"batch.kubernetes.io/job-name": "telecine-release"}
    (pod,) = eventually(lambda: list(client.list(Pod, namespace=kube_namespace, labels=labels)))
    spec = pod.to_dict()["spec"]
    account, (container,) = spec["serviceAccountName"], spec["containers"]
    config = kubeconfig(cluster, account, kube_namespace, tmp_path / "config.yaml")
    env = {one["name"]: one["value"] for one in container["env"]} | {"KUBECONFIG": str(config)}
    told = CliRunner(env=env).invoke(app, container["command"][1:])
    assert told.exit_code == 0, told.output
    assert "telecine-operator has ended" in told.output
    assert "connections released: 1" in told.output
    assert not list(client.list(Pod, namespace=kube_namespace, labels=operator))
    ended = {"status": {"phase": "Succeeded"}}
    client.patch(Pod.Status, pod.metadata.name, ended, namespace=kube_namespace)
    output, _ = leaving.communicate(timeout=90)
    assert leaving.returncode == 0, output
    kinds = "deployments,statefulsets,jobs,services,secrets,serviceaccounts,roles,rolebindings"
    listed = cluster.kubectl("get", kinds, "-o", "name", "-n", kube_namespace)
    assert listed.stdout.split() == ["serviceaccount/default"]
    assert "finalizers" not in resources.get("Connection", "desk")["metadata"]

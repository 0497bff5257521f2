"""`trigger` and `logs`, against a real API server and operator; the logs come from a node's kubelet
that has nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from lightkube import Client
from lightkube.codecs import from_dict
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.batch_v1 import Job
from lightkube.resources.core_v1 import Namespace as KubeNamespace
from lightkube.resources.core_v1 import Pod
from telecine.api.base import REQUESTED_AT
from telecine.cli import app
from telecine.cli.logs import OPERATOR
from telecine.execution.jobs import MANAGED, RUN_LABEL, SYNC_LABEL
from telecine.execution.kube import patch_status
from typer.testing import CliRunner, Result

from tests.integration.conftest import Cluster
from tests.integration.harness import PRIDE, WHALE
from tests.integration.operator_process import Resources, eventually, operator
from tests.integration.scripted_kubelet import Kubelet, scripted_kubelet

PLUGIN = Path(sys.executable).with_name("kubectl-telecine")


@dataclass(frozen=True)
class Site:
    """A folder that an operator indexes, and the plugin pointed at it."""

    resources: Resources
    folder: Path
    env: dict[str, str]
    kubectl: Path

    def run(self, *arguments: str) -> Result:
        runner = CliRunner(env={**self.env, "COLUMNS": "400"})
        result = runner.invoke(app, [*arguments, "-n", self.resources.namespace])
        assert result.exception is None or isinstance(result.exception, SystemExit), result
        return result

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Types `kubectl telecine …`."""
        path = f"{PLUGIN.parent}{os.pathsep}{os.environ['PATH']}"
        return subprocess.Popen(
            [self.kubectl, "telecine", *arguments, "-n", self.resources.namespace],
            env={**os.environ, **self.env, "PATH": path, "COLUMNS": "400"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def asked(self, kind: str, name: str) -> str | None:
        annotations = self.resources.get(kind, name)["metadata"].get("annotations") or {}
        found: str | None = annotations.get(REQUESTED_AT)
        return found

    def sync(self, name: str, **spec: object) -> None:
        references = {"connectionRef": {"name": "desk"}, "bucketRef": {"name": "papers"}}
        fixed = {"pollingIntervalSeconds": 86400, "fileFilters": {"extensions": ["txt"]}}
        self.resources.create("Sync", name, {**references, **fixed, **spec})


@pytest.fixture(scope="module")
def site(
    cluster: Cluster, operator_env: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("source")
    (folder / "whale.txt").write_text(WHALE)
    client, name = cluster.client(), f"plugin-{uuid.uuid4().hex[:10]}"
    client.create(KubeNamespace(metadata=ObjectMeta(name=name)))
    resources = Resources(client, name)
    made = Site(resources, folder, operator_env, cluster.kubectl_path)
    log = tmp_path_factory.mktemp("operator") / "operator.log"
    extractors = [{"name": "text_extractor", "version": "v1"}]
    with client, operator(operator_env, log, kube_namespace=name, retry_base_seconds=3600):
        resources.create("Namespace", "library", {"featureExtractors": extractors})
        local = {"path": str(folder)}
        resources.create("Connection", "desk", {"provider": "local", "local": local})
        resources.create(
            "Bucket", "papers", {"namespaceRef": {"name": "library"}, "blobType": "text"}
        )
        made.sync("reading")
        resources.wait("Sync", "reading", phase="COMPLETED", seconds=180)
        yield made
        resources.made.reverse()
        resources.delete_all()
        for kind, gone in resources.made:
            eventually(lambda k=kind, n=gone: not resources.exists(k, n), 60)  # type: ignore[misc]
        client.delete(KubeNamespace, name)


@pytest.fixture
def kubelet(site: Site, tmp_path: Path) -> Iterator[Kubelet]:
    client = site.resources.client
    with scripted_kubelet(client, f"node-{uuid.uuid4().hex[:8]}", tmp_path) as made:
        yield made
        for pod in list(client.list(Pod, namespace=site.resources.namespace)):
            assert pod.metadata is not None
            assert pod.metadata.name is not None
            client.delete(
                Pod, pod.metadata.name, namespace=site.resources.namespace, grace_period=0
            )


def labels(run: str, sync: str = "reading") -> dict[str, str]:
    return {**MANAGED, SYNC_LABEL: sync, RUN_LABEL: run}


def test_trigger_waits_for_its_run_and_prints_the_result(site: Site) -> None:
    (site.folder / "pride.txt").write_text(PRIDE)
    result = site.run("trigger", "sync/reading", "--wait")
    assert result.exit_code == 0, result.output
    status = site.resources.status("Sync", "reading")
    assert status["lastHandledReconcileAt"] == site.asked("Sync", "reading")
    run = status["history"][0]
    assert run["trigger"] == "requested"
    assert f"run {run['id']} COMPLETED in" in result.stdout
    assert "2 objects indexed from 2 assets" in result.stdout


def test_trigger_asks_and_returns(site: Site) -> None:
    before = site.asked("Sync", "reading")
    result = site.run("trigger", "reading")
    assert (result.exit_code, result.stdout) == (0, "sync/reading: asked for a run\n")
    asked = site.asked("Sync", "reading")
    assert asked != before
    site.resources.wait("Sync", "reading", lastHandledReconcileAt=asked)


def test_the_plugin_is_called_through_kubectl(site: Site) -> None:
    out, err = site.start("trigger", "tconn/desk", "--wait").communicate(timeout=60)
    assert "connection/desk: asked for a look\nACTIVE (Checked):" in out, err
    status = site.resources.status("Connection", "desk")
    assert status["lastHandledReconcileAt"] == site.asked("Connection", "desk")


def test_trigger_of_a_run_that_fails_ends_with_1_and_the_reason(site: Site) -> None:
    hidden = site.folder.with_name("hidden")
    site.sync("failing", sourcePath="")
    site.resources.wait("Sync", "failing", phase="COMPLETED")
    site.folder.rename(hidden)
    try:
        result = site.run("trigger", "failing", "--wait")
        assert result.exit_code == 1, result.output
        assert "FAILED" in result.stdout
        assert str(site.folder) in result.stdout
        # It was a run's failure that had the Connection checked; a look at it tells the same.
        looked = site.run("trigger", "connection/desk", "--wait")
        assert looked.exit_code == 1
        assert "FAILED (" in looked.stdout
    finally:
        hidden.rename(site.folder)
        site.resources.delete("Sync", "failing")
    assert site.run("trigger", "connection/desk", "--wait").exit_code == 0


def test_trigger_of_what_does_not_exist_names_what_there_is(site: Site) -> None:
    result = site.run("trigger", "sync/raeding")
    assert result.exit_code == 1
    assert f"no Sync raeding in Kubernetes namespace {site.resources.namespace}" in result.stderr
    assert "reading" in result.stderr.partition("there are: ")[2]


def test_trigger_of_a_suspended_sync_says_so_and_does_not_wait(site: Site) -> None:
    site.sync("resting", suspend=True)
    result = site.run("trigger", "resting", "--wait")
    assert result.exit_code == 1
    assert "sync/resting is suspended" in result.stderr


def test_trigger_tells_what_a_sync_waits_for_when_its_time_is_up(site: Site) -> None:
    site.sync("early", connectionRef={"name": "later"})
    site.resources.wait("Sync", "early", reason="ReferenceNotFound")
    result = site.run("trigger", "early", "--wait", "--timeout", "0")
    assert result.exit_code == 1
    assert "sync/early is not done yet" in result.stderr
    assert "Connection later does not exist" in result.stderr


def test_trigger_ends_when_what_it_waits_for_is_deleted_or_suspended(site: Site) -> None:
    def end(name: str, act: Callable[[], object]) -> str:
        site.sync(name, connectionRef={"name": "never"})
        waiting = site.start("trigger", name, "--wait")
        eventually(lambda: site.asked("Sync", name), what="it asked")
        act()
        _, err = waiting.communicate(timeout=60)
        assert waiting.returncode == 1
        return err

    gone = end("leaving", lambda: site.resources.delete("Sync", "leaving"))
    assert "sync/leaving was deleted" in gone
    held = end(
        "halting", lambda: site.resources.patch("Sync", "halting", {"spec": {"suspend": True}})
    )
    assert "sync/halting was suspended" in held or "sync/halting is suspended" in held


def test_logs_without_jobs_say_where_the_workers_ran(site: Site) -> None:
    client = site.resources.client
    result = site.run("logs", "reading")
    assert result.exit_code == 1
    assert "its workers ran inside the operator" in result.stderr
    selector = "app.kubernetes.io/name=telecine,app.kubernetes.io/component=operator"
    assert f"kubectl logs --tail=-1 -l {selector} -n" in result.stderr
    with_operator(client, site.resources.namespace, "process")
    try:
        told = site.run("logs", "reading").stderr
        assert f"kubectl logs -n {site.resources.namespace} deploy/a-telecine-operator" in told
    finally:
        client.delete(Deployment, "a-telecine-operator", namespace=site.resources.namespace)


def test_logs_of_jobs_that_are_gone_say_so(site: Site) -> None:
    client, namespace = site.resources.client, site.resources.namespace
    with_operator(client, namespace, "kubernetes")
    a_job(client, namespace, "reading-70", "70")
    a_job(client, namespace, "reading-8", "8")
    try:
        others = site.run("logs", "reading", "--run", "71")
        assert others.exit_code == 1
        assert "run 71 of sync/reading has no Jobs" in others.stderr
        assert "there are runs 8, 70: --run ID" in others.stderr
        assert "kubectl get jobs,pods" in site.run("logs", "reading", "--run", "70").stderr
    finally:
        for name in ("reading-8", "reading-70"):
            client.delete(Job, name, namespace=namespace)
    eventually(lambda: not list(client.list(Job, namespace=namespace)), what="the Jobs go")
    try:
        assert (
            "the Jobs of run 70 of sync/reading are gone"
            in site.run("logs", "reading", "--run", "70").stderr
        )
    finally:
        client.delete(Deployment, "a-telecine-operator", namespace=namespace)


def test_logs_of_what_never_ran_or_is_not_there(site: Site) -> None:
    missing = site.run("logs", "raeding")
    assert missing.exit_code == 1
    assert "no Sync raeding in Kubernetes namespace" in missing.stderr
    assert "only Syncs and Pipelines have runs" in site.run("logs", "bucket/papers").stderr
    site.sync("waiting", connectionRef={"name": "never"})
    assert "sync/waiting has not run yet" in site.run("logs", "waiting").stderr


def test_logs_are_those_of_the_runs_pods_alone(site: Site, kubelet: Kubelet) -> None:
    namespace, last = site.resources.namespace, site.resources.status("Sync", "reading")["run"]
    for name, run, sync in (
        ("a", last["id"], "reading"), ("b", last["id"], "reading"),
        ("old", "0", "reading"), ("other", last["id"], "writing"),
    ):  # fmt: skip
        kubelet.pod(namespace, name, labels(run, sync))
        kubelet.write(name, f"{name} one", f"{name} two", ended=True)
    result = site.run("logs", "sync/reading")
    assert result.exit_code == 0, result.output
    assert result.stdout == "[a] a one\n[a] a two\n[b] b one\n[b] b two\n"
    alone = site.run("logs", "reading", "--run", "0")
    assert alone.stdout == "old one\nold two\n"
    assert {container for _, container, _ in kubelet.asked} == {"worker"}


def test_a_pod_whose_log_cannot_be_read_is_told_and_the_others_are_shown(
    site: Site, kubelet: Kubelet
) -> None:
    namespace = site.resources.namespace
    kubelet.pod(namespace, "lost", labels("50"))
    nothing = site.run("logs", "reading", "--run", "50")
    assert (nothing.exit_code, nothing.stdout) == (1, "")
    assert "pod lost:" in nothing.stderr
    kubelet.pod(namespace, "found", labels("50"))
    kubelet.write("found", "here", ended=True)
    partly = site.run("logs", "reading", "--run", "50")
    assert (partly.exit_code, partly.stdout) == (0, "[found] here\n")
    assert "pod lost:" in partly.stderr


def test_logs_follow_the_pods_of_a_run_to_its_end(site: Site, kubelet: Kubelet) -> None:
    client, namespace = site.resources.client, site.resources.namespace
    site.sync("slow", connectionRef={"name": "never"})
    site.resources.wait("Sync", "slow", reason="ReferenceNotFound")
    going = {"id": "1", "phase": "IN_PROGRESS", "step": "sync"}
    patch_status(client, "Sync", namespace, "slow", {"run": going})
    following = site.start("logs", "slow", "--follow")
    assert following.stdout is not None
    assert following.stderr is not None
    assert following.stderr.readline() == "run 1 has no Pods at work yet; waiting\n"
    kubelet.write("slow-sync", "listing")
    kubelet.pod(namespace, "slow-sync", labels("1", "slow"), "Running")
    assert following.stdout.readline() == "[slow-sync] listing\n"
    kubelet.pod(namespace, "slow-extract", labels("1", "slow"), "Pending")
    kubelet.write("slow-sync", "listed", ended=True)
    assert following.stdout.readline() == "[slow-sync] listed\n"
    kubelet.write("slow-extract", "extracting")
    kubelet.phase(namespace, "slow-extract", "Running")
    assert following.stdout.readline() == "[slow-extract] extracting\n"
    over = {"finishedAt": "2026-05-01T12:00:00Z", "phase": "COMPLETED"}
    patch_status(client, "Sync", namespace, "slow", {"run": over})
    kubelet.write("slow-extract", "extracted", ended=True)
    out, err = following.communicate(timeout=60)
    assert (out, err, following.returncode) == ("[slow-extract] extracted\n", "", 0)


def with_operator(client: Client, namespace: str, executor: str) -> None:
    """The operator's Deployment as the chart has it, without Pods."""
    env = [{"name": "TELECINE_EXECUTOR", "value": executor}]
    container = {"name": "operator", "image": "example.com/telecine:1", "env": env}
    body = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "a-telecine-operator", "namespace": namespace, "labels": OPERATOR},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": OPERATOR},
            "template": {"metadata": {"labels": OPERATOR}, "spec": {"containers": [container]}},
        },
    }
    client.create(from_dict(body))


def a_job(client: Client, namespace: str, name: str, run: str) -> None:
    """A Job of a run that makes no Pods."""
    container = {"name": "worker", "image": "example.com/worker:1"}
    template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    body = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": namespace, "labels": labels(run)},
        "spec": {"suspend": True, "template": template},
    }
    client.create(from_dict(body))

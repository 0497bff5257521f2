"""Workers, operator and kubelet are killed during extraction: the index is whole, and once."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from typing import Any

import psutil
import pytest

from tests.cluster.site import SYSTEM, Site
from tests.e2e.manifests import Shelf
from tests.integration.operator_process import eventually

TEXTS = 160
WORDS = " ".join(f"word{number}" for number in range(200))
Body = dict[str, Any]


def fill(site: Site, shelf: Shelf, count: int = TEXTS) -> set[str]:
    """Puts texts into the S3 bucket; each is a few passages of its own."""
    store = site.s3()
    names = {f"{number:04}.txt" for number in range(count)}
    for name in names:
        store.put_object(Bucket=shelf.name, Key=name, Body=f"passage {name} {WORDS}".encode())
    return names


def pods(site: Site, shelf: Shelf, step: str = "extract") -> list[Body]:
    labels = f"telecine.dev/sync={shelf.name},telecine.dev/step={step}"
    found = site.kubectl("get", "pods", "-n", shelf.resources.namespace, "-l", labels, "-o", "json")
    return list(json.loads(found)["items"])


def extracting(shelf: Shelf) -> Body:
    """Waits until a part of the extraction has reported objects, and not all; the run."""

    def look() -> Body | None:
        run = shelf.status().get("run") or {}
        assert "finishedAt" not in run, "the run was over before it could be disturbed"
        done = sum(part.get("extracted", 0) for part in (run.get("shards") or {}).values())
        return run if 0 < done < TEXTS else None

    return eventually(look, 120, "objects are extracted") or {}


def delete_pod(site: Site, shelf: Shelf) -> None:
    """As when its node is gone: without the time to end well."""
    name = pods(site, shelf)[0]["metadata"]["name"]
    where = ("-n", shelf.resources.namespace)
    site.kubectl("delete", "pod", name, *where, "--grace-period=0", "--force")


def evict_pod(site: Site, shelf: Shelf) -> None:
    """As when its node is drained."""
    name, namespace = pods(site, shelf)[0]["metadata"]["name"], shelf.resources.namespace
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": name, "namespace": namespace},
    }
    path = f"/api/v1/namespaces/{namespace}/pods/{name}/eviction"
    site.kubectl("create", "--raw", path, "-f", "-", input=json.dumps(eviction))


def kill_process(site: Site, shelf: Shelf) -> None:
    """SIGKILL, as by the kernel when memory runs out."""
    if site.node is None:
        pytest.skip("the processes of somebody else's node are out of reach")
    namespace, run = shelf.resources.namespace, "telecine.execution.worker"
    for process in psutil.process_iter(["cmdline"]):
        line = process.info["cmdline"] or []
        if run in line and namespace in line and "extract" in line:
            process.kill()
            return
    raise AssertionError("no worker was found")


def kill_operator(site: Site, shelf: Shelf) -> None:
    where = ("-n", SYSTEM, "-l", "app.kubernetes.io/component=operator")
    site.kubectl("delete", "pod", *where, "--grace-period=0", "--force", "--wait=false")


def kill_kubelet(site: Site, shelf: Shelf) -> None:
    if site.node is None:
        pytest.skip("the kubelet of somebody else's node is out of reach")
    config = f"--config={site.node.place.folder / 'kubelet.yaml'}"
    for process in psutil.process_iter(["cmdline"]):
        if config in (process.info["cmdline"] or []):
            os.kill(process.pid, signal.SIGKILL)
            return
    raise AssertionError("the kubelet was not found")


@pytest.mark.parametrize(
    "disturb",
    [delete_pod, evict_pod, kill_process, kill_operator, kill_kubelet],
    ids=lambda f: str(f.__name__),
)
def test_the_index_is_whole_after(
    site: Site, shelf: Shelf, disturb: Callable[[Site, Shelf], None]
) -> None:
    names = fill(site, shelf)
    shelf.create_sync(parallelism=2)
    extracting(shelf)
    disturb(site, shelf)
    status = shelf.wait(lastSuccessTime=True)
    shelf.assert_whole(names)
    assert status["indexed"] == TEXTS
    # Nothing began again: Kubernetes replaced what died, within the same attempt.
    assert (status["run"]["id"], status["run"]["attempt"]) == ("1", 1)
    before = {r.id: r.extracted_at for r in shelf.records().values()}
    assert shelf.run()["run"]["plan"]["keep"] == TEXTS
    assert before == {r.id: r.extracted_at for r in shelf.records().values()}


def test_a_sync_that_is_suspended_stops_its_jobs_and_goes_on_later(
    site: Site, shelf: Shelf
) -> None:
    names = fill(site, shelf)
    shelf.create_sync(parallelism=2)
    extracting(shelf)
    shelf.change(suspend=True)
    shelf.wait(phase="SUSPENDED")
    eventually(lambda: not pods(site, shelf), what="its Pods are gone")
    done = [r for r in shelf.records().values() if r.state == "COMPLETED"]
    assert 0 < len(done) < TEXTS
    shelf.change(suspend=False)
    shelf.wait(indexed=TEXTS)
    shelf.assert_whole(names)


def test_a_sync_that_is_deleted_takes_its_jobs_account_and_objects_along(
    site: Site, shelf: Shelf
) -> None:
    fill(site, shelf)
    shelf.create_sync(parallelism=2, deletionPolicy="Delete")
    extracting(shelf)
    shelf.delete()
    assert shelf.paths() == set()
    kinds = "jobs,pods,serviceaccounts,roles,rolebindings"
    labels = f"telecine.dev/sync={shelf.name}"
    where = ("-n", shelf.resources.namespace, "-l", labels)
    eventually(lambda: not site.kubectl("get", kinds, *where, "-o", "name"), what="all is gone")


def test_memory_that_runs_out_is_told_and_more_of_it_mends_it(site: Site, shelf: Shelf) -> None:
    names = fill(site, shelf, 3)
    little = {"memory": "24Mi"}
    # The chart's own request stays, and is more than that.
    shelf.create_sync(jobTemplate={"resources": {"limits": little}})
    eventually(lambda: shelf.ready("Stalled").get("reason") == "JobRefused")
    assert "must be less than or equal to memory limit" in shelf.ready()["message"]
    shelf.change(jobTemplate={"resources": {"limits": little, "requests": little}})
    shelf.wait(consecutiveFailures=1)
    # The next run may have begun.
    (record,) = [r for r in shelf.status()["history"] if r["id"] == "1"]
    said = record["message"]
    assert "OOMKilled (137)" in said or "StartError" in said, said
    shelf.change(jobTemplate={"resources": {"limits": {"memory": "2Gi"}}})
    shelf.wait(indexed=3)
    shelf.assert_whole(names)


def test_a_pod_that_cannot_start_is_told_while_it_waits(site: Site, shelf: Shelf) -> None:
    fill(site, shelf, 1)
    shelf.create_sync(jobTemplate={"nodeSelector": {"no": "such-node"}})
    eventually(lambda: "waiting for a node" in str(shelf.status().get("run")))
    assert "didn't match" in shelf.status()["run"]["activity"]
    shelf.change(jobTemplate=None)
    shelf.change(suspend=True)
    shelf.wait(phase="SUSPENDED")
    shelf.change(suspend=False)
    shelf.wait(indexed=1)


def test_a_job_waits_for_its_queue(site: Site, shelf: Shelf) -> None:
    fill(site, shelf, 1)
    shelf.create_sync(jobTemplate={"queueName": "nights"})
    eventually(lambda: (shelf.status().get("run") or {}).get("activity") == "waiting in its queue")
    where = ("-n", shelf.resources.namespace)
    for step in ("sync", "extract"):
        # What Kueue does when the turn of a Job has come.
        name = f"{shelf.name}-1-1-{step}"
        eventually(lambda n=name: n in site.kubectl("get", "jobs", *where, "-o", "name"))
        site.kubectl("patch", "job", name, *where, "-p", '{"spec": {"suspend": false}}')
    shelf.wait(indexed=1)

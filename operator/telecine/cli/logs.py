"""`telecine logs`: what the workers of a run wrote."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import Annotated, Any, NoReturn

import httpx2
import typer
from lightkube import ApiError, Client
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.batch_v1 import Job
from lightkube.resources.core_v1 import Pod

from telecine.api.sync import SyncStatus
from telecine.cli.common import (
    Cluster,
    SameKubeNamespaceOption,
    err,
    explain_errors,
    fail,
    resource_of,
)
from telecine.execution.jobs import MANAGED, RUN_LABEL, SYNC_LABEL, child_name, label_value
from telecine.execution.kube import Sync
from telecine.execution.template import WORKER

OPERATOR = {"app.kubernetes.io/name": "telecine", "app.kubernetes.io/component": "operator"}
_POLL_SECONDS = 1.0


@explain_errors
def logs(
    target: Annotated[
        str,
        typer.Argument(
            metavar="SYNC", help="sync/NAME, or the name alone; pipeline/NAME or its alias."
        ),
    ],
    run: Annotated[str | None, typer.Option(help="Id of an older run; absent: the last.")] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the run is over.")
    ] = False,
    kube_namespace: SameKubeNamespaceOption = None,
) -> None:
    """Prints the logs of a run's Pods: what its workers did, and why one failed."""
    kind, name = resource_of(target)
    if kind not in ("Sync", "Pipeline"):
        fail(f"only Syncs and Pipelines have runs: write sync/NAME, not {target}")
    cluster = Cluster(kube_namespace)
    if kind == "Pipeline":
        name = child_name(cluster.name_of(kind, name))
    last = last_run(cluster, name)
    wanted = run or last
    if wanted is None:
        fail(f"sync/{name} has not run yet")
    source = RunLogs(cluster.client, cluster.kube_namespace, name, wanted)
    if follow:
        read = source.follow(lambda: last_run(cluster, name, running=True) != wanted)
    else:
        read = source.show()
    if not read:
        _explain_absence(cluster.client, source)


def last_run(cluster: Cluster, sync: str, *, running: bool = False) -> str | None:
    """Id of the Sync's last run; with `running`, only while it goes on."""
    try:
        body = dict(cluster.client.get(Sync, sync, namespace=cluster.kube_namespace))
    except ApiError as error:
        if error.status.code != 404:
            raise
        fail(f"no Sync {sync} in Kubernetes namespace {cluster.kube_namespace} (-n gives another)")
    found = SyncStatus.model_validate(body.get("status") or {}).run
    if found is None or (running and found.finished_at is not None):
        return None
    return found.id


class RunLogs:
    """The logs of the Pods of one run."""

    def __init__(self, client: Client, namespace: str, sync: str, run: str) -> None:
        self.namespace, self.sync, self.run = namespace, sync, run
        self._client = client
        self._mutex = threading.Lock()

    def labels(self) -> dict[str, str]:
        """Those of all runs of the Sync."""
        return {**MANAGED, SYNC_LABEL: label_value(self.sync)}

    def pods(self) -> list[dict[str, Any]]:
        """The run's Pods, oldest first."""
        labels: dict[str, Any] = {**self.labels(), RUN_LABEL: self.run}
        found = self._client.list(Pod, namespace=self.namespace, labels=labels)
        order = sorted((p.to_dict() for p in found), key=lambda p: p["metadata"]["name"])
        return sorted(order, key=lambda p: str(p["metadata"].get("creationTimestamp")))

    def show(self) -> bool:
        """Prints what is there; False when there are no Pods.

        Ends the command with exit code 1 when none of the Pods can be read.
        """
        names = [pod["metadata"]["name"] for pod in self.pods()]
        read = [self._print(name, prefixed=len(names) > 1) for name in names]
        if names and not any(read):
            raise typer.Exit(1)
        return bool(names)

    def follow(self, over: Callable[[], bool]) -> bool:
        """Prints what is there and what comes, until the run is over and all of it is read."""
        readers: dict[str, threading.Thread] = {}
        told = False
        while True:
            ended = over()
            for pod in self.pods():
                name = pod["metadata"]["name"]
                pending = (pod.get("status") or {}).get("phase", "Pending") == "Pending"
                if name not in readers and not (pending and not ended):
                    arguments = {"prefixed": True, "follow": not pending}
                    readers[name] = threading.Thread(
                        target=self._print, args=(name,), kwargs=arguments, daemon=True
                    )
                    readers[name].start()
            if ended:
                for reader in readers.values():
                    reader.join()
                return bool(readers)
            if not (readers or told):
                err.print(f"run {self.run} has no Pods at work yet; waiting", soft_wrap=True)
                told = True
            time.sleep(_POLL_SECONDS)

    def _print(self, pod: str, *, prefixed: bool, follow: bool = False) -> bool:
        prefix = f"[{pod}] " if prefixed else ""
        try:
            lines = self._client.log(
                pod, namespace=self.namespace, container=WORKER, follow=follow, newlines=False
            )
            for line in lines:
                with self._mutex:
                    sys.stdout.write(f"{prefix}{line}\n")
                    sys.stdout.flush()
        except ApiError as error:
            return self._complain(pod, error.status.message or str(error))
        except httpx2.HTTPError as error:
            return self._complain(pod, str(error))
        return True

    def _complain(self, pod: str, why: str) -> bool:
        with self._mutex:
            err.print(f"pod {pod}: {why}", markup=False, soft_wrap=True)
        return False


def _explain_absence(client: Client, source: RunLogs) -> NoReturn:
    """Ends the command with where the logs are that are not in Pods."""
    what = f"run {source.run} of sync/{source.sync}"
    jobs = client.list(Job, namespace=source.namespace, labels=dict(source.labels()))
    found = {((job.metadata and job.metadata.labels) or {}).get(RUN_LABEL) for job in jobs}
    others = sorted((r for r in found if r), key=lambda r: (len(r), r))
    if source.run in others:
        fail(f"the Pods of {what} are gone, or not there yet: kubectl get jobs,pods shows them")
    if others:
        fail(f"{what} has no Jobs (any more); there are runs {', '.join(others)}: --run ID")
    command, executor = operator_log(client)
    if executor == "kubernetes":
        fail(f"the Jobs of {what} are gone; the operator's log tells of their end: {command}")
    fail(
        f"{what} has no Jobs: its workers ran inside the operator, whose log has when they ended, "
        f"and the last lines of one that failed: {command}"
    )


def operator_log(client: Client) -> tuple[str, str | None]:
    """The command that shows the operator's log, and its executor where that can be seen."""
    try:
        found = [d.to_dict() for d in client.list(Deployment, namespace="*", labels=dict(OPERATOR))]
    except ApiError:
        # Not everybody may look into all Kubernetes namespaces.
        found = []
    if len(found) != 1:
        selector = ",".join(f"{key}={value}" for key, value in OPERATOR.items())
        return f"kubectl logs --tail=-1 -l {selector} -n THE-OPERATOR'S-NAMESPACE", None
    metadata, pod = found[0]["metadata"], found[0]["spec"]["template"]["spec"]
    given = {e["name"]: e.get("value") for c in pod["containers"] for e in c.get("env") or []}
    command = f"kubectl logs -n {metadata['namespace']} deploy/{metadata['name']}"
    return command, given.get("TELECINE_EXECUTOR")

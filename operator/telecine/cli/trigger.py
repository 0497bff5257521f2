"""`telecine trigger`: asks for a run or a check now, and waits for what it says."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Annotated, Any, NoReturn

import typer
from lightkube import ApiError

from telecine.api.base import REQUESTED_AT, Phase
from telecine.api.sync import RunRecord, SyncStatus
from telecine.cli.common import (
    Cluster,
    SameKubeNamespaceOption,
    err,
    explain_errors,
    fail,
    out,
    printable,
    resource_of,
)
from telecine.execution.jobs import child_name
from telecine.execution.kube import RESOURCES, annotate
from telecine.execution.resolve import list_all

Body = dict[str, Any]
_POLL_SECONDS = 0.5


@explain_errors
def trigger(
    target: Annotated[
        str,
        typer.Argument(
            metavar="KIND/NAME",
            help="As sync/papers, connection/desk, pipeline/ALIAS; a name alone is a Sync's.",
        ),
    ],
    wait: Annotated[
        bool, typer.Option("--wait", "-w", help="Until it is done, and print its result.")
    ] = False,
    timeout: Annotated[
        float | None,
        typer.Option(help="Seconds to wait at most; absent: as long as it takes.", min=0),
    ] = None,
    kube_namespace: SameKubeNamespaceOption = None,
) -> None:
    """Asks for a run of a Sync or Pipeline now, or for a new look at another resource.

    Exit code with --wait: 1 when the run failed, or the resource is not Ready.
    """
    kind, name = resource_of(target)
    cluster = Cluster(kube_namespace)
    name = cluster.name_of(kind, name)
    asked = datetime.now(UTC).isoformat()
    body = request(cluster, kind, name, asked)
    if body["spec"].get("suspend"):
        fail(f"{kind.lower()}/{name} is suspended: it does nothing while spec.suspend is true")
    what = "a run" if kind in ("Sync", "Pipeline") else "a look"
    out.print(f"{kind.lower()}/{name}: asked for {what}")
    if wait:
        deadline = None if timeout is None else time.monotonic() + timeout
        found = follow(cluster, kind, name, asked, deadline)
        if kind == "Pipeline" and not _stalled(found):
            # It asks its Sync, which has the run.
            kind, name = "Sync", child_name(name)
            found = follow(cluster, kind, name, asked, deadline)
        well, said = result(kind, found)
        out.print(printable(said))
        raise typer.Exit(0 if well else 1)


def _stalled(body: Body) -> bool:
    conditions = (body.get("status") or {}).get("conditions") or []
    return any(c["type"] == "Stalled" and c["status"] == "True" for c in conditions)


def request(cluster: Cluster, kind: str, name: str, asked: str) -> Body:
    """Writes the annotation; returns the resource, or ends the command when there is none."""
    try:
        annotate(cluster.client, kind, cluster.kube_namespace, name, {REQUESTED_AT: asked})
    except ApiError as error:
        if error.status.code == 404:
            _name_others(cluster, kind, name)
        raise
    return get(cluster, kind, name)


def _name_others(cluster: Cluster, kind: str, name: str) -> NoReturn:
    found = list_all(cluster.client, kind, cluster.kube_namespace)
    names = ", ".join(sorted(body["metadata"]["name"] for body in found)) or "none"
    where = f"Kubernetes namespace {cluster.kube_namespace} (-n gives another)"
    fail(f"no {kind} {name} in {where}; there are: {names}")


def get(cluster: Cluster, kind: str, name: str) -> Body:
    return dict(cluster.client.get(RESOURCES[kind], name, namespace=cluster.kube_namespace))


def follow(cluster: Cluster, kind: str, name: str, asked: str, deadline: float | None) -> Body:
    """The resource once the request was acted on, or one that came after it."""
    what = f"{kind.lower()}/{name}"
    with err.status(f"{what}: waiting for the operator") as shown:
        while True:
            try:
                body = get(cluster, kind, name)
            except ApiError as error:
                if error.status.code == 404:
                    fail(f"{what} was deleted")
                raise
            if (body.get("status") or {}).get("lastHandledReconcileAt") == asked:
                return body
            if body["spec"].get("suspend"):
                fail(f"{what} was suspended before it was done")
            asked = (body["metadata"].get("annotations") or {}).get(REQUESTED_AT) or asked
            said = standing(body)
            shown.update(printable(f"{what}: {said}"))
            if deadline is not None and time.monotonic() > deadline:
                fail(f"{what} is not done yet, and goes on without this command: {said}")
            time.sleep(_POLL_SECONDS)


def standing(body: Body) -> str:
    """What a resource says it is doing, or waiting for."""
    conditions = {c["type"]: c for c in (body.get("status") or {}).get("conditions") or []}
    told = conditions.get("Reconciling") or conditions.get("Ready") or {}
    return str(told.get("message") or "waiting for the operator")


def result(kind: str, body: Body) -> tuple[bool, str]:
    """Whether it went well, and a sentence about it."""
    status = body["status"]
    if kind != "Sync":
        ready: Body = next((c for c in status["conditions"] if c["type"] == "Ready"), {})
        well = ready.get("status") == "True"
        return well, f"{status['phase']} ({ready.get('reason')}): {ready.get('message')}"
    run = requested_run(SyncStatus.model_validate(status))
    if run is None:
        return False, f"{status['phase']}: {standing(body)}"
    took = ""
    if run.started_at and run.finished_at:
        took = f" in {(run.finished_at - run.started_at).total_seconds():.0f} s"
    said = f"run {run.id} {run.phase.value}{took}: {run.message or 'no message'}"
    return run.phase is not Phase.FAILED, said


def requested_run(status: SyncStatus) -> RunRecord | None:
    """The last run that somebody asked for: another may have begun or ended since."""
    return next((run for run in status.history if run.trigger == "requested"), None)

"""`telecine release`: lets go of all resources, before Telecine leaves a cluster."""

from __future__ import annotations

import time
from contextlib import closing
from typing import Annotated, Any

import typer
from lightkube import ApiError, Client
from lightkube.operators import exists
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.batch_v1 import Job
from lightkube.resources.core_v1 import Pod
from lightkube.types import CascadeType, PatchType

from telecine.api.base import FINALIZER
from telecine.api.kinds import KINDS
from telecine.cli.common import explain_errors, fail, out
from telecine.execution.account import drop_keys
from telecine.execution.jobs import MANAGED, STEP_LABEL
from telecine.execution.kube import RESOURCES, load_client
from telecine.settings import load_settings

Labels = dict[str, Any]
_POLL_SECONDS = 1.0
_ENDED = ("Failed", "Succeeded")
_PAGE = 500
_ROUNDS = 5
"""Looks at a kind's resources: one that changes while it is let go is met again in the next."""


@explain_errors
def release(
    operator: Annotated[
        str | None,
        typer.Option(
            metavar="NAMESPACE/NAME",
            help="The operator's Deployment, which is scaled to 0 first: it would take hold of "
            "the resources again. Absent: no operator runs.",
        ),
    ] = None,
    watch_namespace: Annotated[
        str | None, typer.Option(help="Kubernetes namespace; absent: all.")
    ] = None,
    timeout: Annotated[float, typer.Option(help="Seconds for the operator to end.", min=1)] = 120,
) -> None:
    """Stops the operator and its Jobs, and takes Telecine's finalizer off every resource.

    Resources and index stay as they are. Without an operator nothing would take the finalizers
    off, and resources and Kubernetes namespaces could not be deleted. An operator that is
    installed later takes hold of them again, and finds the index that it left.
    """
    where, began = watch_namespace or "*", time.monotonic()
    with closing(load_client()) as client:
        if operator is not None:
            _stop_operator(client, operator, began + timeout)
        let_go = _delete_jobs(client, where)
        out.print(f"Jobs stopped: {let_go}")
        bindings = drop_keys(client, load_settings())
        out.print(f"bindings to Weaviate's key removed: {bindings}")
        for kind in KINDS:
            released = _release(client, kind.kind, where)
            out.print(f"{kind.plural} released: {released}")
            let_go += released
    if not let_go + bindings:
        out.print("nothing was held")


def _stop_operator(client: Client, operator: str, deadline: float) -> None:
    namespace, _, name = operator.rpartition("/")
    if not namespace:
        fail(f"--operator is NAMESPACE/NAME, not {operator}")
    try:
        client.patch(Deployment.Scale, name, {"spec": {"replicas": 0}}, namespace=namespace)
        selector = client.get(Deployment, name, namespace=namespace).to_dict()["spec"]["selector"]
    except ApiError as error:
        if error.status.code != 404:
            raise
        out.print(f"there is no Deployment {operator}: no operator runs")
        return
    labels: Labels = dict(selector["matchLabels"])
    while names := _running(client, namespace, labels):
        if time.monotonic() > deadline:
            fail(f"the operator did not end in time: pods {', '.join(names)}")
        time.sleep(_POLL_SECONDS)
    out.print(f"operator {operator} has ended")


def _running(client: Client, namespace: str, labels: Labels) -> list[str]:
    """Names of the Pods that have not ended."""
    # One that was evicted stays as Failed: it does not count as a replica that is one too many.
    pods = client.list(Pod, namespace=namespace, labels=labels)
    return [
        str(pod.metadata.name)
        for pod in pods
        if pod.metadata and not (pod.status and pod.status.phase in _ENDED)
    ]


def _delete_jobs(client: Client, where: str) -> int:
    """Deletes the Jobs that have not ended; their Pods follow. Returns how many."""
    count = 0
    ours: Labels = {**MANAGED, STEP_LABEL: exists()}
    for job in list(client.list(Job, namespace=where, labels=ours, chunk_size=_PAGE)):
        metadata, status = job.metadata, job.status
        assert metadata is not None
        if metadata.deletionTimestamp or (status and (status.completionTime or _failed(status))):
            continue
        try:
            client.delete(
                Job,
                str(metadata.name),
                namespace=str(metadata.namespace),
                cascade=CascadeType.BACKGROUND,
            )
        except ApiError as error:
            if error.status.code != 404:
                raise
        count += 1
    return count


def _failed(status: Any) -> bool:
    return any(c.type == "Failed" and c.status == "True" for c in status.conditions or [])


def _release(client: Client, kind: str, where: str) -> int:
    """Takes the finalizer off all resources of a kind; returns from how many."""
    count = rounds = 0
    while held := _held(client, kind, where):
        if rounds == _ROUNDS:
            names = ", ".join(f"{namespace}/{name}" for namespace, name, _ in held[:5])
            fail(f"{kind} {names}: still held after {_ROUNDS} tries; does another operator run?")
        rounds += 1
        count += sum(_let_go(client, kind, *one) for one in held)
    return count


def _held(client: Client, kind: str, where: str) -> list[tuple[str, str, int]]:
    """Kubernetes namespace, name and the finalizer's place, of those that have it."""
    found = []
    try:
        for body in client.list(RESOURCES[kind], namespace=where, chunk_size=_PAGE):
            metadata = body["metadata"]
            finalizers = metadata.get("finalizers") or []
            if FINALIZER in finalizers:
                place = finalizers.index(FINALIZER)
                found.append((metadata["namespace"], metadata["name"], place))
    except ApiError as error:
        if error.status.code != 404:
            raise
        # Its CRD is gone, and all resources with it.
        return []
    return found


def _let_go(client: Client, kind: str, namespace: str, name: str, place: int) -> bool:
    """Takes the finalizer off one resource; tells whether it was still there, at that place.

    The patch is of that one entry, so it fails when the finalizers changed, and only then.
    """
    path = f"/metadata/finalizers/{place}"
    patch = [{"op": "test", "path": path, "value": FINALIZER}, {"op": "remove", "path": path}]
    try:
        client.patch(RESOURCES[kind], name, patch, namespace=namespace, patch_type=PatchType.JSON)
    except ApiError as error:
        if error.status.code not in (404, 409, 422):
            raise
        return False
    return True

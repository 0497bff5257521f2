"""`telecine release`: lets go of all resources, before Telecine leaves a cluster."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer
from lightkube import ApiError, Client
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.batch_v1 import Job
from lightkube.resources.core_v1 import Pod
from lightkube.types import CascadeType, PatchType

from telecine.api.base import FINALIZER
from telecine.api.kinds import KINDS
from telecine.cli.common import explain_errors, fail, out
from telecine.execution.account import drop_keys
from telecine.execution.jobs import MANAGED
from telecine.execution.kube import RESOURCES, load_client
from telecine.settings import load_settings

Body = dict[str, Any]
_POLL_SECONDS = 1.0


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
    client, where = load_client(), watch_namespace or "*"
    if operator is not None:
        _stop_operator(client, operator, time.monotonic() + timeout)
    jobs = _delete_jobs(client, where)
    out.print(f"Jobs stopped: {jobs}")
    bindings = drop_keys(client, load_settings())
    out.print(f"bindings to Weaviate's key removed: {bindings}")
    for kind in KINDS:
        released = _release(client, kind.kind, where)
        out.print(f"{kind.plural} released: {released}")


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
    labels = dict(selector["matchLabels"])
    while names := [p.metadata.name for p in client.list(Pod, namespace=namespace, labels=labels)
                    if p.metadata]:  # fmt: skip
        if time.monotonic() > deadline:
            fail(f"the operator did not end in time: pods {', '.join(str(n) for n in names)}")
        time.sleep(_POLL_SECONDS)
    out.print(f"operator {operator} has ended")


def _delete_jobs(client: Client, where: str) -> int:
    count = 0
    for job in client.list(Job, namespace=where, labels=dict(MANAGED)):
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
    try:
        found = [dict(body) for body in client.list(RESOURCES[kind], namespace=where)]
    except ApiError as error:
        if error.status.code != 404:
            raise
        # Its CRD is gone, and all resources with it.
        return 0
    count = 0
    for body in found:
        metadata = body["metadata"]
        finalizers = metadata.get("finalizers") or []
        if FINALIZER not in finalizers:
            continue
        kept = [one for one in finalizers if one != FINALIZER]
        patch = {"metadata": {"finalizers": kept, "resourceVersion": metadata["resourceVersion"]}}
        try:
            client.patch(
                RESOURCES[kind],
                metadata["name"],
                patch,
                namespace=metadata["namespace"],
                patch_type=PatchType.MERGE,
            )
        except ApiError as error:
            if error.status.code != 404:
                raise
        count += 1
    return count

"""The five kinds as lightkube resources, and the few calls that several parts make."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import httpx2
from lightkube import Client
from lightkube.generic_resource import create_namespaced_resource
from lightkube.models.core_v1 import EventSource, ObjectReference
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Event
from lightkube.types import PatchType

from telecine.api.base import API_VERSION, GROUP, VERSION
from telecine.api.kinds import KINDS

RESOURCES: dict[str, Any] = {
    kind.kind: create_namespaced_resource(GROUP, VERSION, kind.kind, kind.plural) for kind in KINDS
}
Namespace = RESOURCES["Namespace"]
Connection = RESOURCES["Connection"]
Bucket = RESOURCES["Bucket"]
Sync = RESOURCES["Sync"]
Pipeline = RESOURCES["Pipeline"]

FIELD_MANAGER = "telecine"
SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount/token"
"""The token that every process of a Pod can read, unless the Pod says otherwise."""


def load_client() -> Client:
    """A client for the kubeconfig's current context, or for the Pod's service account."""
    return Client(field_manager=FIELD_MANAGER, timeout=httpx2.Timeout(30.0, connect=5.0))


def patch_status(
    client: Client, kind: str, namespace: str, name: str, status: Mapping[str, Any]
) -> dict[str, Any]:
    """Merges into a status (null removes a field) and returns the resource as it is then."""
    resource = RESOURCES[kind]
    answer = client.patch(
        resource.Status,
        name,
        {"status": dict(status)},
        namespace=namespace,
        patch_type=PatchType.MERGE,
    )
    return dict(answer)


def annotate(
    client: Client, kind: str, namespace: str, name: str, annotations: Mapping[str, str | None]
) -> None:
    """Sets annotations; None removes one."""
    patch = {"metadata": {"annotations": dict(annotations)}}
    client.patch(RESOURCES[kind], name, patch, namespace=namespace, patch_type=PatchType.MERGE)


def emit_event(
    client: Client,
    kind: str,
    body: Mapping[str, Any],
    reason: str,
    message: str,
    *,
    warning: bool = False,
) -> None:
    """Writes an Event about a resource, as `kubectl describe` and `kubectl events` show it.

    Raises:
        ApiError: 403 when the Kubernetes namespace is being deleted, among others.
    """
    metadata, now = body["metadata"], datetime.now(UTC)
    client.create(
        Event(
            metadata=ObjectMeta(
                generateName=f"{metadata['name'][:200]}.", namespace=metadata["namespace"]
            ),
            involvedObject=ObjectReference(
                apiVersion=API_VERSION,
                kind=kind,
                name=metadata["name"],
                namespace=metadata["namespace"],
                uid=metadata["uid"],
            ),
            type="Warning" if warning else "Normal",
            reason=reason,
            message=message[:1024],
            source=EventSource(component=FIELD_MANAGER),
            reportingComponent=FIELD_MANAGER,
            reportingInstance=FIELD_MANAGER,
            firstTimestamp=now,
            lastTimestamp=now,
            count=1,
        )
    )

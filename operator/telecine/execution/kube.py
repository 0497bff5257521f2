"""The five kinds as lightkube resources, and the few calls that several parts make."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx2
from lightkube import Client
from lightkube.generic_resource import create_namespaced_resource
from lightkube.types import PatchType

from telecine.api.base import GROUP, VERSION
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

"""What a Pipeline is made of: a Namespace with its handler, a Bucket, and a Sync."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any, NoReturn

from telecine.api.base import API_VERSION, APPROVE_UNINDEX, GROUP, REQUESTED_AT
from telecine.api.namespace import DeletionPolicy
from telecine.api.pipeline import OnChange, PipelineSpec
from telecine.api.selection import MetadataFilter
from telecine.execution.jobs import MANAGED, child_name
from telecine.execution.kube import FIELD_MANAGER, RESOURCES
from telecine.execution.resolve import HANDLER

from .context import Context
from .result import StalledError, WaitingError
from .store import Key

Body = dict[str, Any]
DECLARED = f"{GROUP}/declared"
"""Digest of what the controller wrote, so that what did not change is not written again."""
KINDS = ("Namespace", "Bucket", "Sync")


@dataclass(frozen=True)
class Wanted:
    """A Pipeline with everything decided: by its spec, or else by its config.json."""

    spec: PipelineSpec
    alias: str | None
    """What callers use as its name."""
    source: str
    """Name of the Connection whose assets it takes."""
    source_path: str
    filters: list[MetadataFilter]
    destination: str | None
    """Name of a Connection of provider weaviate; None: the operator's Weaviate."""
    collection: str
    digest: str
    """Of the code."""


def children(namespace: str, pipeline: str, wanted: Wanted) -> list[Body]:
    """The specs of what is made, in the order in which they are needed. Pure."""
    name, spec = child_name(pipeline), wanted.spec
    parameters = {"pipeline": pipeline, "collection": wanted.collection}
    if spec.destination is not None and spec.destination.query_model is not None:
        parameters["query_model"] = spec.destination.query_model.value
    if spec.on_change is OnChange.ALL:
        parameters["code"] = wanted.digest
    isolated: Body = {
        "featureExtractors": [{"name": HANDLER, "version": "v1", "parameters": parameters}],
        "deletionPolicy": DeletionPolicy.DELETE.value,
    }
    if wanted.destination is not None:
        isolated["weaviate"] = {"connectionRef": {"name": wanted.destination}}
    bucket = {
        "namespaceRef": {"name": name},
        "blobType": "binary",
        "deletionPolicy": DeletionPolicy.DELETE.value,
    }
    sync: Body = {
        "bucketRef": {"name": name},
        "connectionRef": {"name": wanted.source},
        "sourcePath": wanted.source_path,
        "reconcileOnSync": True,
        "deletionPolicy": DeletionPolicy.DELETE.value,
        "suspend": spec.suspend,
    }
    if wanted.filters:
        sync["fileFilters"] = {"metadataFilters": [f.dump() for f in wanted.filters]}
    if spec.job_template is not None:
        sync["jobTemplate"] = spec.job_template.dump()
    return [
        {"apiVersion": API_VERSION, "kind": kind, "metadata": _metadata(namespace, name), "spec": s}
        for kind, s in zip(KINDS, (isolated, bucket, sync), strict=True)
    ]


def _metadata(namespace: str, name: str) -> Body:
    return {"name": name, "namespace": namespace, "labels": dict(MANAGED)}


def owner_of(pipeline: Body) -> Body:
    metadata = pipeline["metadata"]
    return {
        "apiVersion": API_VERSION,
        "kind": "Pipeline",
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": True,
    }


def ensure(ctx: Context, pipeline: Body, wanted: Wanted) -> None:
    """Makes the children what they should be.

    Raises:
        StalledError: a resource of such a name is somebody else's.
        ApiError: the API server refuses.
    """
    metadata = pipeline["metadata"]
    said = metadata.get("annotations") or {}
    passed = {name: said[name] for name in (REQUESTED_AT, APPROVE_UNINDEX) if name in said}
    for body in children(metadata["namespace"], metadata["name"], wanted):
        annotations = passed if body["kind"] == "Sync" else {}
        whole = json.dumps([body, annotations], sort_keys=True)
        digest = hashlib.sha256(whole.encode()).hexdigest()[:16]
        body["metadata"] |= {
            "annotations": {DECLARED: digest, **annotations},
            "ownerReferences": [owner_of(pipeline)],
        }
        there = ctx.store.get(_key(body))
        if there is not None:
            require_own(there, metadata["uid"])
            if (there["metadata"].get("annotations") or {}).get(DECLARED) == digest:
                continue
            if body["kind"] == "Sync" and there["spec"]["connectionRef"] != _source(body):
                replace(ctx, there)
        ctx.client.apply(RESOURCES[body["kind"]](body), field_manager=FIELD_MANAGER, force=True)


def replace(ctx: Context, sync: Body) -> NoReturn:
    """Deletes a Sync of another source; its objects go with it.

    Raises:
        WaitingError: until it is gone.
    """
    metadata = sync["metadata"]
    if not metadata.get("deletionTimestamp"):
        ctx.client.delete(RESOURCES["Sync"], metadata["name"], namespace=metadata["namespace"])
    raise WaitingError("SourceChanged", "what came from the source of before is unindexed", 1.0)


def require_own(body: Body, uid: str) -> None:
    owners = body["metadata"].get("ownerReferences") or []
    if any(owner["uid"] == uid for owner in owners):
        return
    kind, name = body["kind"], body["metadata"]["name"]
    raise StalledError(
        "NameTaken",
        f"{kind} {name} is not this Pipeline's, and has the name that its own must have: rename "
        "one of the two",
    )


def _source(body: Body) -> Body:
    found: Body = body["spec"]["connectionRef"]
    return found


def _key(body: Body) -> Key:
    return Key(body["kind"], body["metadata"]["namespace"], body["metadata"]["name"])

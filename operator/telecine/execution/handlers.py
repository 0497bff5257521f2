"""The code of Pipelines: a ConfigMap, which the operator writes and a worker reads."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from lightkube import Client
from lightkube.utils.quantity import parse_quantity

from telecine.api.connection import ConnectionSpec
from telecine.api.pipeline import PipelineSpec
from telecine.execution.jobs import MANAGED, child_name
from telecine.execution.resolve import (
    MissingReferenceError,
    ResolvedSync,
    cluster_lookup,
    decode_secret,
)
from telecine.pipelines.bundle import Bundle
from telecine.pipelines.extractor import HandlerExtractor, HandlerRuntime
from telecine.pipelines.surroundings import HandlerLimits
from telecine.settings import Settings
from telecine.workers.toolset import Toolset

Body = dict[str, Any]
PACKED, COMMIT = "bundle.tar.gz", "commit"
_RESERVE, _LEAST = 64 << 20, 128 << 20
"""Bytes: what the supervisor takes of its container's memory, and what that must have."""


def code_body(namespace: str, pipeline: str, bundle: Bundle, owner: Body) -> Body:
    """The ConfigMap with a Pipeline's code."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": child_name(pipeline),
            "namespace": namespace,
            "labels": dict(MANAGED),
            "ownerReferences": [owner],
        },
        "data": {COMMIT: bundle.commit},
        "binaryData": {PACKED: base64.b64encode(bundle.pack()).decode()},
    }


def code_of(body: Mapping[str, Any]) -> Bundle:
    """The code in a ConfigMap. Raises BundleError."""
    packed = base64.b64decode((body.get("binaryData") or {}).get(PACKED, ""))
    return Bundle.unpack(packed, (body.get("data") or {}).get(COMMIT, ""))


def read_code(client: Client, namespace: str, pipeline: str) -> Bundle:
    """Raises MissingReferenceError, BundleError."""
    return code_of(cluster_lookup(client)("ConfigMap", namespace, child_name(pipeline)))


@contextmanager
def with_handlers(
    toolset: Toolset, resolved: ResolvedSync, client: Client, settings: Settings
) -> Iterator[Toolset]:
    """Gives the extractors of Pipelines their code, for a `with` block.

    Raises:
        MissingReferenceError: the code, the Pipeline or its Secret is gone.
    """
    found = [toolset.tool(recipe).extractor for recipe in resolved.recipes]
    handlers = [extractor for extractor in found if isinstance(extractor, HandlerExtractor)]
    try:
        for handler in handlers:
            handler.attach(_runtime(resolved, client, settings))
        yield toolset
    finally:
        for handler in handlers:
            handler.close()


def _runtime(resolved: ResolvedSync, client: Client, settings: Settings) -> HandlerRuntime:
    pipeline = resolved.pipeline
    if pipeline is None:
        raise MissingReferenceError("Pipeline", resolved.name, ": no Pipeline made this Sync")
    environment: dict[str, str] = {}
    if pipeline.spec.secret_ref is not None and settings.handler_socket is None:
        name = pipeline.spec.secret_ref.name
        body = cluster_lookup(client)("Secret", resolved.kube_namespace, name)
        environment = decode_secret(body)
    return HandlerRuntime(
        bundle=read_code(client, resolved.kube_namespace, pipeline.name),
        connection=resolved.connection_name,
        store=store_of(resolved.connection) or resolved.connection_name,
        environment=environment,
        limits=limits_of(pipeline.spec),
        socket=settings.handler_socket,
    )


def limits_of(spec: PipelineSpec) -> HandlerLimits:
    """What one asset may cost. The function is ended before its container's memory is used up,
    so that it is known which asset did it.

    Raises:
        ValueError: the memory of `jobTemplate.resources.limits` is too little.
    """
    seconds = float(spec.timeout_seconds)
    resources = (spec.job_template and spec.job_template.resources) or {}
    given = (resources.get("limits") or {}).get("memory")
    if given is None:
        return HandlerLimits(seconds=seconds)
    memory = int(parse_quantity(str(given)) or 0)
    if memory < _LEAST:
        raise ValueError(
            f"spec.jobTemplate.resources.limits.memory: {given} is too little to start Python "
            f"beside its supervisor: give at least {_LEAST >> 20}Mi"
        )
    return HandlerLimits(seconds=seconds, memory=memory - _RESERVE)


def store_of(connection: ConnectionSpec) -> str:
    """What a provider calls the place that a Connection is of: an S3 bucket, a container."""
    config = getattr(connection, connection.provider.value)
    for field in ("bucket", "container", "path"):
        if value := getattr(config, field, None):
            return str(value)
    return ""

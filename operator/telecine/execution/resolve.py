"""From a resource's name to everything that its references lead to.

The same resolution serves the operator (from its store), workers and command line (from the API
server) and `telecine plan -f` (from manifests): only the lookup differs.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lightkube import ApiError, Client
from lightkube.resources.core_v1 import ConfigMap, Secret

from telecine.api.bucket import BucketSpec
from telecine.api.connection import ConnectionSpec, Provider
from telecine.api.namespace import NamespaceSpec, NamespaceStatus
from telecine.api.pipeline import PipelineSpec
from telecine.api.sync import SyncSpec
from telecine.execution.kube import RESOURCES
from telecine.index.client import WeaviateSettings
from telecine.planning.identity import owner_id, recipe, tenant_name
from telecine.planning.types import Recipe
from telecine.settings import Settings
from telecine.workers.toolset import collection_of

Body = dict[str, Any]
HANDLER = "handler"
"""The extractor that runs a Pipeline's function."""
Lookup = Callable[[str, str, str], Body]
"""Kind (or `Secret`), Kubernetes namespace and name to the resource's body.

Raises MissingReferenceError.
"""


class MissingReferenceError(Exception):
    """A resource that another one refers to does not exist (yet)."""

    def __init__(self, kind: str, name: str, detail: str = "") -> None:
        super().__init__(f"{kind} {name}{detail or ' does not exist'}")
        self.kind, self.name = kind, name


@dataclass(frozen=True)
class ResolvedNamespace:
    """A Namespace: its tenant, where that is, and what answers searches."""

    kube_namespace: str
    name: str
    spec: NamespaceSpec
    status: NamespaceStatus
    tenant: str
    weaviate: WeaviateSettings = field(repr=False)
    recipes: tuple[Recipe, ...]

    @property
    def serving(self) -> list[tuple[Recipe, str]]:
        """The recipes that answer searches now, with their collections."""
        return [
            (Recipe(s.name, s.version, s.parameters, s.recipe), s.collection)
            for s in self.status.serving
        ]


@dataclass(frozen=True)
class ResolvedPipeline:
    """The Pipeline that made a Sync."""

    name: str
    spec: PipelineSpec


@dataclass(frozen=True)
class ResolvedSync:
    """A Sync and all that a run of it needs."""

    kube_namespace: str
    name: str
    sync: SyncSpec
    annotations: Mapping[str, str]
    bucket_name: str
    bucket: BucketSpec
    connection_name: str
    connection: ConnectionSpec
    secret: Mapping[str, str] = field(repr=False)
    namespace: ResolvedNamespace
    owner: str
    pipeline: ResolvedPipeline | None = None

    @property
    def namespace_name(self) -> str:
        return self.namespace.name

    @property
    def tenant(self) -> str:
        return self.namespace.tenant

    @property
    def weaviate(self) -> WeaviateSettings:
        return self.namespace.weaviate

    @property
    def recipes(self) -> tuple[Recipe, ...]:
        return self.namespace.recipes


def cluster_lookup(client: Client) -> Lookup:
    """Looks resources up at the API server."""

    def lookup(kind: str, namespace: str, name: str) -> Body:
        try:
            if kind in ("Secret", "ConfigMap"):
                core: Any = Secret if kind == "Secret" else ConfigMap
                found: Body = client.get(core, name, namespace=namespace).to_dict()
                return found
            return dict(client.get(RESOURCES[kind], name, namespace=namespace))
        except ApiError as error:
            if error.status.code == 404:
                raise MissingReferenceError(kind, name) from error
            raise

    return lookup


def list_all(client: Client, kind: str, namespace: str) -> list[Body]:
    """Every resource of a kind in a Kubernetes namespace (`*`: in all)."""
    return [dict(body) for body in client.list(RESOURCES[kind], namespace=namespace)]


def decode_secret(body: Body) -> dict[str, str]:
    """The values of a Secret; `stringData` as well, for manifests not applied yet."""
    name = body["metadata"]["name"]
    values: dict[str, str] = {}
    for key, encoded in (body.get("data") or {}).items():
        try:
            values[key] = base64.b64decode(encoded or "", validate=True).decode()
        except (binascii.Error, UnicodeDecodeError) as error:
            raise MissingReferenceError("Secret", name, f": key {key} is not text") from error
    return values | {k: str(v) for k, v in (body.get("stringData") or {}).items()}


def read_secret(lookup: Lookup, namespace: str, connection: ConnectionSpec) -> dict[str, str]:
    """The Secret that a Connection names, decoded; empty when it names none."""
    if connection.secret_ref is None:
        return {}
    return decode_secret(lookup("Secret", namespace, connection.secret_ref.name))


def weaviate_of(
    lookup: Lookup, namespace: str, spec: NamespaceSpec | None, settings: Settings
) -> WeaviateSettings:
    """Where a Namespace's tenant is: its own Weaviate, or the operator's."""
    reference = spec.weaviate.connection_ref if spec and spec.weaviate else None
    if reference is None:
        return operators_weaviate(lookup, settings)
    body = lookup("Connection", namespace, reference.name)
    connection = ConnectionSpec.model_validate(body["spec"])
    return weaviate_settings(connection, read_secret(lookup, namespace, connection))


def weaviate_settings(connection: ConnectionSpec, secret: Mapping[str, str]) -> WeaviateSettings:
    """A Connection of provider weaviate as settings of a client."""
    config = connection.weaviate
    if connection.provider is not Provider.WEAVIATE or config is None:
        raise MissingReferenceError(
            "Connection", connection.provider.value, ": its provider is not weaviate"
        )
    return WeaviateSettings(
        endpoint=config.endpoint,
        grpc_host=config.grpc_host,
        grpc_port=config.grpc_port,
        grpc_secure=config.grpc_secure,
        api_key=secret.get("api_key"),
    )


def operators_weaviate(lookup: Lookup, settings: Settings) -> WeaviateSettings:
    """The Weaviate of the operator's settings."""
    key = settings.weaviate_api_key.get_secret_value() if settings.weaviate_api_key else None
    if settings.weaviate_secret:
        namespace, _, name = settings.weaviate_secret.partition("/")
        key = decode_secret(lookup("Secret", namespace, name)).get("api_key")
    return WeaviateSettings(
        endpoint=settings.weaviate_endpoint,
        grpc_host=settings.weaviate_grpc_host,
        grpc_port=settings.weaviate_grpc_port,
        grpc_secure=settings.weaviate_grpc_secure,
        api_key=key,
    )


def namespace_from(
    lookup: Lookup, kube_namespace: str, name: str, settings: Settings
) -> ResolvedNamespace:
    """Resolves a Namespace."""
    body = lookup("Namespace", kube_namespace, name)
    spec = NamespaceSpec.model_validate(body["spec"])
    return ResolvedNamespace(
        kube_namespace=kube_namespace,
        name=name,
        spec=spec,
        status=NamespaceStatus.model_validate(body.get("status") or {}),
        tenant=tenant_name(
            kube_namespace, name, prefix=settings.tenant_prefix, override=spec.tenant
        ),
        weaviate=weaviate_of(lookup, kube_namespace, spec, settings),
        recipes=tuple(recipe(extractor) for extractor in spec.feature_extractors),
    )


def resolve_from(
    lookup: Lookup, kube_namespace: str, name: str, settings: Settings
) -> ResolvedSync:
    """Resolves a Sync.

    Raises:
        MissingReferenceError: it, or something it refers to, does not exist.
    """
    body = lookup("Sync", kube_namespace, name)
    sync = SyncSpec.model_validate(body["spec"])
    bucket = BucketSpec.model_validate(
        lookup("Bucket", kube_namespace, sync.bucket_ref.name)["spec"]
    )
    connection = ConnectionSpec.model_validate(
        lookup("Connection", kube_namespace, sync.connection_ref.name)["spec"]
    )
    namespace = namespace_from(lookup, kube_namespace, bucket.namespace_ref.name, settings)
    return ResolvedSync(
        kube_namespace=kube_namespace,
        name=name,
        sync=sync,
        annotations=body["metadata"].get("annotations") or {},
        bucket_name=sync.bucket_ref.name,
        bucket=bucket,
        connection_name=sync.connection_ref.name,
        connection=connection,
        secret=read_secret(lookup, kube_namespace, connection),
        namespace=namespace,
        owner=owner_id(settings.tenant_prefix, kube_namespace, sync.bucket_ref.name),
        pipeline=_pipeline_of(lookup, kube_namespace, namespace.recipes),
    )


def _pipeline_of(
    lookup: Lookup, kube_namespace: str, recipes: Iterable[Recipe]
) -> ResolvedPipeline | None:
    for found in recipes:
        if found.name == HANDLER:
            name = str(found.parameters.get("pipeline"))
            body = lookup("Pipeline", kube_namespace, name)
            return ResolvedPipeline(name, PipelineSpec.model_validate(body["spec"]))
    return None


def resolve_sync(
    client: Client, kube_namespace: str, name: str, settings: Settings
) -> ResolvedSync:
    return resolve_from(cluster_lookup(client), kube_namespace, name, settings)


def resolve_connection(
    client: Client, kube_namespace: str, name: str
) -> tuple[ConnectionSpec, dict[str, str]]:
    """A Connection and its decoded Secret.

    Raises:
        MissingReferenceError: one of them does not exist.
    """
    lookup = cluster_lookup(client)
    spec = ConnectionSpec.model_validate(lookup("Connection", kube_namespace, name)["spec"])
    return spec, read_secret(lookup, kube_namespace, spec)


def resolve_namespace(
    client: Client, kube_namespace: str, name: str, settings: Settings
) -> ResolvedNamespace:
    return namespace_from(cluster_lookup(client), kube_namespace, name, settings)


__all__ = [
    "Body",
    "Lookup",
    "MissingReferenceError",
    "ResolvedNamespace",
    "ResolvedSync",
    "cluster_lookup",
    "collection_of",
    "decode_secret",
    "list_all",
    "namespace_from",
    "resolve_connection",
    "resolve_from",
    "resolve_namespace",
    "resolve_sync",
    "weaviate_settings",
]

"""The five kinds: how Kubernetes names them and which models describe them."""

from __future__ import annotations

from dataclasses import dataclass

from telecine.api.base import ApiModel, CommonStatus
from telecine.api.bucket import BucketSpec, BucketStatus
from telecine.api.connection import ConnectionSpec, ConnectionStatus
from telecine.api.namespace import NamespaceSpec, NamespaceStatus
from telecine.api.pipeline import PipelineSpec, PipelineStatus
from telecine.api.sync import SyncSpec, SyncStatus


@dataclass(frozen=True)
class Column:
    """A column of `kubectl get`."""

    name: str
    path: str
    type: str = "string"
    wide: bool = False


@dataclass(frozen=True)
class Kind:
    kind: str
    plural: str
    short: str
    spec: type[ApiModel]
    status: type[CommonStatus]
    columns: tuple[Column, ...]
    selectable: tuple[str, ...]
    """JSON paths that `--field-selector` accepts, without the leading dot."""


_PHASE = Column("Phase", ".status.phase")
_READY = Column("Ready", '.status.conditions[?(@.type=="Ready")].status')
_REASON = Column("Reason", '.status.conditions[?(@.type=="Ready")].reason', wide=True)
_MESSAGE = Column("Message", '.status.conditions[?(@.type=="Ready")].message', wide=True)
_AGE = Column("Age", ".metadata.creationTimestamp", "date")


def _columns(*own: Column) -> tuple[Column, ...]:
    return (_PHASE, _READY, *own, _REASON, _MESSAGE, _AGE)


NAMESPACE = Kind(
    "Namespace", "namespaces", "tns", NamespaceSpec, NamespaceStatus,
    _columns(
        Column("Buckets", ".status.buckets", "integer"),
        Column("Objects", ".status.objects", "integer"),
        Column("Documents", ".status.documents", "integer"),
        Column("Tenant", ".status.tenant", wide=True),
    ),
    ("spec.state", "status.phase"),
)  # fmt: skip
CONNECTION = Kind(
    "Connection", "connections", "tconn", ConnectionSpec, ConnectionStatus,
    _columns(
        Column("Provider", ".spec.provider"),
        Column("Failures", ".status.consecutiveFailures", "integer"),
        Column("Checked", ".status.lastCheckedTime", "date"),
    ),
    ("spec.provider", "status.phase"),
)  # fmt: skip
BUCKET = Kind(
    "Bucket", "buckets", "tbucket", BucketSpec, BucketStatus,
    _columns(
        Column("Namespace", ".spec.namespaceRef.name"),
        Column("Objects", ".status.objects", "integer"),
        Column("Failed", ".status.failed", "integer"),
    ),
    ("spec.namespaceRef.name", "status.phase"),
)  # fmt: skip
SYNC = Kind(
    "Sync", "syncs", "tsync", SyncSpec, SyncStatus,
    _columns(
        Column("Bucket", ".spec.bucketRef.name"),
        Column("Connection", ".spec.connectionRef.name"),
        Column("Indexed", ".status.indexed", "integer"),
        Column("Failed", ".status.failed", "integer"),
        Column("Pending", ".status.pending", "integer", wide=True),
        Column("Drifted", ".status.drifted", "integer", wide=True),
        Column("Last Sync", ".status.lastSyncTime", "date"),
    ),
    ("spec.bucketRef.name", "spec.connectionRef.name", "status.phase"),
)  # fmt: skip
PIPELINE = Kind(
    "Pipeline", "pipelines", "tpipe", PipelineSpec, PipelineStatus,
    _columns(
        Column("Source", ".spec.source.connectionRef.name"),
        Column("Alias", ".status.alias", wide=True),
        Column("Commit", ".status.commit", wide=True),
        Column("Indexed", ".status.indexed", "integer"),
        Column("Failed", ".status.failed", "integer"),
        Column("Last Run", ".status.lastSyncTime", "date"),
    ),
    ("status.phase",),
)  # fmt: skip

KINDS: tuple[Kind, ...] = (NAMESPACE, CONNECTION, BUCKET, SYNC, PIPELINE)

"""Manifests of the five kinds: the shortest, the fullest, and those that must be refused."""

from __future__ import annotations

from typing import Any

Spec = dict[str, Any]

MINIMAL: dict[str, Spec] = {
    "Namespace": {"featureExtractors": [{"name": "text_extractor"}]},
    "Connection": {"provider": "local", "local": {"path": "/srv/media"}},
    "Bucket": {"namespaceRef": {"name": "films"}, "blobType": "text"},
    "Sync": {"bucketRef": {"name": "reels"}, "connectionRef": {"name": "archive"}},
    "Pipeline": {"inline": {"handler": "def handle(asset): ..."}},
}
FULL: dict[str, Spec] = {
    "Namespace": {
        "featureExtractors": [
            {"name": "text_extractor", "parameters": {"model": "m", "chunk": {"size": 200}}},
            {"name": "multimodal_extractor", "version": "v1"},
        ],
        "state": "SUSPENDED",
        "weaviate": {"connectionRef": {"name": "shared"}},
        "tenant": "Films_2026-a",
        "deletionPolicy": "Orphan",
    },
    "Connection": {
        "provider": "s3",
        "s3": {
            "bucket": "media",
            "endpoint": "http://minio.storage.svc:9000",
            "region": "eu-central-1",
            "roleArn": "arn:aws:iam::123456789012:role/reader",
            "forcePathStyle": True,
        },
        "secretRef": {"name": "s3-keys"},
        "testBeforeUse": False,
    },
    "Bucket": {
        "namespaceRef": {"name": "films"},
        "description": "Films and what was written about them",
        "schema": {"properties": {"film": {"type": "video", "required": True}}},
        "storage": {"connectionRef": {"name": "archive"}, "prefix": "uploads/"},
        "deletionPolicy": "Orphan",
    },
    "Sync": {
        "bucketRef": {"name": "reels"},
        "connectionRef": {"name": "archive"},
        "sourcePath": "2026/",
        "syncMode": "initial_only",
        "pollingIntervalSeconds": 86400,
        "fileFilters": {
            "includePatterns": ["*.txt"],
            "excludePatterns": ["drafts/**"],
            "extensions": [".txt"],
            "mimeTypes": ["text/*"],
            "minSize": 1,
            "maxSize": 10_000_000_000,
            "modifiedAfter": "2026-01-01T00:00:00Z",
            "modifiedBefore": "2026-06-01T12:30:00.5+02:00",
            "metadataFilters": [
                {"field": "passthrough", "operator": "contains", "value": "vi:1"},
                {"field": "meta.external_id", "operator": "not_equals", "value": 7},
                {"field": "duration", "operator": "gt", "value": 1.5},
                {"field": "duration", "operator": "lte", "value": "1e3"},
                {"field": "approved", "operator": "equals", "value": True},
                {"field": "owner", "operator": "exists"},
                {"field": "deleted", "operator": "exists", "value": False},
            ],
        },
        "schemaMapping": {
            "film": {"targetType": "blob", "source": "file", "blobProperty": "film"},
            "year": {"source": "filename_regex", "pattern": r"(\d{4})", "default": "unknown"},
            "reel": {"source": "filename_regex", "pattern": r"(?<=reel-)(\d+)"},
            "genre": {"source": "tag", "key": "genre", "transform": "lowercase"},
            "owner": {"source": "metadata", "key": "owner.name", "required": True},
            "folder": {"source": "folder_path", "segment": -1},
            "origin": {"source": "constant", "value": ""},
        },
        "reconcileOnSync": True,
        "prune": False,
        "driftPolicy": "Warn",
        "deleteLimitPercent": 100,
        "deletionPolicy": "Delete",
        "suspend": True,
        "maxObjectsPerRun": 10_000_000,
        "parallelism": 256,
        "batchSize": 100,
        "jobTemplate": {
            "resources": {"requests": {"cpu": 2, "memory": "1.5Gi"}, "limits": {"cpu": "500m"}},
            "nodeSelector": {"pool": "gpu"},
            "tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}],
            "queueName": "extract",
            "runtimeClassName": "gvisor",
        },
    },
    "Pipeline": {
        "alias": "captions",
        "git": {
            "url": "git@git.test:films/captions.git",
            "secretRef": {"name": "deploy-key"},
            "pollingIntervalSeconds": 60,
        },
        "source": {
            "connectionRef": {"name": "archive"},
            "filters": {"language": "en", "year": 1927, "restored": True},
            "metadataFilters": [{"field": "duration", "operator": "lt", "value": 60}],
        },
        "destination": {"connectionRef": {"name": "shared"}, "collection": "Captions"},
        "secretRef": {"name": "api"},
        "onChange": "All",
        "timeoutSeconds": 30,
    },
}


def changed(kind: str, **changes: Any) -> Spec:
    """The minimal spec of a kind with some fields set anew; None takes a field away."""
    merged = {**MINIMAL[kind], **changes}
    return {name: value for name, value in merged.items() if value is not None}


def filtered(**rule: Any) -> Spec:
    return changed("Sync", fileFilters={"metadataFilters": [{"field": "f", **rule}]})


def mapped(**mapping: Any) -> Spec:
    return changed("Sync", schemaMapping={"year": mapping})


S3 = {"bucket": "media"}
TWICE = [{"name": "text_extractor"}, {"name": "text_extractor", "version": "v2"}]
SCHEMA = {"properties": {"film": {"type": "video"}}}
GIT = {"url": "https://git.test/a.git"}
#: Kind, spec, and what the message of the API server must contain.
BAD: dict[str, tuple[str, Spec, str]] = {
    "no extractors": ("Namespace", {"featureExtractors": []}, "spec.featureExtractors"),
    "extractors missing": ("Namespace", {"state": "ACTIVE"}, "spec.featureExtractors"),
    "extractor given twice": (
        "Namespace", {"featureExtractors": TWICE}, "spec.featureExtractors[1]",
    ),
    "extractor's name": (
        "Namespace", {"featureExtractors": [{"name": "Text"}]}, "spec.featureExtractors[0].name",
    ),
    "extractor's version": (
        "Namespace",
        {"featureExtractors": [{"name": "t", "version": "1"}]},
        "spec.featureExtractors[0].version",
    ),
    "unknown state": ("Namespace", changed("Namespace", state="ASLEEP"), "spec.state"),
    "tenant's characters": ("Namespace", changed("Namespace", tenant="a b"), "spec.tenant"),
    "tenant too long": ("Namespace", changed("Namespace", tenant="a" * 65), "spec.tenant"),
    "reference's name": (
        "Namespace",
        changed("Namespace", weaviate={"connectionRef": {"name": "Shared!"}}),
        "spec.weaviate.connectionRef.name",
    ),
    "unknown provider": ("Connection", {"provider": "ftp"}, "spec.provider"),
    "provider without its block": ("Connection", {"provider": "s3"}, "block `s3` must be given"),
    "two blocks": ("Connection", changed("Connection", s3=S3), "the block `s3`"),
    "block of a blockless provider": (
        "Connection", changed("Connection", googleDrive={}), "the block `googleDrive`",
    ),
    "no provider": ("Connection", {"local": {"path": "/srv"}}, "spec.provider"),
    "relative path": ("Connection", changed("Connection", local={"path": "m"}), "spec.local.path"),
    "bucket missing": ("Connection", {"provider": "s3", "s3": {}}, "spec.s3.bucket"),
    "endpoint without scheme": (
        "Connection",
        {"provider": "s3", "s3": {**S3, "endpoint": "minio:9000"}},
        "spec.s3.endpoint",
    ),
    "port out of range": (
        "Connection",
        {"provider": "weaviate", "weaviate": {"endpoint": "http://w", "grpcPort": 65536}},
        "spec.weaviate.grpcPort",
    ),
    "unknown field in a block": (
        "Connection",
        {"provider": "s3", "s3": {**S3, "accessKeyId": "AKIA"}},
        'unknown field "spec.s3.accessKeyId"',
    ),
    "schema and blobType": (
        "Bucket", changed("Bucket", schema=SCHEMA), "either `schema` or `blobType`",
    ),
    "neither schema nor blobType": (
        "Bucket", changed("Bucket", blobType=None), "either `schema` or `blobType`",
    ),
    "unknown blobType": ("Bucket", changed("Bucket", blobType="film"), "spec.blobType"),
    "schema without properties": (
        "Bucket", changed("Bucket", blobType=None, schema={"properties": {}}),
        "spec.schema.properties",
    ),
    "unknown type of a property": (
        "Bucket",
        changed("Bucket", blobType=None, schema={"properties": {"a": {"type": "x"}}}),
        "spec.schema.properties.a.type",
    ),
    "no namespaceRef": ("Bucket", {"blobType": "text"}, "spec.namespaceRef"),
    "interval too short": (
        "Sync", changed("Sync", pollingIntervalSeconds=29), "spec.pollingIntervalSeconds",
    ),
    "interval too long": (
        "Sync", changed("Sync", pollingIntervalSeconds=86401), "spec.pollingIntervalSeconds",
    ),
    "interval as text": (
        "Sync", changed("Sync", pollingIntervalSeconds="300"), "spec.pollingIntervalSeconds",
    ),
    "unknown mode": ("Sync", changed("Sync", syncMode="always"), "spec.syncMode"),
    "unknown field": (
        "Sync", changed("Sync", pollingInterval=60), 'unknown field "spec.pollingInterval"',
    ),
    "snake_case field": (
        "Sync", changed("Sync", source_path="a"), 'unknown field "spec.source_path"',
    ),
    "fuse beyond 100": (
        "Sync", changed("Sync", deleteLimitPercent=101), "spec.deleteLimitPercent",
    ),
    "fuse below 0": ("Sync", changed("Sync", deleteLimitPercent=-1), "spec.deleteLimitPercent"),
    "no workers": ("Sync", changed("Sync", parallelism=0), "spec.parallelism"),
    "batch too large": ("Sync", changed("Sync", batchSize=101), "spec.batchSize"),
    "reference as text": ("Sync", changed("Sync", bucketRef="reels"), "spec.bucketRef"),
    "no connectionRef": ("Sync", {"bucketRef": {"name": "b"}}, "spec.connectionRef"),
    "sizes the wrong way round": (
        "Sync", changed("Sync", fileFilters={"minSize": 2, "maxSize": 1}), "minSize",
    ),
    "negative size": (
        "Sync", changed("Sync", fileFilters={"minSize": -1}), "spec.fileFilters.minSize",
    ),
    "time without a zone": (
        "Sync",
        changed("Sync", fileFilters={"modifiedAfter": "2026-01-01T00:00:00"}),
        "spec.fileFilters.modifiedAfter",
    ),
    "times the wrong way round": (
        "Sync",
        changed(
            "Sync",
            fileFilters={
                "modifiedAfter": "2026-01-02T00:00:00Z",
                "modifiedBefore": "2026-01-01T00:00:00Z",
            },
        ),
        "modifiedAfter",
    ),
    "patterns as text": (
        "Sync",
        changed("Sync", fileFilters={"includePatterns": "*.txt"}),
        "spec.fileFilters.includePatterns",
    ),
    "empty pattern": (
        "Sync",
        changed("Sync", fileFilters={"includePatterns": [""]}),
        "spec.fileFilters.includePatterns[0]",
    ),
    "unknown operator": (
        "Sync",
        filtered(operator="like", value="a"),
        "spec.fileFilters.metadataFilters[0].operator",
    ),
    "filter without a value": (
        "Sync", filtered(operator="equals"), "spec.fileFilters.metadataFilters[0].value: Required",
    ),
    "comparison with text": (
        "Sync",
        filtered(operator="gt", value="long"),
        "spec.fileFilters.metadataFilters[0].value in body should match",
    ),
    "comparison with a boolean": (
        "Sync", filtered(operator="gte", value=True), "spec.fileFilters.metadataFilters[0].value",
    ),
    "exists with text": (
        "Sync",
        filtered(operator="exists", value="yes"),
        "spec.fileFilters.metadataFilters[0].value: Unsupported value",
    ),
    **{
        f"value {value!r}": (
            "Sync",
            filtered(operator="equals", value=value),
            "spec.fileFilters.metadataFilters[0].value",
        )
        for value in ([], ["a"], {}, {"a": 1}, None)
    },
    "unknown source of a mapping": (
        "Sync", mapped(source="drive_property"), "spec.schemaMapping.year.source",
    ),
    "tag without a key": ("Sync", mapped(source="tag"), "`key` must be given"),
    "metadata without a key": ("Sync", mapped(source="metadata"), "`key` must be given"),
    "expression missing": ("Sync", mapped(source="filename_regex"), "`pattern` must be given"),
    "broken expression": (
        "Sync", mapped(source="filename_regex", pattern="(a"), "spec.schemaMapping[year].pattern",
    ),
    "constant without a value": ("Sync", mapped(source="constant"), "`value` must be given"),
    "quantity": (
        "Sync",
        changed("Sync", jobTemplate={"resources": {"limits": {"cpu": "lots"}}}),
        "spec.jobTemplate.resources",
    ),
    "neither git nor inline": ("Pipeline", {"alias": "a"}, "either `git` or `inline`"),
    "git and inline": ("Pipeline", changed("Pipeline", git=GIT), "either `git` or `inline`"),
    "a URL that is a path": ("Pipeline", {"git": {"url": "/srv/a.git"}}, "spec.git.url"),
    "an empty collection": (
        "Pipeline",
        changed("Pipeline", destination={"collection": ""}),
        "spec.destination.collection",
    ),
    "equal to a list": (
        "Pipeline",
        changed("Pipeline", source={"filters": {"language": ["en"]}}),
        "spec.source.filters.language",
    ),
    "asked too often": (
        "Pipeline",
        {"git": {**GIT, "pollingIntervalSeconds": 5}},
        "spec.git.pollingIntervalSeconds",
    ),
    "no time at all": ("Pipeline", changed("Pipeline", timeoutSeconds=0), "spec.timeoutSeconds"),
    "filter of a Pipeline": (
        "Pipeline",
        changed(
            "Pipeline",
            source={
                "connectionRef": {"name": "a"},
                "metadataFilters": [{"field": "f", "operator": "gt", "value": "x"}],
            },
        ),
        "spec.source.metadataFilters[0].value",
    ),
}  # fmt: skip


NAMED = {**MINIMAL["Namespace"], "tenant": "one"}
#: Kind, the spec before, the spec after, and what the message must contain.
FORBIDDEN: dict[str, tuple[str, Spec, Spec, str]] = {
    "tenant changed": ("Namespace", NAMED, {**NAMED, "tenant": "two"}, "tenant is immutable"),
    "tenant added": ("Namespace", MINIMAL["Namespace"], NAMED, "tenant is immutable"),
    "tenant removed": ("Namespace", NAMED, MINIMAL["Namespace"], "tenant is immutable"),
    "provider changed": (
        "Connection", MINIMAL["Connection"], {"provider": "s3", "s3": S3}, "provider is immutable",
    ),
    "namespaceRef changed": (
        "Bucket",
        MINIMAL["Bucket"],
        changed("Bucket", namespaceRef={"name": "other"}),
        "namespaceRef is immutable",
    ),
    "bucketRef changed": (
        "Sync",
        MINIMAL["Sync"],
        changed("Sync", bucketRef={"name": "other"}),
        "bucketRef is immutable",
    ),
    "connectionRef changed": (
        "Sync",
        MINIMAL["Sync"],
        changed("Sync", connectionRef={"name": "other"}),
        "connectionRef is immutable",
    ),
}  # fmt: skip

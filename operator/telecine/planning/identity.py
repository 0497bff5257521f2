"""Deterministic ids: the same asset has the same id in every process and every cluster's life."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from uuid import UUID

from telecine.api.namespace import FeatureExtractor
from telecine.planning.types import Recipe

_PREFIX = 6
_TENANT_MAX = 64
_TENANT_SAFE = re.compile(r"[A-Za-z0-9-]+\Z")


def _encoded(parts: Iterable[str]) -> bytes:
    """Length-prefixed, so that ("a-b", "c") and ("a", "b-c") differ."""
    out = bytearray()
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        out += len(data).to_bytes(4, "big") + data
    return bytes(out)


def _version8(data: bytes) -> UUID:
    """16 bytes as an RFC 9562 version 8 UUID; its first six bytes stay as they are."""
    value = bytearray(data[:16])
    value[6] = (value[6] & 0x0F) | 0x80
    value[8] = (value[8] & 0x3F) | 0x80
    return UUID(bytes=bytes(value))


_OF_QUERIES = frozenset({"query_model"})
"""Parameters of extractors that say how a query is embedded: no document depends on them."""
_TOMBSTONES = hashlib.sha256(_encoded(("tombstones",))).digest()[:_PREFIX]


def _bucket_prefix(kube_namespace: str, bucket: str) -> bytes:
    return hashlib.sha256(_encoded(("bucket", kube_namespace, bucket))).digest()[:_PREFIX]


def ids_for(kube_namespace: str, bucket: str, connection: str) -> Callable[[str], UUID]:
    """The function from asset id to object id within one Bucket and Connection."""
    prefix = _bucket_prefix(kube_namespace, bucket)
    base = hashlib.sha256(_encoded(("object", kube_namespace, bucket, connection)))

    def identify(asset_id: str) -> UUID:
        digest = base.copy()
        digest.update(asset_id.encode("utf-8", "surrogatepass"))
        return _version8(prefix + digest.digest()[:10])

    return identify


def object_id(kube_namespace: str, bucket: str, connection: str, asset_id: str) -> UUID:
    """The id of an asset's object. All ids of a Bucket begin with the same six bytes."""
    return ids_for(kube_namespace, bucket, connection)(asset_id)


def bucket_range(kube_namespace: str, bucket: str) -> tuple[UUID, UUID]:
    """The lowest and highest id that an object of the Bucket can have, both inclusive."""
    prefix = _bucket_prefix(kube_namespace, bucket)
    rest = 16 - _PREFIX
    return UUID(bytes=prefix + b"\x00" * rest), UUID(bytes=prefix + b"\xff" * rest)


def tombstone_id(object_id: UUID) -> UUID:
    """The id under which the ledger remembers that an object's asset was deleted."""
    digest = hashlib.sha256(_encoded(("tombstone",)) + object_id.bytes).digest()
    return _version8(_TOMBSTONES + digest[:10])


def tombstone_range() -> tuple[UUID, UUID]:
    """The lowest and highest id that a tombstone can have, both inclusive."""
    rest = 16 - _PREFIX
    return UUID(bytes=_TOMBSTONES + b"\x00" * rest), UUID(bytes=_TOMBSTONES + b"\xff" * rest)


def document_id(object_id: UUID, recipe_key: str, content_hash: str, index: int) -> UUID:
    """The id of one document; documents of another content or recipe have other ids."""
    parts = _encoded(("document", recipe_key, content_hash, str(index)))
    return _version8(hashlib.sha256(object_id.bytes + parts).digest())


def tenant_name(
    kube_namespace: str, name: str, prefix: str = "", override: str | None = None
) -> str:
    """The tenant of a Namespace: at most 64 of `[A-Za-z0-9_-]`.

    `_` cannot occur in names of Kubernetes and separates the parts; names with dots, and long
    ones, get a hash in their place.
    """
    if override is not None:
        return override
    parts = [part for part in (prefix, kube_namespace, name) if part]
    plain = "_".join(parts)
    if all(_TENANT_SAFE.match(part) for part in parts) and len(plain) <= _TENANT_MAX:
        return plain
    digest = hashlib.sha256(_encoded(("tenant", prefix, kube_namespace, name))).hexdigest()[:20]
    readable = re.sub(r"[^A-Za-z0-9-]", "-", plain)[: _TENANT_MAX - 22]
    return f"{readable}__{digest}"


def owner_id(prefix: str, kube_namespace: str, bucket: str) -> str:
    """Who may delete an object: the Bucket of this cluster that brought it in."""
    return "telecine/" + hashlib.sha256(_encoded((prefix, kube_namespace, bucket))).hexdigest()[:16]


def connection_id(kube_namespace: str, name: str) -> str:
    """Made from the Connection's name alone, so that a cluster built anew has the same ids."""
    digest = hashlib.sha256(f"{kube_namespace}/{name}".encode()).hexdigest()
    return f"conn_{digest[:24]}"


def recipe(extractor: FeatureExtractor) -> Recipe:
    """An extractor of a Namespace with the digest that identifies it and its parameters.

    The digest is the first 12 hexadecimal digits of a sha256. It is the same for 1 and 1.0: the
    API server makes one of them of what a manifest spells as the other. What only queries depend
    on is not in it.
    """
    made_by = {k: v for k, v in extractor.parameters.items() if k not in _OF_QUERIES}
    canonical = json.dumps(
        _whole([extractor.name, extractor.version, made_by]),
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=True,
    )
    digest = hashlib.sha256(canonical.encode()).hexdigest()[:12]
    return Recipe(extractor.name, extractor.version, extractor.parameters, digest)


def _whole(value: Any) -> Any:
    """A JSON value with integers in place of floats that are whole numbers."""
    if isinstance(value, Mapping):
        return {str(key): _whole(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_whole(inner) for inner in value]
    if isinstance(value, float) and abs(value) < 2**53 and value.is_integer():
        return int(value)
    return value

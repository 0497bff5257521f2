"""The informers' cache: the latest body of each resource, and who refers to whom.

Bodies are kept as compact JSON, about 1 KB each, without what only `kubectl` needs. Of a Secret
nothing is kept at all; the store only knows which resources name it.
"""

from __future__ import annotations

import itertools
import json
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from telecine.execution.jobs import child_name
from telecine.execution.resolve import MissingReferenceError
from telecine.planning.identity import tenant_name

Body = dict[str, Any]
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_TOMBSTONES = 10_000

SECRET = "Secret"
TENANT = "Tenant"
"""Not a kind: tenants are names in Weaviate that Namespaces lay claim to."""


class Key(NamedTuple):
    """A resource. `kind` is one of the five, `Secret`, or `Tenant`."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.namespace}/{self.name}"


def key_of(body: Mapping[str, Any], kind: str) -> Key:
    metadata = body["metadata"]
    return Key(kind, metadata.get("namespace", ""), metadata["name"])


@dataclass(frozen=True)
class Change:
    """What a new body means. Most events of a resource mean nothing to anyone."""

    key: Key
    created: bool = False
    deleted: bool = False
    itself: bool = False
    """Its own controller should look: spec, annotations, deletion, or what others wrote."""
    dependants: bool = False
    """Those that refer to it should look: it came, went, changed its spec or its readiness."""
    body: Body | None = None
    """The new body; of a deleted resource the last one."""


class Store:
    """Thread-safe. A body counts only when its resourceVersion is newer than what is known."""

    def __init__(self, tenant_prefix: str = "") -> None:
        self.tenant_prefix = tenant_prefix
        self._mutex = threading.Lock()
        self._bodies: dict[Key, tuple[int, bytes]] = {}
        self._gone: OrderedDict[Key, int] = OrderedDict()
        self._refers_to: dict[Key, frozenset[Key]] = {}
        self._referrers: dict[Key, set[Key]] = {}

    def put(self, kind: str, body: Mapping[str, Any]) -> Change | None:
        """Takes in a body; None when nothing newer is in it."""
        key, version = key_of(body, kind), version_of(body)
        lean = _lean(body, kind)
        targets = references(kind, lean, self.tenant_prefix)
        with self._mutex:
            known = self._bodies.get(key)
            if version <= (known[0] if known else self._gone.get(key, -1)):
                return None
            self._bodies[key] = (version, json.dumps(lean, separators=(",", ":")).encode())
            self._gone.pop(key, None)
            self._link(key, targets)
        if known is None:
            return Change(key, created=True, itself=True, dependants=True, body=lean)
        before = json.loads(known[1])
        return Change(
            key,
            itself=_own(before) != _own(lean),
            dependants=_face(before) != _face(lean),
            body=lean,
        )

    def remove(self, key: Key, version: int | None = None) -> Change | None:
        """Forgets a resource, unless a version newer than `version` is known."""
        with self._mutex:
            known = self._bodies.get(key)
            if known is None or (version is not None and version < known[0]):
                return None
            del self._bodies[key]
            self._gone[key] = max(known[0], version or 0)
            while len(self._gone) > _TOMBSTONES:
                self._gone.popitem(last=False)
            self._link(key, frozenset())
        return Change(key, deleted=True, itself=True, dependants=True, body=json.loads(known[1]))

    def get(self, key: Key) -> Body | None:
        """A copy of the body, without managedFields."""
        with self._mutex:
            known = self._bodies.get(key)
        return None if known is None else json.loads(known[1])

    def lookup(self, kind: str, namespace: str, name: str) -> Body:
        """As `telecine.execution.resolve.Lookup`. Raises MissingReferenceError."""
        body = self.get(Key(kind, namespace, name))
        if body is None:
            raise MissingReferenceError(kind, name)
        return body

    def keys(self, kind: str | None = None) -> list[Key]:
        with self._mutex:
            return [key for key in self._bodies if kind is None or key.kind == kind]

    def version(self, key: Key) -> int | None:
        with self._mutex:
            known = self._bodies.get(key)
            return known[0] if known else None

    def referrers(self, key: Key, kind: str | None = None) -> list[Key]:
        """Who names this resource, whether it exists or not."""
        with self._mutex:
            found = self._referrers.get(key, ())
            return sorted(k for k in found if kind is None or k.kind == kind)

    def bodies(self, keys: Iterable[Key]) -> Iterator[Body]:
        """The bodies of those that exist."""
        return (body for key in keys if (body := self.get(key)) is not None)

    def __len__(self) -> int:
        with self._mutex:
            return len(self._bodies)

    def _link(self, key: Key, targets: frozenset[Key]) -> None:
        before = self._refers_to.get(key, frozenset())
        for target in before - targets:
            referrers = self._referrers[target]
            referrers.discard(key)
            if not referrers:
                del self._referrers[target]
        for target in targets - before:
            self._referrers.setdefault(target, set()).add(key)
        if targets:
            self._refers_to[key] = targets
        else:
            self._refers_to.pop(key, None)


def version_of(body: Mapping[str, Any]) -> int:
    """The resourceVersion as a number; they are ordered since Kubernetes 1.35."""
    return int(body["metadata"]["resourceVersion"])


def references(kind: str, body: Mapping[str, Any], tenant_prefix: str = "") -> frozenset[Key]:
    """All that a resource names in its spec, in its own Kubernetes namespace."""
    spec, namespace = body.get("spec") or {}, body["metadata"].get("namespace", "")

    def named(target: str, *path: str) -> Iterator[Key]:
        node: Any = spec
        for part in (*path, "name"):
            node = node.get(part) if isinstance(node, dict) else None
        if node:
            yield Key(target, namespace, node)

    match kind:
        case "Namespace":
            tenant = tenant_name(
                namespace, body["metadata"]["name"], tenant_prefix, spec.get("tenant")
            )
            found: Iterable[Key] = itertools.chain(
                named("Connection", "weaviate", "connectionRef"), [Key(TENANT, "", tenant)]
            )
        case "Connection":
            found = named(SECRET, "secretRef")
        case "Bucket":
            found = itertools.chain(
                named("Namespace", "namespaceRef"), named("Connection", "storage", "connectionRef")
            )
        case "Sync":
            found = itertools.chain(
                named("Bucket", "bucketRef"), named("Connection", "connectionRef")
            )
        case "Pipeline":
            child = child_name(body["metadata"]["name"])
            found = itertools.chain(
                named("Connection", "source", "connectionRef"),
                named("Connection", "destination", "connectionRef"),
                named(SECRET, "git", "secretRef"),
                (Key(kind, namespace, child) for kind in ("Namespace", "Bucket", "Sync")),
            )
        case _:
            found = ()
    return frozenset(found)


def ready_condition(body: Mapping[str, Any]) -> dict[str, Any] | None:
    conditions = (body.get("status") or {}).get("conditions") or []
    return next((dict(c) for c in conditions if c["type"] == "Ready"), None)


def _lean(body: Mapping[str, Any], kind: str) -> Body:
    metadata = {k: v for k, v in body["metadata"].items() if k != "managedFields"}
    if _LAST_APPLIED in (metadata.get("annotations") or {}):
        kept = {k: v for k, v in metadata["annotations"].items() if k != _LAST_APPLIED}
        metadata["annotations"] = kept
    return {**body, "kind": kind, "metadata": metadata}


def _own(body: Mapping[str, Any]) -> tuple[Any, ...]:
    """What its own controller acts on: the spec, what users say, and what workers write."""
    metadata, status = body["metadata"], body.get("status") or {}
    return (
        metadata["uid"],
        metadata.get("generation"),
        metadata.get("annotations"),
        metadata.get("deletionTimestamp"),
        status.get("run"),
    )


def _face(body: Mapping[str, Any]) -> tuple[Any, ...]:
    """What those that refer to a resource see of it."""
    metadata, status = body["metadata"], body.get("status") or {}
    ready = ready_condition(body) or {}
    return (
        metadata["uid"],
        metadata.get("generation"),
        metadata.get("deletionTimestamp"),
        status.get("phase"),
        ready.get("status"),
        status.get("secretResourceVersion"),
    )

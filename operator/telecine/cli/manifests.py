"""Manifests on disk, resolved as the cluster would resolve them once they are applied."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from lightkube.core.exceptions import ConfigError
from pydantic import ValidationError

from telecine.api.base import API_VERSION, GROUP
from telecine.api.kinds import KINDS
from telecine.cli.common import fail
from telecine.execution.kube import load_client
from telecine.execution.resolve import (
    Lookup,
    MissingReferenceError,
    ResolvedSync,
    cluster_lookup,
    resolve_from,
)
from telecine.settings import Settings

Body = dict[str, Any]
Key = tuple[str, str, str]
_SPECS = {kind.kind: kind.spec for kind in KINDS}


class Manifests:
    """Resources by kind, Kubernetes namespace and name; what is not there is asked of the cluster."""

    def __init__(self, bodies: dict[Key, Body], cluster: Lookup | None) -> None:
        self._bodies, self._cluster = bodies, cluster

    @classmethod
    def read(cls, paths: list[Path], kube_namespace: str | None) -> Manifests:
        """Reads and validates YAML files and folders of them; ends the command on the first error."""
        default, cluster = _cluster(kube_namespace)
        bodies: dict[Key, Body] = {}
        for path in paths:
            for file in _files(path):
                for body in _documents(file):
                    metadata = body.get("metadata") or {}
                    kind = str(body.get("kind"))
                    namespace = metadata.get("namespace") or default
                    if body.get("apiVersion") == API_VERSION:
                        _validate(file, body)
                    elif not (kind == "Secret" and body.get("apiVersion") == "v1"):
                        continue
                    bodies[kind, namespace, str(metadata.get("name"))] = body
        return cls(bodies, cluster)

    def names(self, kind: str) -> list[tuple[str, str]]:
        """Kubernetes namespace and name of each resource of a kind, in order."""
        return sorted((ns, name) for k, ns, name in self._bodies if k == kind)

    def resolve(self, kube_namespace: str, sync: str) -> ResolvedSync:
        return resolve_from(self.lookup, kube_namespace, sync, Settings())

    def lookup(self, kind: str, kube_namespace: str, name: str) -> Body:
        body = self._bodies.get((kind, kube_namespace, name))
        if body is not None:
            return body
        if self._cluster is None:
            raise MissingReferenceError(kind, name)
        return self._cluster(kind, kube_namespace, name)


def _cluster(kube_namespace: str | None) -> tuple[str, Lookup | None]:
    try:
        client = load_client()
    except ConfigError:
        return kube_namespace or "default", None
    return kube_namespace or client.namespace, cluster_lookup(client)


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from sorted(p for p in path.iterdir() if p.suffix in (".yaml", ".yml", ".json"))
    elif path.exists():
        yield path
    else:
        fail(f"{path} does not exist")


def _documents(file: Path) -> Iterator[Body]:
    try:
        for body in yaml.safe_load_all(file.read_text("utf-8")):
            if isinstance(body, dict) and body.get("kind") == "List":
                yield from (item for item in body.get("items") or [] if isinstance(item, dict))
            elif isinstance(body, dict):
                yield body
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        fail(f"{file}: {error}")


def _validate(file: Path, body: Body) -> None:
    kind = str(body.get("kind"))
    name = (body.get("metadata") or {}).get("name", "")
    if kind not in _SPECS:
        fail(f"{file}: {kind} is not a kind of {GROUP}")
    try:
        _SPECS[kind].parse(body.get("spec") or {})
    except TypeError as error:
        fail(f"{file}: {kind} {name}: {error}")
    except ValidationError as error:
        lines = [
            f"spec.{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}"
            for problem in error.errors()
        ]
        fail(f"{file}: {kind} {name}:\n  " + "\n  ".join(lines))

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
    """Resources by kind, Kubernetes namespace and name; the cluster is asked for the others."""

    def __init__(
        self, bodies: dict[Key, Body], files: dict[Key, Path], cluster: Lookup | None
    ) -> None:
        self._bodies, self._files, self._cluster = bodies, files, cluster

    @classmethod
    def read(cls, paths: list[Path], kube_namespace: str | None) -> Manifests:
        """Reads and validates YAML files and folders; ends the command on the first error."""
        default, cluster = _cluster(kube_namespace)
        bodies: dict[Key, Body] = {}
        files: dict[Key, Path] = {}
        for path in paths:
            for file in _files(path):
                for body in _documents(file):
                    if not _concerns(file, body):
                        continue
                    metadata = body["metadata"]
                    key = body["kind"], metadata.get("namespace") or default, metadata["name"]
                    bodies[key], files[key] = body, file
        return cls(bodies, files, cluster)

    def names(self, kind: str) -> list[tuple[str, str]]:
        """Kubernetes namespace and name of each resource of a kind, in order."""
        return sorted((ns, name) for k, ns, name in self._bodies if k == kind)

    def resolve(self, kube_namespace: str, sync: str) -> ResolvedSync:
        """A Sync with all that it refers to; ends the command when something is not there."""
        try:
            return resolve_from(self.lookup, kube_namespace, sync, Settings())
        except MissingReferenceError as error:
            asked = "nor in the cluster" if self._cluster else "and there is no cluster to ask"
            fail(
                f"{self._files['Sync', kube_namespace, sync]}: Sync {sync} needs {error.kind} "
                f"{error.name}: {error} in the manifests, {asked}. Add its manifest with -f, "
                f"or correct the reference"
            )

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


def _concerns(file: Path, body: Body) -> bool:
    """Whether a document is one that a plan reads; ends the command when it is not whole."""
    version, kind = str(body.get("apiVersion") or ""), body.get("kind")
    if not version or not isinstance(kind, str):
        missing = "kind" if version else "apiVersion"
        fail(f"{file}: a document has no {missing}: write apiVersion: {API_VERSION} and its kind")
    metadata = body.get("metadata")
    if version.partition("/")[0] == GROUP:
        if version != API_VERSION:
            fail(f"{file}: {kind}: apiVersion {version} is not served; write {API_VERSION}")
    elif (version, kind) != ("v1", "Secret"):
        return False
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str):
        fail(f"{file}: {kind}: metadata.name is missing")
    if version == API_VERSION:
        _validate(file, body)
    return True


def _validate(file: Path, body: Body) -> None:
    kind, name = body["kind"], body["metadata"]["name"]
    if kind not in _SPECS:
        fail(f"{file}: {kind} is not a kind of {GROUP}; there are {', '.join(_SPECS)}")
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

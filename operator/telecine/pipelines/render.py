"""Manifests of Pipelines from a repository's folders, each with `handler.py` and `config.json`."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from telecine.api.base import API_VERSION
from telecine.api.pipeline import PipelineSpec
from telecine.pipelines.bundle import HANDLER, MOST_FILES, MOST_UNPACKED, Bundle, BundleError
from telecine.pipelines.config import CONFIG, ConfigError, PipelineConfig, effective, parse_config

#: What lies in work trees and is not committed, or is no pipeline.
LEFT_OUT = frozenset({"__pycache__", ".git", ".venv", "node_modules", ".pytest_cache"})
_NO_NAME = re.compile(r"[^a-z0-9]+")
_LONGEST = 63


@dataclass(frozen=True)
class RenderOptions:
    """What the manifests have besides what the folders say."""

    url: str
    ref: str
    prefix: str = ""
    """Where the given folder is in its repository, without `/` at the ends."""
    connections: Mapping[str, str] = field(default_factory=dict)
    """Names of Connections by what `connection_id` says."""
    kube_namespace: str | None = None
    secret: str | None = None
    """The Secret with the repository's credentials."""


@dataclass(frozen=True)
class Rendered:
    manifests: tuple[dict[str, Any], ...]
    faults: tuple[str, ...]
    """What is wrong with the folders that have no manifest; each begins with the folder."""
    unused: tuple[str, ...]
    """Of `RenderOptions.connections` those that no config.json names."""


def render(root: Path, options: RenderOptions) -> Rendered:
    """The Pipelines of a folder, in the order of their folders' names; reads, executes nothing.

    A pipeline is a folder directly below with `handler.py` or `config.json`, or `root` itself.

    Raises:
        OSError: the folder cannot be read.
    """
    manifests: dict[str, dict[str, Any]] = {}
    folders: dict[str, str] = {}
    faults: list[str] = []
    used: set[str] = set()
    for folder in _pipelines(root):
        shown = "." if folder == root else folder.name
        try:
            config = _read(folder, shown)
            manifest = _manifest(folder, shown, config, options)
        except ConfigError as error:
            faults += (_in_folder(fault, shown) for fault in error.faults)
            continue
        except BundleError as error:
            start = "/" if str(error).startswith(HANDLER) else ": "
            faults.append(f"{shown}{start}{error}")
            continue
        name = manifest["metadata"]["name"]
        if name in manifests:
            faults.append(f"{shown}/{CONFIG}: alias: {folders[name]} is {name} too: choose another")
            continue
        manifests[name], folders[name] = manifest, shown
        used |= {config.source.connection_id or "", config.destination.connection_id or ""}
    unused = tuple(sorted(set(options.connections) - used)) if not faults else ()
    return Rendered(tuple(manifests.values()), tuple(faults), unused)


def safe_name(alias: str) -> str:
    """An alias as a DNS-1123 label: `Video Processor` becomes `video-processor`. May be empty."""
    return _NO_NAME.sub("-", alias.lower()).strip("-")[:_LONGEST].rstrip("-")


def _pipelines(root: Path) -> Iterator[Path]:
    if (root / HANDLER).exists():
        yield root
    for folder in sorted(root.iterdir(), key=lambda path: path.name):
        hidden = folder.name.startswith(".") or folder.name in LEFT_OUT
        if not hidden and folder.is_dir() and any((folder / n).exists() for n in (HANDLER, CONFIG)):
            yield folder


def _read(folder: Path, shown: str) -> PipelineConfig:
    """Raises BundleError and ConfigError."""
    files = dict(_files(folder))
    Bundle(files, "").check()
    if CONFIG not in files:
        raise BundleError(f"{CONFIG} is missing: add it, with alias, source and destination")
    return parse_config(files[CONFIG], f"{shown}/{CONFIG}")


def _files(folder: Path) -> Iterator[tuple[str, bytes]]:
    count = size = 0
    for base, folders, names in os.walk(folder):
        folders[:] = sorted(set(folders) - LEFT_OUT)
        for name in sorted([*names, *(f for f in folders if Path(base, f).is_symlink())]):
            path = Path(base, name)
            relative = path.relative_to(folder).as_posix()
            if path.is_symlink() or not path.is_file():
                raise BundleError(f"{relative} is no plain file: put the file itself there")
            count, size = count + 1, size + path.stat().st_size
            if count > MOST_FILES or size > MOST_UNPACKED:
                raise BundleError(
                    f"up to {relative} it has {count} files and {size:,} bytes; {MOST_FILES} and "
                    f"{MOST_UNPACKED:,} are allowed: take out what is no code"
                )
            yield relative, path.read_bytes()


def _in_folder(fault: str, shown: str) -> str:
    return fault if fault.startswith(f"{shown}/") else f"{shown}: {fault}"


def _manifest(
    folder: Path, shown: str, config: PipelineConfig, options: RenderOptions
) -> dict[str, Any]:
    alias = config.alias or folder.resolve().name
    name = safe_name(alias)
    if not name:
        raise ConfigError(
            [f"{shown}/{CONFIG}: alias: {alias!r} has no letter or digit of a-z, 0-9"]
        )
    path = "/".join(part for part in (options.prefix, shown if shown != "." else "") if part)
    git: dict[str, Any] = {"url": options.url, "ref": options.ref, "path": path or "."}
    if options.secret:
        git["secretRef"] = {"name": options.secret}
    spec: dict[str, Any] = {"git": git}
    for part in ("source", "destination"):
        connection = options.connections.get(getattr(config, part).connection_id or "")
        if connection:
            spec[part] = {"connectionRef": {"name": connection}}
    try:
        effective(PipelineSpec.parse(spec), config)
    except ValidationError as error:
        wrong = ".".join(map(str, error.errors()[0]["loc"]))
        raise BundleError(f"spec.{wrong}: {error.errors()[0]['msg']}") from error
    metadata = {"name": name}
    if options.kube_namespace:
        metadata["namespace"] = options.kube_namespace
    return {"apiVersion": API_VERSION, "kind": "Pipeline", "metadata": metadata, "spec": spec}

"""Manifests of Pipelines from a repository's folders, each with `handler.py` and `config.json`."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from telecine.api.base import API_VERSION
from telecine.api.pipeline import PipelineSpec
from telecine.pipelines.bundle import HANDLER, MOST_FILES, MOST_UNPACKED, Bundle, BundleError
from telecine.pipelines.config import CONFIG, ConfigError, PipelineConfig, effective, parse_config
from telecine.pipelines.git_errors import GitError

#: What lies in work trees and is not committed, or is no pipeline.
LEFT_OUT = frozenset({"__pycache__", ".git", ".venv", "node_modules", ".pytest_cache"})
_NO_NAME = re.compile(r"[^a-z0-9]+")
_LONGEST, _SUFFIX = 63, 6


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


@dataclass(frozen=True)
class Folder:
    """A pipeline's folder, or why there is none."""

    path: str
    """As faults name it, and below `RenderOptions.prefix`; `.` is the root."""
    name: str
    """What the pipeline is called without an alias."""
    files: Mapping[str, bytes] | str
    """A fault as text, which begins with the folder."""


def render(folders: Iterable[Folder], options: RenderOptions) -> Rendered:
    """The Pipelines of folders, in their order. Executes nothing."""
    pipelines: dict[str, tuple[Folder, PipelineConfig]] = {}
    faults: list[str] = []
    for folder in folders:
        try:
            config = _config(folder)
            _require_complete(folder, config, options)
            alias = _alias(folder, config, pipelines)
        except ConfigError as error:
            faults += (_in_folder(fault, folder.path) for fault in error.faults)
            continue
        pipelines[alias] = (folder, config)
    names = _names(pipelines)
    manifests = tuple(
        _manifest(names[alias], _spec(folder, config, options), options)
        for alias, (folder, config) in pipelines.items()
    )
    sides = (
        side for _, config in pipelines.values() for side in (config.source, config.destination)
    )
    unused = set(options.connections) - {side.connection_id for side in sides}
    return Rendered(manifests, tuple(faults), () if faults else tuple(sorted(unused)))


def of_checkout(root: Path) -> Iterator[Folder]:
    """The folders directly below with `handler.py` or `config.json`, sorted, and `root` itself.

    Raises:
        OSError: one cannot be read.
    """
    for folder in _pipelines(root):
        path = "." if folder == root else folder.name
        name = folder.resolve().name
        try:
            yield Folder(path, name, dict(_files(folder)))
        except BundleError as error:
            yield Folder(path, name, _told(error, path))


def of_repository(
    url: str, found: Mapping[str, Mapping[str, bytes] | GitError]
) -> Iterator[Folder]:
    """The folders that `fetch_folders` found."""
    root = url.rstrip("/").removesuffix(".git").replace(":", "/").rpartition("/")[2]
    for path, files in found.items():
        if path in LEFT_OUT:
            continue
        given = f"{path}: {files}" if isinstance(files, GitError) else files
        yield Folder(path, root if path == "." else path, given)


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


def _config(folder: Folder) -> PipelineConfig:
    """Raises ConfigError, also for files that are no bundle."""
    if isinstance(folder.files, str):
        raise ConfigError([folder.files])
    try:
        Bundle(folder.files, "").check()
    except BundleError as error:
        raise ConfigError([_told(error, folder.path)]) from error
    if CONFIG not in folder.files:
        raise ConfigError(
            [f"{folder.path}/{CONFIG}: it is missing: add it, with alias, source and destination"]
        )
    return parse_config(folder.files[CONFIG], f"{folder.path}/{CONFIG}")


def _alias(folder: Folder, config: PipelineConfig, others: Mapping[str, Any]) -> str:
    alias, place = config.alias or folder.name, f"{folder.path}/{CONFIG}: alias"
    if not safe_name(alias):
        raise ConfigError([f"{place}: {alias!r} has no letter or digit of a-z, 0-9"])
    if alias in others:
        raise ConfigError([f"{place}: {others[alias][0].path} has it too: choose another"])
    return alias


def _names(aliases: Iterable[str]) -> dict[str, str]:
    """Names of Pipelines by alias. One that had to be changed makes way for others."""
    # What is a name as it stands comes first, whatever folder it is in.
    ordered = sorted(aliases, key=lambda alias: safe_name(alias) != alias)
    names: dict[str, str] = {}
    taken: set[str] = set()
    for alias in ordered:
        name, digits = safe_name(alias), hashlib.sha256(alias.encode()).hexdigest()
        length = _SUFFIX
        while name in taken:
            name = f"{safe_name(alias)[: _LONGEST - length - 1].rstrip('-')}-{digits[:length]}"
            length += 1
        names[alias] = name
        taken.add(name)
    return names


def _told(error: BundleError, path: str) -> str:
    return f"{path}/{error}" if error.file else f"{path}: {error}"


def _files(folder: Path) -> Iterator[tuple[str, bytes]]:
    count = size = 0
    for base, folders, names in os.walk(folder):
        folders[:] = sorted(set(folders) - LEFT_OUT)
        for name in sorted([*names, *(f for f in folders if Path(base, f).is_symlink())]):
            path = Path(base, name)
            relative = path.relative_to(folder).as_posix()
            if path.is_symlink() or not path.is_file():
                raise BundleError(relative, "it is no plain file: put the file itself there")
            count, size = count + 1, size + path.stat().st_size
            if count > MOST_FILES or size > MOST_UNPACKED:
                raise BundleError(
                    relative,
                    f"with it the folder has {count} files and {size:,} bytes; {MOST_FILES} and "
                    f"{MOST_UNPACKED:,} are allowed: take out what is no code",
                )
            yield relative, path.read_bytes()


def _in_folder(fault: str, shown: str) -> str:
    return fault if fault.startswith((f"{shown}/", f"{shown}: ")) else f"{shown}: {fault}"


def _spec(folder: Folder, config: PipelineConfig, options: RenderOptions) -> dict[str, Any]:
    path = "/".join(part for part in (options.prefix, folder.path) if part not in ("", "."))
    git: dict[str, Any] = {"url": options.url, "ref": options.ref, "path": path or "."}
    if options.secret:
        git["secretRef"] = {"name": options.secret}
    spec: dict[str, Any] = {"git": git}
    for part in ("source", "destination"):
        connection = options.connections.get(getattr(config, part).connection_id or "")
        if connection:
            spec[part] = {"connectionRef": {"name": connection}}
    return spec


def _require_complete(folder: Folder, config: PipelineConfig, options: RenderOptions) -> None:
    """Raises ConfigError unless the manifest would be valid and all is given."""
    try:
        effective(PipelineSpec.parse(_spec(folder, config, options)), config)
    except ValidationError as error:
        wrong = ".".join(map(str, error.errors()[0]["loc"]))
        raise ConfigError([f"{folder.path}: spec.{wrong}: {error.errors()[0]['msg']}"]) from error


def _manifest(name: str, spec: dict[str, Any], options: RenderOptions) -> dict[str, Any]:
    metadata = {"name": name}
    if options.kube_namespace:
        metadata["namespace"] = options.kube_namespace
    return {"apiVersion": API_VERSION, "kind": "Pipeline", "metadata": metadata, "spec": spec}

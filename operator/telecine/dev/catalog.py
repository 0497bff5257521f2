"""The programs of the development environment: versions, releases, Go packages, cache places."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from telecine.settings import cache_dir

KUBERNETES, ETCD, WEAVIATE, HELM = "1.37.2", "3.7.0", "1.35.2", "3.22.0"
# Without these an API server calls itself v0.0.0.
_KUBERNETES_FLAGS = (
    "-s -w"
    f" -X k8s.io/component-base/version.gitVersion=v{KUBERNETES}"
    f" -X k8s.io/component-base/version.gitMajor={KUBERNETES.split('.')[0]}"
    f" -X k8s.io/component-base/version.gitMinor={KUBERNETES.split('.')[1]}"
)


class BinaryError(Exception):
    """A program cannot be had; `str()` says what was tried and what would help."""


@dataclass(frozen=True)
class Binary:
    """One program: where its release is, and the Go package it is built from."""

    name: str
    version: str
    module: str
    """Folder below `modules/` whose go.mod pins it."""
    package: str
    flags: str
    """The linker's."""
    releases: str
    """Environment variable with the base URL of its releases."""
    default: str
    """The base URL where that variable is not set."""
    asset: str
    """Path below the base URL; `{v}`, `{os}`, `{arch}` are filled in."""
    checksum: str
    """Path of the checksum file: a sha256 alone, or lines of sha256 and file name."""
    version_flag: str = "--version"
    cgo: bool = False


def _kubernetes(name: str) -> Binary:
    asset = f"v{{v}}/bin/{{os}}/{{arch}}/{name}"
    return Binary(
        name, KUBERNETES, "kubernetes", f"k8s.io/kubernetes/cmd/{name}", _KUBERNETES_FLAGS,
        "TELECINE_KUBERNETES_RELEASES", "https://dl.k8s.io", asset, asset + ".sha256",
        "version --client" if name == "kubectl" else "--version",
    )  # fmt: skip


BINARIES: dict[str, Binary] = {
    b.name: b
    for b in (
        Binary(
            "etcd", ETCD, "kubernetes", "go.etcd.io/etcd/server/v3", "-s -w",
            "TELECINE_ETCD_RELEASES", "https://github.com/etcd-io/etcd/releases/download",
            "v{v}/etcd-v{v}-{os}-{arch}.tar.gz", "v{v}/SHA256SUMS",
        ),
        _kubernetes("kube-apiserver"),
        _kubernetes("kube-controller-manager"),
        _kubernetes("kube-proxy"),
        _kubernetes("kube-scheduler"),
        _kubernetes("kubelet"),
        _kubernetes("kubectl"),
        Binary(
            "helm", HELM, "helm", "helm.sh/helm/v3/cmd/helm",
            f"-s -w -X helm.sh/helm/v3/internal/version.version=v{HELM}",
            "TELECINE_HELM_RELEASES", "https://get.helm.sh",
            "helm-v{v}-{os}-{arch}.tar.gz", "helm-v{v}-{os}-{arch}.tar.gz.sha256sum",
            "version --short",
        ),
        Binary(
            "weaviate", WEAVIATE, "weaviate",
            "github.com/weaviate/weaviate/cmd/weaviate-server", "-s -w",
            "TELECINE_WEAVIATE_RELEASES", "https://github.com/weaviate/weaviate/releases/download",
            "v{v}/weaviate-v{v}-{os}-{arch}.tar.gz",
            "v{v}/weaviate-v{v}-{os}-{arch}.tar.gz.sha256", cgo=True,
        ),
    )
}  # fmt: skip


def cached(binary: Binary) -> Path:
    """Where the cache has it, or will."""
    return cache_dir() / "bin" / f"{binary.name}-{binary.version}"


def install(source: Path, binary: Binary) -> Path:
    """Puts a program into the cache in one step: nobody ever finds half of it there."""
    target = cached(binary)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        shutil.copyfile(source, temporary)
        temporary.chmod(0o755)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    return target

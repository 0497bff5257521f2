"""Finds, fetches or builds the programs of the development environment.

In this order: the folder `TELECINE_BIN_DIR`; PATH, for the right version; the cache; the official
release download, checked against the checksum published beside it; `go build` from the pinned
modules in `modules/`. The cache is outside every checkout, so that a machine pays once.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx2

from telecine.settings import cache_dir

KUBERNETES, ETCD, WEAVIATE = "1.37.2", "3.7.0", "1.35.2"
_KUBERNETES_FLAGS = (
    "-s -w"
    f" -X k8s.io/component-base/version.gitVersion=v{KUBERNETES}"
    f" -X k8s.io/component-base/version.gitMajor={KUBERNETES.split('.')[0]}"
    f" -X k8s.io/component-base/version.gitMinor={KUBERNETES.split('.')[1]}"
)
Say = Callable[[str], None]
_PROGRESS_SECONDS = 15.0


class BinaryError(Exception):
    """A program cannot be had; `str()` says what was tried and what would help."""


@dataclass(frozen=True)
class Binary:
    """One program: where its release is, and the Go package it is built from."""

    name: str
    version: str
    module: str
    package: str
    flags: str
    releases: str
    """Environment variable with the base URL of its releases, and the public default."""
    default: str
    asset: str
    """Path below the base URL; `{v}`, `{os}`, `{arch}` are filled in."""
    checksum: str
    """Path of the checksum file: the hash alone, or lines of hash and file name."""
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
        _kubernetes("kubectl"),
        Binary(
            "weaviate", WEAVIATE, "weaviate",
            "github.com/weaviate/weaviate/cmd/weaviate-server", "-s -w",
            "TELECINE_WEAVIATE_RELEASES", "https://github.com/weaviate/weaviate/releases/download",
            "v{v}/weaviate-v{v}-{os}-{arch}.tar.gz",
            "v{v}/weaviate-v{v}-{os}-{arch}.tar.gz.sha256", cgo=True,
        ),
    )
}  # fmt: skip


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def ensure(names: Sequence[str] = tuple(BINARIES), say: Say = _say) -> dict[str, Path]:
    """The path of each program, found, fetched or built.

    Raises:
        BinaryError: a program cannot be had, or a download has the wrong checksum.
    """
    found = {name: find(BINARIES[name]) for name in names}
    missing = [BINARIES[name] for name, path in found.items() if path is None]
    for module in dict.fromkeys(b.module for b in missing):
        with _locked(module, say):
            wanted = [b for b in missing if b.module == module and find(b) is None]
            left = [b for b in wanted if not fetch(b, say)]
            if left:
                build(left, say)
    paths = {name: find(BINARIES[name]) for name in names}
    return {name: path for name, path in paths.items() if path is not None}


def cached(binary: Binary) -> Path:
    """Where the cache has it, or will."""
    return cache_dir() / "bin" / f"{binary.name}-{binary.version}"


def find(binary: Binary) -> Path | None:
    """A program that is there already; None when it must be fetched or built."""
    folder = os.environ.get("TELECINE_BIN_DIR")
    if folder and os.access(Path(folder) / binary.name, os.X_OK):
        return Path(folder) / binary.name
    on_path = shutil.which(binary.name)
    if on_path and (
        binary.name == "kubectl" or version_of(Path(on_path), binary) == binary.version
    ):
        return Path(on_path)
    path = cached(binary)
    return path if os.access(path, os.X_OK) else None


def version_of(path: Path, binary: Binary) -> str | None:
    """What a program says its version is."""
    try:
        said = subprocess.run(
            [path, *binary.version_flag.split()], capture_output=True, text=True, timeout=20
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r"(\d+\.\d+\.\d+)", said.stdout)
    return match.group(1) if match else None


def fetch(binary: Binary, say: Say) -> bool:
    """Downloads the official release; False when its host cannot be reached or has none.

    Raises:
        BinaryError: the download is not what its checksum file says.
    """
    base = os.environ.get(binary.releases, binary.default).rstrip("/")
    arch = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    facts = {"v": binary.version, "os": platform.system().lower(), "arch": arch}
    asset, checksum = binary.asset.format(**facts), binary.checksum.format(**facts)
    try:
        with (
            httpx2.Client(timeout=httpx2.Timeout(60.0, connect=5.0), follow_redirects=True) as http,
            tempfile.TemporaryDirectory() as folder,
        ):
            sums = http.get(f"{base}/{checksum}")
            sums.raise_for_status()
            target = Path(folder) / asset.rpartition("/")[2]
            say(f"downloading {binary.name} {binary.version}")
            digest = _download(http, f"{base}/{asset}", target)
            wanted = published(sums.text, target.name)
            if digest != wanted:
                raise BinaryError(
                    f"{binary.name} {binary.version} from {base}: its sha256 is {digest}, "
                    f"published is {wanted}. It was not installed."
                )
            _install(_unpacked(target, binary.name), cached(binary))
    except httpx2.HTTPError as error:
        say(f"no release download of {binary.name} here ({type(error).__name__})")
        return False
    return True


def published(sums: str, file: str) -> str:
    """The hash for a file from a checksum file of either form.

    Raises:
        BinaryError: there is none.
    """
    for line in sums.splitlines():
        parts = line.split()
        if len(parts) == 1 or (len(parts) > 1 and parts[-1].lstrip("*").endswith(file)):
            return parts[0].lower()
    raise BinaryError(f"the checksum file names no {file}")


def _download(http: httpx2.Client, url: str, target: Path) -> str:
    digest = hashlib.sha256()
    with http.stream("GET", url) as answer, target.open("wb") as file:
        answer.raise_for_status()
        for piece in answer.iter_bytes(1 << 20):
            digest.update(piece)
            file.write(piece)
    return digest.hexdigest()


def _unpacked(archive: Path, name: str) -> Path:
    if not archive.name.endswith(".tar.gz"):
        return archive
    with tarfile.open(archive) as tar:
        for member in tar:
            if member.isfile() and member.name.rpartition("/")[2] == name:
                member.name = "unpacked"
                tar.extract(member, archive.parent, filter="data")
                return archive.parent / "unpacked"
    raise BinaryError(f"{archive.name} has no {name} in it")


def _install(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.copyfile(source, temporary)
    temporary.chmod(0o755)
    temporary.replace(target)


def build(binaries: Sequence[Binary], say: Say) -> None:
    """Builds programs of one module with Go.

    Raises:
        BinaryError: there is no Go, or the build failed; with the end of its output.
    """
    go = shutil.which("go")
    names = ", ".join(f"{b.name} {b.version}" for b in binaries)
    if go is None:
        raise BinaryError(
            f"{names}: not on PATH, not downloadable, and no Go to build with. Install Go, or "
            "name a folder that has them in TELECINE_BIN_DIR."
        )
    say(f"building {names} with Go (minutes, once on this machine)")
    source = Path(__file__).parent / "modules" / binaries[0].module
    with tempfile.TemporaryDirectory(prefix="telecine-build-") as folder:
        shutil.copytree(source, folder, dirs_exist_ok=True)
        for binary in binaries:
            output = Path(folder) / "out" / binary.name
            command = [
                go, "build", "-trimpath", "-ldflags", binary.flags, "-o", str(output),
                binary.package,
            ]  # fmt: skip
            env = {**os.environ, "GOFLAGS": "-mod=mod -buildvcs=false", "GOWORK": "off"}
            if not binary.cgo:
                env["CGO_ENABLED"] = "0"
            _run(command, Path(folder), env, f"building {binary.name}", say)
            _install(output, cached(binary))
            say(f"built {binary.name} {binary.version}")


def _run(command: list[str], folder: Path, env: dict[str, str], what: str, say: Say) -> None:
    began = time.monotonic()
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, cwd=folder, env=env, stdout=log, stderr=log)
        try:
            while True:
                try:
                    code = process.wait(timeout=_PROGRESS_SECONDS)
                    break
                except subprocess.TimeoutExpired:
                    say(f"{what}: {time.monotonic() - began:.0f} s")
        except BaseException:
            process.kill()
            process.wait()
            raise
        if code:
            log.seek(0)
            tail = "".join(log.readlines()[-20:])
            raise BinaryError(f"{what} failed with code {code}:\n{tail}")


@contextlib.contextmanager
def _locked(name: str, say: Say) -> Iterator[None]:
    """One process at a time builds a module; others wait and then find it built."""
    folder = cache_dir() / "bin"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f".{name}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another process that gets the binaries of {name}")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def main() -> None:
    """`python -m telecine.dev.binaries`: makes sure of all, and prints where they are."""
    try:
        for name, path in ensure().items():
            print(f"{name}\t{path}")
    except BinaryError as error:
        _say(f"error: {error}")
        sys.exit(1)


if __name__ == "__main__":
    main()

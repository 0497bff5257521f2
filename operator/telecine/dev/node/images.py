"""Images for a node without a registry: built with buildah, kept as archives.

The base is made from Debian's packages by debootstrap. Everything is cached by what it is made
from, outside of the checkout, so that a machine pays once.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from telecine.dev.node.config import PAUSE
from telecine.dev.progress import Say, say, stage
from telecine.settings import cache_dir

_PACKAGES = "python3,python3-venv,ca-certificates,git,openssh-client"
#: Named by what is in it: a machine's cache may have an older one.
BASE = f"localhost/telecine-base:bookworm-{hashlib.sha256(_PACKAGES.encode()).hexdigest()[:8]}"
_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
_PAUSE_SOURCE = """package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGINT, syscall.SIGTERM)
	<-ended
}
"""


class ImageError(Exception):
    """An image cannot be built; `str()` has the end of what the builder said."""


@dataclass(frozen=True)
class Image:
    """An image that a Containerfile describes."""

    name: str
    """With its tag, as the node will know it."""
    folder: Path
    """The build's context."""
    file: Path
    target: str = ""
    arguments: Mapping[str, str] = field(default_factory=dict)
    sources: Sequence[Path] = ()
    """Files and folders that its content depends on."""
    parent: Image | None = None
    """The image on which it is based, where that is built here, too."""

    def digest(self) -> str:
        """Of all that it is made from."""
        total = hashlib.sha256(
            repr((self.name, self.target, sorted(self.arguments.items()))).encode()
        )
        if self.parent is not None:
            total.update(self.parent.digest().encode())
        for path in _files([self.file, *self.sources]):
            total.update(f"{path.relative_to(self.folder)}\0".encode())
            total.update(path.read_bytes())
        return total.hexdigest()[:16]


def prepare(say: Say = say) -> None:
    """Makes what every image of a node begins with: the pause image, and Debian's base.

    Raises:
        ImageError: they cannot be made here, as without Debian's packages.
    """
    with _alone() as folder:
        builder = _Builder(folder, say)
        builder.pause()
        builder.base()


@contextlib.contextmanager
def _alone() -> Iterator[Path]:
    """The folder of images, for one process at a time."""
    folder = cache_dir() / "images"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder


def archives(images: Iterable[Image], say: Say = say) -> list[Path]:
    """An archive of each image and of the pause image, built where the cache has none.

    Raises:
        ImageError: one could not be built.
    """
    found = []
    with _alone() as folder:
        builder = _Builder(folder, say)
        found.append(builder.pause())
        found.extend(builder.archive(image) for image in images)
    return found


class _Builder:
    """buildah with its own storage in the cache, isolated by chroot: no engine, no registry."""

    def __init__(self, folder: Path, say: Say) -> None:
        self._folder, self._say = folder, say
        self._store = [
            "--root", str(folder / "storage"), "--runroot", str(folder / "run"),
            "--storage-driver", "overlay",
        ]  # fmt: skip

    def pause(self) -> Path:
        path = self._folder / "pause.tar"
        if path.exists():
            return path
        with tempfile.TemporaryDirectory(prefix="telecine-pause-") as name:
            source = Path(name) / "pause.go"
            source.write_text(_PAUSE_SOURCE)
            program = Path(name) / "pause"
            env = {**os.environ, "CGO_ENABLED": "0", "GOWORK": "off"}
            line = [
                "go",
                "build",
                "-trimpath",
                "-ldflags",
                "-s -w",
                "-o",
                str(program),
                str(source),
            ]
            self._run(line, "building the pause image", env)
            self._commit(PAUSE, program, "/pause", ["--entrypoint", '["/pause"]'])
        return self._export(PAUSE, path)

    def archive(self, image: Image) -> Path:
        name = image.name.rpartition("/")[2].replace(":", "-")
        path = self._folder / f"{name}-{image.digest()}.tar"
        if path.exists():
            return path
        self.base()
        if image.parent is not None:
            # Its name may be that of another checkout's; where it is not, this costs nothing.
            self._build(image.parent)
        self._build(image)
        for old in self._folder.glob(f"{name}-*.tar"):
            old.unlink()
        return self._export(image.name, path)

    def _build(self, image: Image) -> None:
        options = [f"--build-arg={name}={value}" for name, value in image.arguments.items()]
        options += ["--target", image.target] if image.target else []
        with tempfile.TemporaryDirectory(prefix="telecine-image-") as temporary:
            line = [
                "bud", "--layers", "--pull-never", "--isolation", "chroot", *options,
                *self._volumes(Path(temporary)), "-f", str(image.file), "-t", image.name,
                str(image.folder),
            ]  # fmt: skip
            self._buildah(line, f"building {image.name}")

    def base(self) -> None:
        if self._has(BASE):
            return
        with tempfile.TemporaryDirectory(prefix="telecine-base-") as name:
            root = Path(name) / "root"
            line = [
                "debootstrap",
                "--variant=minbase",
                f"--include={_PACKAGES}",
                "bookworm",
                str(root),
            ]
            self._run(line, "making a base image from Debian's packages")
            for junk in ("var/lib/apt/lists", "var/cache/apt", "usr/share/doc", "usr/share/locale"):
                shutil.rmtree(root / junk, ignore_errors=True)
                (root / junk).mkdir(parents=True)
            self._commit(BASE, root, "/", [])

    def _commit(self, image: str, content: Path, where: str, config: list[str]) -> None:
        container = self._buildah(["from", "scratch"], f"committing {image}").strip()
        try:
            self._buildah(["copy", "--quiet", container, str(content), where], f"copying {image}")
            if config:
                self._buildah(["config", *config, container], f"configuring {image}")
            self._buildah(["commit", "--quiet", container, image], f"committing {image}")
        finally:
            self._buildah(["rm", container], f"committing {image}")

    def _export(self, image: str, path: Path) -> Path:
        temporary = path.with_suffix(".part")
        temporary.unlink(missing_ok=True)
        line = ["push", "--quiet", image, f"docker-archive:{temporary}:{image}"]
        self._buildah(line, f"writing {image}")
        temporary.replace(path)
        return path

    def _has(self, image: str) -> bool:
        line = ["buildah", *self._store, "inspect", "--type", "image", image]
        return subprocess.run(line, capture_output=True).returncode == 0

    def _volumes(self, temporary: Path) -> list[str]:
        """This machine's certificates, pip's settings and uv's cache, for the build alone."""
        settings = temporary / "uv.toml"
        settings.write_text("native-tls = true\n")
        wanted = {
            _CERTIFICATES: f"{_CERTIFICATES}:ro",
            Path("/etc/pip.conf"): "/etc/pip.conf:ro",
            settings: "/etc/uv/uv.toml:ro",
            Path.home() / ".cache" / "uv": "/root/.cache/uv",
        }
        return [f"--volume={here}:{there}" for here, there in wanted.items() if here.exists()]

    def _buildah(self, line: list[str], what: str) -> str:
        return self._run(["buildah", *self._store, *line], what)

    def _run(self, line: list[str], what: str, env: Mapping[str, str] | None = None) -> str:
        with stage(what, self._say):
            done = subprocess.run(line, capture_output=True, text=True, env=env)
        if done.returncode:
            end = "\n".join((done.stdout + done.stderr).splitlines()[-25:])
            raise ImageError(f"{what} failed with code {done.returncode}:\n{end}")
        return done.stdout


def _files(paths: Iterable[Path]) -> list[Path]:
    found = []
    for path in paths:
        inside = path.rglob("*") if path.is_dir() else [path]
        found += [p for p in inside if p.is_file() and "__pycache__" not in p.parts]
    return sorted(found)

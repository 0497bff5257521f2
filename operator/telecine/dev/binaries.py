"""Finds, fetches or builds the programs of the development environment.

In this order: the folder `TELECINE_BIN_DIR`; PATH, for the right version; the cache; the official
release download, checked against the checksum published beside it; `go build` from the pinned
modules in `modules/`. The cache is outside every checkout, so that a machine pays once.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from telecine.dev.building import build
from telecine.dev.catalog import BINARIES, Binary, BinaryError, cached
from telecine.dev.progress import Say, say, stage
from telecine.dev.releases import NoReleaseError, base_url, fetch
from telecine.settings import cache_dir

__all__ = ["BINARIES", "Binary", "BinaryError", "cached", "ensure", "find", "version_of"]


def ensure(names: Sequence[str] = tuple(BINARIES), say: Say = say) -> dict[str, Path]:
    """The path of each program, found, fetched or built.

    Raises:
        BinaryError: a program cannot be had, or a download has the wrong checksum.
    """
    paths = {name: find(BINARIES[name]) for name in names}
    missing = [BINARIES[name] for name, path in paths.items() if path is None]
    for module in dict.fromkeys(b.module for b in missing):
        with _locked(module, say):
            # Another process may have got them while this one waited for the lock.
            wanted = [b for b in missing if b.module == module and find(b) is None]
            left = _fetch_all(wanted, say)
            if left:
                build(left, say)
    return {name: path or cached(BINARIES[name]) for name, path in paths.items()}


def find(binary: Binary) -> Path | None:
    """A program that is there already; None when it must be fetched or built."""
    folder = os.environ.get("TELECINE_BIN_DIR")
    if folder and os.access(Path(folder) / binary.name, os.X_OK):
        return Path(folder) / binary.name
    on_path = shutil.which(binary.name)
    if on_path and _serves(Path(on_path), binary):
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


def _serves(path: Path, binary: Binary) -> bool:
    """Any kubectl does; a server must be the version that is tested."""
    version = version_of(path, binary)
    return version is not None and (binary.name == "kubectl" or version == binary.version)


def _fetch_all(binaries: Sequence[Binary], say: Say) -> list[Binary]:
    """Downloads what can be had; returns the rest. An unreachable host is tried once only."""
    left: list[Binary] = []
    unreachable: set[str] = set()
    for binary in binaries:
        if base_url(binary) in unreachable:
            left.append(binary)
            continue
        try:
            fetch(binary, say)
        except NoReleaseError as error:
            say(f"no release download of {binary.name}: {error}")
            left.append(binary)
            if error.unreachable:
                unreachable.add(base_url(binary))
    return left


@contextlib.contextmanager
def _locked(name: str, say: Say) -> Iterator[None]:
    """One process at a time gets the programs of a module; others wait, then find them there."""
    folder = cache_dir() / "bin"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f".{name}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            what = f"waiting for another process that gets the binaries of {name}"
            say(what)
            with stage(what, say):
                fcntl.flock(file, fcntl.LOCK_EX)
        yield


def main() -> None:
    """`python -m telecine.dev.binaries`: makes sure of all, and prints where they are."""
    try:
        for name, path in ensure().items():
            print(f"{name}\t{path}")
    except BinaryError as error:
        say(f"error: {error}")
        sys.exit(1)


if __name__ == "__main__":
    main()

"""Builds programs with Go from the pinned modules in `modules/`."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from telecine.dev.catalog import Binary, BinaryError, install
from telecine.dev.progress import Say, stage

MODULES = Path(__file__).parent / "modules"
_TAIL_LINES = 20


def build(binaries: Sequence[Binary], say: Say) -> None:
    """Builds programs of one module and puts them into the cache.

    Raises:
        BinaryError: there is no Go, or the build failed; with the end of its output.
    """
    go = shutil.which("go")
    if go is None:
        names = ", ".join(f"{b.name} {b.version}" for b in binaries)
        raise BinaryError(
            f"{names}: not on PATH, not downloadable, and no Go to build with. Install Go, or "
            "name a folder that has them in TELECINE_BIN_DIR."
        )
    source = MODULES / binaries[0].module
    with tempfile.TemporaryDirectory(prefix="telecine-build-") as temporary:
        # A copy: where the package is installed may be read-only, or inside another Go module.
        folder = Path(temporary)
        for file in ("go.mod", "go.sum"):
            shutil.copyfile(source / file, folder / file)
        for number, binary in enumerate(binaries, 1):
            output = folder / "out" / binary.name
            command = [
                go, "build", "-trimpath", "-ldflags", binary.flags, "-o", str(output),
                binary.package,
            ]  # fmt: skip
            what = f"building {binary.name} {binary.version} ({number} of {len(binaries)})"
            say(f"{what}; minutes, once on this machine")
            _run(command, folder, _environment(binary), what, say)
            install(output, binary)
            say(f"built {binary.name} {binary.version}")


def _environment(binary: Binary) -> dict[str, str]:
    # readonly: what is built is what go.sum pins, or nothing.
    env = {**os.environ, "GOFLAGS": "-mod=readonly -buildvcs=false", "GOWORK": "off"}
    return env if binary.cgo else env | {"CGO_ENABLED": "0"}


def _run(command: list[str], folder: Path, env: dict[str, str], what: str, say: Say) -> None:
    with tempfile.TemporaryFile("w+") as log, stage(what, say):
        with subprocess.Popen(command, cwd=folder, env=env, stdout=log, stderr=log) as process:
            try:
                code = process.wait()
            except BaseException:
                process.kill()
                raise
        if code:
            log.seek(0)
            tail = "".join(log.readlines()[-_TAIL_LINES:])
            raise BinaryError(f"{what} failed with code {code}:\n{tail}")

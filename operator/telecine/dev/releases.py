"""Downloads official releases, each checked against the checksum file published beside it."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import tarfile
import tempfile
from pathlib import Path

import httpx2

from telecine.dev.catalog import Binary, BinaryError, install
from telecine.dev.progress import Say, Stage, stage

_TIMEOUT = httpx2.Timeout(30.0, connect=4.0)
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MB = 1_000_000


class NoReleaseError(Exception):
    """There is no download to be had here; with `unreachable`, from that host not at all."""

    def __init__(self, message: str, *, unreachable: bool) -> None:
        super().__init__(message)
        self.unreachable = unreachable


def base_url(binary: Binary) -> str:
    return os.environ.get(binary.releases, binary.default).rstrip("/")


def fetch(binary: Binary, say: Say) -> Path:
    """Downloads a release into the cache.

    Raises:
        NoReleaseError: its host cannot be reached, or has none for this machine.
        BinaryError: the download is not what its checksum file says. Nothing is installed.
    """
    arch = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    facts = {"v": binary.version, "os": platform.system().lower(), "arch": arch}
    base = base_url(binary)
    url = f"{base}/{binary.asset.format(**facts)}"
    what = f"downloading {binary.name} {binary.version}"
    try:
        with (
            httpx2.Client(timeout=_TIMEOUT, follow_redirects=True) as http,
            tempfile.TemporaryDirectory(prefix="telecine-download-") as folder,
            stage(what, say) as step,
        ):
            sums = http.get(f"{base}/{binary.checksum.format(**facts)}")
            sums.raise_for_status()
            target = Path(folder) / url.rpartition("/")[2]
            wanted = published(sums.text, target.name)
            digest = _download(http, url, target, step)
            if digest != wanted:
                raise BinaryError(
                    f"{binary.name} {binary.version} from {base}: its sha256 is {digest}, "
                    f"published is {wanted}. It was not installed."
                )
            path = install(_unpacked(target, binary.name), binary)
    except httpx2.HTTPError as error:
        away = isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.ProxyError)
        reason = "not reachable" if away else str(error) or type(error).__name__
        raise NoReleaseError(f"{base}: {reason}", unreachable=away) from error
    say(f"downloaded {binary.name} {binary.version}")
    return path


def published(sums: str, file: str) -> str:
    """The sha256 of a file, from a checksum file of either form (sha256sum(1)).

    Raises:
        BinaryError: there is none.
    """
    for line in sums.splitlines():
        match line.split():
            case [digest] if _SHA256.fullmatch(digest.lower()):
                return digest.lower()
            case [digest, name] if name.lstrip("*").rpartition("/")[2] == file:
                if _SHA256.fullmatch(digest.lower()):
                    return digest.lower()
    raise BinaryError(f"the published checksum file has no sha256 of {file}")


def _download(http: httpx2.Client, url: str, target: Path, step: Stage) -> str:
    digest, size = hashlib.sha256(), 0
    with http.stream("GET", url) as answer, target.open("wb") as file:
        answer.raise_for_status()
        total = int(answer.headers.get("content-length", 0))
        for piece in answer.iter_bytes(1 << 20):
            digest.update(piece)
            file.write(piece)
            size += len(piece)
            step.detail = f"{size // _MB} MB" + (f" of {total // _MB} MB" if total else "")
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

"""The files of one pipeline's folder at one commit, as they travel to a worker."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

_MOST_PACKED = 900 << 10


class BundleError(ValueError):
    """The files are no bundle, or too many for one."""


@dataclass(frozen=True)
class Bundle:
    """What a handler consists of."""

    files: Mapping[str, bytes]
    """By path relative to the pipeline's folder, with `/`; has `handler.py`."""
    commit: str
    """Full Git commit id, or `inline-` and the first 12 hex digits of the digest."""

    @property
    def digest(self) -> str:
        """SHA-256, hexadecimal, of the sorted paths and contents."""
        whole = hashlib.sha256()
        for path, content in sorted(self.files.items()):
            for part in (path.encode(), content):
                whole.update(len(part).to_bytes(8, "big") + part)
        return whole.hexdigest()

    def pack(self) -> bytes:
        """A tar.gz, the same for the same files. Raises BundleError over 900 KiB."""
        out = io.BytesIO()
        with (
            gzip.GzipFile(fileobj=out, mode="wb", mtime=0) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
        ):
            for path, content in sorted(self.files.items()):
                entry = tarfile.TarInfo(path)
                entry.size, entry.mode = len(content), 0o644
                archive.addfile(entry, io.BytesIO(content))
        if out.tell() > _MOST_PACKED:
            raise BundleError(f"the pipeline's folder packs to {out.tell():,} bytes")
        return out.getvalue()

    @classmethod
    def unpack(cls, data: bytes, commit: str) -> Bundle:
        """Raises BundleError for what `pack` would not make."""
        files: dict[str, bytes] = {}
        try:
            with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
                for entry in archive:
                    content = archive.extractfile(entry) if entry.isreg() else None
                    if content is None:
                        raise BundleError(f"{entry.name} is no plain file")
                    files[_safe(entry.name)] = content.read()
        except (tarfile.TarError, OSError, EOFError) as error:
            raise BundleError(f"no bundle: {error}") from error
        return cls(files, commit)

    def write(self, folder: Path) -> None:
        """Raises OSError."""
        for path, content in self.files.items():
            target = folder / _safe(path)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)


def _safe(path: str) -> str:
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts:
        raise BundleError(f"{path!r} leads out of the pipeline's folder")
    return path

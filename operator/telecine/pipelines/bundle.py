"""The files of one pipeline's folder at one commit, as they travel to a worker."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from telecine.pipelines.compiling import fault_of

HANDLER = "handler.py"
MOST_PACKED = 900 << 10
"""Bytes of a packed bundle: a ConfigMap's binaryData has 1 MiB."""
MOST_UNPACKED = 8 << 20
"""Bytes of all files together."""
MOST_FILES = 500
MOST_HANDLER = 1 << 20
"""Bytes of `handler.py`."""

_LONGEST_PATH, _LONGEST_NAME = 1024, 255
#: Heads and padding that a tar file has besides its contents.
_TAR_OVERHEAD = (MOST_FILES + 1) * 4096 + (64 << 10)


class BundleError(ValueError):
    """The files are no bundle, or too many for one. `str()` names the file and the remedy.

    `file` is the one at fault, relative to the pipeline's folder; empty when it is the whole.
    """

    def __init__(self, file: str, reason: str, *, line: int | None = None) -> None:
        shown = file if file.isprintable() and len(file) <= 200 else f"{file[:80]!r}…"
        place = shown if line is None else f"{shown}:{line}"
        super().__init__(f"{place}: {reason}" if file else reason)
        self.file, self.reason, self.line = file, reason, line


@dataclass(frozen=True)
class Bundle:
    """What a handler consists of."""

    files: Mapping[str, bytes]
    """By path relative to the pipeline's folder, with `/`; has `handler.py`."""
    commit: str
    """Full Git commit id, or `inline-` and the first 12 hex digits of the digest."""

    @classmethod
    def inline(cls, handler: str) -> Bundle:
        """The bundle of code that stands in the spec."""
        files = {HANDLER: handler.encode()}
        return cls(files, f"inline-{cls(files, '').digest[:12]}")

    @property
    def digest(self) -> str:
        """SHA-256, hexadecimal, of the sorted paths and contents."""
        whole = hashlib.sha256()
        for path, content in sorted(self.files.items()):
            for part in (path.encode("utf-8", "surrogatepass"), content):
                whole.update(len(part).to_bytes(8, "big") + part)
        return whole.hexdigest()

    def check(self) -> None:
        """Raises BundleError when it cannot be packed, or `handler.py` is absent or no Python."""
        self.pack()
        handler = self.files.get(HANDLER)
        if handler is None:
            raise BundleError(HANDLER, "it is missing: add it, with a function handler(event)")
        _compile(handler)

    def pack(self) -> bytes:
        """A tar.gz, the same for the same files. Raises BundleError over a limit."""
        _check_paths(self.files)
        _check_size(sum(map(len, self.files.values())), self.files)
        out = io.BytesIO()
        with (
            gzip.GzipFile(fileobj=out, mode="wb", mtime=0) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
        ):
            for path, content in sorted(self.files.items()):
                entry = tarfile.TarInfo(path)
                entry.size, entry.mode = len(content), 0o644
                archive.addfile(entry, io.BytesIO(content))
        if out.tell() > MOST_PACKED:
            raise _too_large(f"packs to {out.tell():,} bytes and {MOST_PACKED:,}", self.files)
        return out.getvalue()

    @classmethod
    def unpack(cls, data: bytes, commit: str) -> Bundle:
        """Raises BundleError for what `pack` would not make."""
        if len(data) > MOST_PACKED:
            raise BundleError("", f"no bundle: {len(data):,} bytes and {MOST_PACKED:,} are allowed")
        files: dict[str, bytes] = {}
        try:
            with tarfile.open(fileobj=io.BytesIO(_inflate(data)), mode="r:") as archive:
                for entry in archive:
                    if entry.name in files:
                        raise BundleError(entry.name, "no bundle: it is in it twice")
                    files[entry.name] = _content(archive, entry)
                    if len(files) > MOST_FILES:
                        break
        except (tarfile.TarError, zlib.error, OSError, EOFError, ValueError) as error:
            if isinstance(error, BundleError):
                raise
            raise BundleError("", f"no bundle: {error}") from error
        _check_paths(files)
        _check_size(sum(map(len, files.values())), files)
        return cls(files, commit)

    def write(self, folder: Path) -> None:
        """Raises BundleError for a path that leads elsewhere, and OSError."""
        _check_paths(self.files)
        for path, content in self.files.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)


def check_path(path: str) -> None:
    """Raises BundleError unless a path stays inside of the folder that it is relative to."""
    whole = PurePosixPath(path)
    if not path or path.startswith("/") or ".." in whole.parts or "\\" in path:
        raise BundleError(path, "it leads out of the pipeline's folder: rename it")
    if str(whole) != path or path == ".":
        raise BundleError(path, "it is no plain path: write it without `.` and double `/`")
    if any(part.lower() == ".git" for part in whole.parts):
        raise BundleError(path, "a bundle has no .git: take it out of the folder")
    # As bytes: that is what a file system counts.
    encoded = path.encode("utf-8", "surrogatepass")
    longest = max(len(part.encode("utf-8", "surrogatepass")) for part in whole.parts)
    if len(encoded) > _LONGEST_PATH or longest > _LONGEST_NAME:
        raise BundleError(path, "the name is too long: shorten it")
    if not path.isprintable():
        raise BundleError(path, "it has characters that cannot be shown: rename it")


def _check_paths(files: Mapping[str, bytes]) -> None:
    if len(files) > MOST_FILES:
        raise BundleError(
            "",
            f"the pipeline's folder has more than {MOST_FILES} files: take out what is no code",
        )
    for path in files:
        check_path(path)
    for path in files:
        for parent in PurePosixPath(path).parents:
            if str(parent) in files:
                raise BundleError(str(parent), "it is a file and a folder: rename one")


def _check_size(size: int, files: Mapping[str, bytes]) -> None:
    if size > MOST_UNPACKED:
        raise _too_large(f"has {size:,} bytes and {MOST_UNPACKED:,}", files)


def _too_large(what: str, files: Mapping[str, bytes]) -> BundleError:
    path = max(files, key=lambda name: len(files[name]))
    return BundleError(
        path,
        f"the pipeline's folder {what} are allowed; this file is the largest with "
        f"{len(files[path]):,}: a bundle holds code; fetch data from elsewhere, or give an image "
        "that has it",
    )


def _inflate(data: bytes) -> bytes:
    """The tar file; nothing is inflated beyond what a bundle may have."""
    stream = zlib.decompressobj(wbits=31)
    most = MOST_UNPACKED + _TAR_OVERHEAD
    whole = stream.decompress(data, most + 1)
    if len(whole) > most:
        raise BundleError("", f"no bundle: it inflates to more than {most:,} bytes")
    if not stream.eof or stream.unused_data:
        raise BundleError("", "no bundle: it is cut off, or something follows it")
    return whole


def _content(archive: tarfile.TarFile, entry: tarfile.TarInfo) -> bytes:
    if not entry.isreg() or entry.issparse():
        raise BundleError(entry.name, "no bundle: it is no plain file")
    if entry.size > MOST_UNPACKED:
        raise BundleError(entry.name, f"no bundle: it has {entry.size:,} bytes")
    content = archive.extractfile(entry)
    if content is None:
        raise BundleError(entry.name, "no bundle: it has no content")
    with content:
        return content.read()


def _compile(handler: bytes) -> None:
    if len(handler) > MOST_HANDLER:
        raise BundleError(
            HANDLER,
            f"it has {len(handler):,} bytes and {MOST_HANDLER:,} are allowed: make modules of it",
        )
    fault = fault_of(handler, HANDLER)
    if fault is not None:
        raise BundleError(HANDLER, f"{fault.reason}: correct it", line=fault.line)

"""A directory as a source: for laptops, tests, and volumes mounted into the workers."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, NamedTuple
from urllib.parse import quote_from_bytes, unquote_to_bytes

from telecine.api.connection import LocalConfig
from telecine.planning.mapping import guess_mime
from telecine.planning.types import Asset, SideCaptions
from telecine.providers.base import AssetChangedError, ProviderError
from telecine.providers.calls import Calls
from telecine.providers.redact import redact
from telecine.providers.streams import buffered

_PAGE = 1000
#: Begins the id of a file whose name is not UTF-8; no relative path has two slashes in a row.
_UNDECODABLE = "undecodable//"


class _Found(NamedTuple):
    """One entry of the walk that becomes an asset."""

    relative: str
    """Relative to the Connection's directory; surrogates for bytes that are not UTF-8."""
    info: os.stat_result | None
    unavailable: str | None = None


class LocalProvider:
    """Files below a directory; the id of one is its path relative to that directory.

    Size and modification time (in nanoseconds) are fingerprint and version. Symbolic links are
    left out unless `follow_symlinks`, and never lead out of the directory.
    """

    unversioned: ClassVar[frozenset[str]] = frozenset()

    def __init__(
        self,
        config: LocalConfig,
        secret: Mapping[str, str] | None = None,
        *,
        allow_private: bool = True,
    ) -> None:
        del secret, allow_private  # a directory has neither credentials nor an address
        self.calls = Calls()
        self._root = os.path.normpath(config.path)
        self._follow = config.follow_symlinks

    def check(self, source_path: str = "") -> str:
        """Reads the directory and the first entry of it."""
        top = self._top(source_path)
        if os.path.isdir(self._absolute(top)):
            with _translated(self._absolute(top)), os.scandir(self._absolute(top)) as entries:
                next(entries, None)
        return f"{redact(self._absolute(top), {})} can be read"

    def list(self, source_path: str) -> Iterator[list[Asset]]:
        """Pages of 1000, in the file system's order.

        Special files (sockets, pipes, devices) are left out. A name that is not UTF-8, a broken
        link and a link out of the directory are listed as unavailable.
        """
        top = self._top(source_path)
        page: list[Asset] = []
        for found in self._walk(top):
            page.append(_asset(found, top))
            if len(page) >= _PAGE:
                yield page
                page = []
        if page:
            yield page

    def describe(self, asset: Asset, fields: frozenset[str] = frozenset()) -> Asset:
        """As the listing, if the file is still the one that was listed."""
        relative = _relative_of(asset.id)
        with _translated(relative, asset):
            info = os.stat(self._inside(relative))
        _require_unchanged(asset, info)
        return asset._replace(
            metadata=_metadata(relative, info), mime_type=guess_mime(asset.path), complete=True
        )

    @contextlib.contextmanager
    def open(self, asset: Asset) -> Iterator[BinaryIO]:
        """Content; a file that changes while it is read ends in `AssetChangedError`."""
        relative = _relative_of(asset.id)
        with _translated(relative, asset):
            # O_NONBLOCK: a pipe put in the file's place must not block the worker.
            flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(self._inside(relative), flags)
        try:
            _require_unchanged(asset, os.fstat(descriptor))

            def read(size: int) -> bytes:
                with _translated(relative, asset):
                    piece = os.read(descriptor, size)
                if not piece:
                    _require_unchanged(asset, os.fstat(descriptor))
                return piece

            yield buffered(read)
        finally:
            os.close(descriptor)

    def link(self, asset: Asset) -> str | None:
        """A file URL, where this machine has the file."""
        path = self._absolute(_relative_of(asset.id))
        return Path(path).as_uri() if os.path.isfile(path) else None

    def captions(self, asset: Asset) -> SideCaptions | None:
        """None: what lies beside a file may be anything."""
        return None

    def _absolute(self, relative: str) -> str:
        return os.path.join(self._root, relative) if relative else self._root

    def _top(self, source_path: str) -> str:
        """The source path relative to the root, proven to exist and to be inside."""
        parts = [part for part in source_path.split("/") if part not in ("", ".")]
        if ".." in parts or "\0" in source_path:
            raise ProviderError(
                "SourcePathInvalid",
                f"sourcePath {redact(source_path, {})!r} must stay inside the directory",
                permanent=True,
            )
        top = "/".join(parts)
        absolute = self._absolute(top)
        if not os.path.isdir(self._root) or not os.path.lexists(absolute):
            with _translated(absolute):
                os.stat(absolute)
        if not self._reachable(top):
            raise ProviderError(
                "SourcePathInvalid",
                f"sourcePath {redact(source_path, {})!r} is a link out of the directory, or one "
                "that followSymlinks does not allow",
                permanent=True,
            )
        return top

    def _reachable(self, relative: str) -> bool:
        """Whether no link leads elsewhere that must not be followed."""
        absolute = self._absolute(relative)
        if self._follow:
            return _is_inside(absolute, self._root)
        inside = os.path.join(os.path.realpath(self._root), relative).rstrip("/")
        return os.path.realpath(absolute) == (inside or "/")

    def _inside(self, relative: str) -> str:
        """The absolute path of an asset, refused when a link leads it elsewhere."""
        if not self._reachable(relative):
            raise AssetChangedError(f"{redact(relative, {})} has become a link")
        return os.path.realpath(self._absolute(relative))

    def _walk(self, top: str) -> Iterator[_Found]:
        absolute = self._absolute(top)
        if not os.path.isdir(absolute):
            with _translated(absolute):
                info = os.stat(absolute)
            if stat.S_ISREG(info.st_mode):
                yield _Found(top, info)
            return
        waiting: list[tuple[str, tuple[str, ...]]] = [(top, ())]
        while waiting:
            folder, above = waiting.pop()
            if self._follow:
                real = os.path.realpath(self._absolute(folder))
                if real in above:  # a link to a folder above it would never end
                    continue
                above = (*above, real)
            for found in self._entries(folder):
                if found.info is None or stat.S_ISREG(found.info.st_mode):
                    yield found
                elif stat.S_ISDIR(found.info.st_mode):
                    waiting.append((found.relative, above))

    def _entries(self, folder: str) -> Iterator[_Found]:
        """What a folder holds; raises ProviderError also when it vanishes, its listing incomplete:
        a volume that is being unmounted looks the same."""
        absolute = self._absolute(folder)
        try:
            with os.scandir(absolute) as entries:
                for entry in entries:
                    with contextlib.suppress(FileNotFoundError):  # this file alone is gone
                        info = entry.stat(follow_symlinks=False)
                        relative = f"{folder}/{entry.name}" if folder else entry.name
                        if not stat.S_ISLNK(info.st_mode):
                            yield _Found(relative, info)
                        elif self._follow:
                            yield self._followed(relative)
        except OSError as error:
            raise ProviderError(
                "AccessDenied" if isinstance(error, PermissionError) else "ListingFailed",
                f"the listing stopped at {redact(absolute, {})}: {error.strerror}",
            ) from error

    def _followed(self, relative: str) -> _Found:
        absolute = self._absolute(relative)
        if not _is_inside(absolute, self._root):
            return _Found(relative, None, "outside_of_source")
        try:
            return _Found(relative, os.stat(absolute))
        except OSError:
            return _Found(relative, None, "broken_link")


def _asset(found: _Found, top: str) -> Asset:
    inner = found.relative[len(top) :].lstrip("/") if top else found.relative
    path = inner or Path(found.relative).name
    if found.info is None:
        return Asset(found.relative, path, -1, 0.0, "", "", unavailable=found.unavailable)
    mark, info = _mark(found.info), found.info
    try:
        found.relative.encode()
    except UnicodeEncodeError:
        name = f"{_UNDECODABLE}{_escaped(found.relative)}"
        return Asset(
            name, _escaped(path), info.st_size, info.st_mtime, mark, mark,
            unavailable="undecodable_name",
        )  # fmt: skip
    return Asset(
        id=found.relative,
        path=path,
        size=info.st_size,
        modified=info.st_mtime,
        fingerprint=mark,
        version=mark,
        mime_type=guess_mime(path),
        metadata=_metadata(found.relative, info),
        complete=True,
    )


def _escaped(name: str) -> str:
    return quote_from_bytes(os.fsencode(name))


def _relative_of(asset_id: str) -> str:
    if asset_id.startswith(_UNDECODABLE):
        return os.fsdecode(unquote_to_bytes(asset_id.removeprefix(_UNDECODABLE)))
    return asset_id


def _mark(info: os.stat_result) -> str:
    return f"{info.st_size}-{info.st_mtime_ns}"


def _metadata(relative: str, info: os.stat_result) -> dict[str, Any]:
    name = relative.rpartition("/")[2]
    stem, dot, extension = name.rpartition(".")
    return {
        "path": relative,
        "name": name,
        "extension": extension.lower() if dot and stem else "",
        "size": info.st_size,
        "modified": _iso(info.st_mtime),
    }


def _iso(seconds: float) -> str | None:
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat()
    except (OverflowError, ValueError, OSError):
        return None  # file systems can hold years that a calendar cannot


def _is_inside(path: str, root: str) -> bool:
    real, top = os.path.realpath(path), os.path.realpath(root)
    return real == top or real.startswith(top.rstrip("/") + "/")


def _require_unchanged(asset: Asset, info: os.stat_result) -> None:
    if not stat.S_ISREG(info.st_mode) or _mark(info) != asset.fingerprint:
        raise AssetChangedError(f"{redact(asset.path, {})} changed since it was listed")


@contextlib.contextmanager
def _translated(path: str, asset: Asset | None = None) -> Iterator[None]:
    """Makes the operating system's errors the provider's; with an asset, errors of that alone."""
    try:
        yield
    except OSError as error:
        name = redact(path, {})
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            if asset is not None:
                raise AssetChangedError(f"{name} is gone") from error
            raise ProviderError("SourceNotFound", f"{name} does not exist", permanent=True) from (
                error
            )
        denied = isinstance(error, PermissionError)
        raise ProviderError(
            "AccessDenied" if denied else "ReadFailed",
            f"{name}: {error.strerror}",
            asset_only=asset is not None,
        ) from error

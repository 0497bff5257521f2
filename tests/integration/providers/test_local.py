"""A directory as a source."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from conformance import ProviderConformance, Source
from telecine.api.connection import LocalConfig
from telecine.planning.types import Asset
from telecine.providers.base import AssetChangedError, Provider, ProviderError
from telecine.providers.local import LocalProvider


class Directory(Source):
    def __init__(self, root: Path, *, follow_symlinks: bool = False) -> None:
        self.root = root
        self.provider = LocalProvider(LocalConfig(path=str(root), follow_symlinks=follow_symlinks))

    def put(self, asset_id: str, content: bytes, metadata: dict[str, str] | None = None) -> None:
        path = self.root / asset_id
        path.parent.mkdir(parents=True, exist_ok=True)
        before = path.stat().st_mtime_ns if path.exists() else None
        path.write_bytes(content)
        if path.stat().st_mtime_ns == before:
            os.utime(path, ns=(time.time_ns(), (before or 0) + 1))  # a clock of coarse ticks

    def delete(self, asset_id: str) -> None:
        (self.root / asset_id).unlink()

    def breaking_half_way(self) -> Provider:
        for number in range(1200):
            self.put(f"{number}.txt", b"x")
        self.put("gone/a.txt", b"x")
        return Vanishing(self)


class Vanishing(LocalProvider):
    """A folder is removed while the walk is under way, before the walk has come to it."""

    def __init__(self, source: Directory) -> None:
        super().__init__(LocalConfig(path=str(source.root)))
        self._gone = source.root / "gone"

    def list(self, source_path: str) -> Iterator[list[Asset]]:
        for page in super().list(source_path):
            if self._gone.exists():
                (self._gone / "a.txt").unlink()
                self._gone.rmdir()
            yield page


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    root.mkdir()
    return root


class TestLocal(ProviderConformance):
    awkward_names: ClassVar[tuple[str, ...]] = (
        *ProviderConformance.awkward_names,
        "new\nline.txt",
        "control\x01\x7f.txt",
    )

    @pytest.fixture
    def source(self, folder: Path) -> Directory:
        return Directory(folder)


@pytest.fixture
def source(folder: Path) -> Directory:
    return Directory(folder)


@pytest.fixture
def following(folder: Path) -> Directory:
    return Directory(folder, follow_symlinks=True)


def failure(provider: Provider, source_path: str = "") -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        list(provider.list(source_path))
    return caught.value


def test_metadata_is_whole_in_the_listing(source: Directory) -> None:
    source.put("films/One.MP4", b"x")
    os.utime(source.root / "films/One.MP4", (0, 1_700_000_000))
    asset = source.listed()["films/One.MP4"]
    assert asset.complete
    assert asset.mime_type == "video/mp4"
    assert asset.metadata == {
        "path": "films/One.MP4",
        "name": "One.MP4",
        "extension": "mp4",
        "size": 1,
        "modified": "2023-11-14T22:13:20+00:00",
    }


def test_a_missing_directory_is_permanent(tmp_path: Path) -> None:
    provider = LocalProvider(LocalConfig(path=str(tmp_path / "nowhere")))
    for error in (failure(provider), failure(provider, "deeper")):
        assert (error.reason, error.permanent) == ("SourceNotFound", True)
    with pytest.raises(ProviderError, match="nowhere"):
        provider.check()


@pytest.mark.parametrize("path", ["..", "../root", "a/../../b", "/..", "a\0b"])
def test_a_source_path_stays_inside_of_the_directory(source: Directory, path: str) -> None:
    source.put("a/b", b"x")
    error = failure(source.provider, path)
    assert (error.reason, error.permanent) == ("SourcePathInvalid", True)


def test_an_unreadable_folder_stops_the_listing(
    source: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    source.put("a.txt", b"x")
    source.put("closed/b.txt", b"x")
    scandir = os.scandir

    def refuse(path: Any) -> Any:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    # Tests may run as root, whom no mode of a folder keeps out.
    monkeypatch.setattr(os, "scandir", refuse)
    error = failure(source.provider)
    assert error.reason == "AccessDenied"
    assert "closed" in str(error)
    assert "Permission denied" in str(error)


def test_an_unreadable_file_is_a_fault_of_that_file(
    source: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    source.put("a.txt", b"x")
    asset = source.listed()["a.txt"]

    def refuse(*_: Any, **__: Any) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(ProviderError) as caught:
        source.read(asset)
    assert (caught.value.reason, caught.value.asset_only) == ("AccessDenied", True)


def test_symbolic_links_are_left_out(source: Directory) -> None:
    source.put("a.txt", b"x")
    source.put("folder/b.txt", b"x")
    (source.root / "link.txt").symlink_to("a.txt")
    (source.root / "shelf").symlink_to("folder")
    assert set(source.listed()) == {"a.txt", "folder/b.txt"}
    assert failure(source.provider, "shelf").reason == "SourcePathInvalid"


def test_symbolic_links_are_followed_when_asked(following: Directory) -> None:
    following.put("a.txt", b"x")
    following.put("folder/b.txt", b"y")
    (following.root / "link.txt").symlink_to("a.txt")
    (following.root / "shelf").symlink_to("folder")
    listed = following.listed()
    assert set(listed) == {"a.txt", "link.txt", "folder/b.txt", "shelf/b.txt"}
    assert following.read(listed["shelf/b.txt"]) == b"y"
    assert set(following.listed("shelf")) == {"shelf/b.txt"}


def test_a_loop_of_links_ends(following: Directory) -> None:
    following.put("a/b/c.txt", b"x")
    (following.root / "a/b/up").symlink_to("..")
    (following.root / "a/self").symlink_to(".")
    assert set(following.listed()) == {"a/b/c.txt"}


def test_links_never_lead_out_of_the_directory(following: Directory, tmp_path: Path) -> None:
    outside = tmp_path / "root-and-more"
    outside.mkdir()
    (outside / "secret.txt").write_bytes(b"secret")
    (following.root / "out").symlink_to(outside)
    (following.root / "out.txt").symlink_to(outside / "secret.txt")
    (following.root / "broken").symlink_to("nowhere")
    assert {name: asset.unavailable for name, asset in following.listed().items()} == {
        "out": "outside_of_source",
        "out.txt": "outside_of_source",
        "broken": "broken_link",
    }
    assert failure(following.provider, "out").reason == "SourcePathInvalid"


def test_a_file_that_became_a_link_is_not_read(source: Directory, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_bytes(b"x")
    source.put("a.txt", b"x")
    info = (source.root / "a.txt").stat()
    asset = source.listed()["a.txt"]
    os.utime(tmp_path / "secret.txt", ns=(info.st_atime_ns, info.st_mtime_ns))
    source.delete("a.txt")
    (source.root / "a.txt").symlink_to(tmp_path / "secret.txt")
    with pytest.raises(AssetChangedError):
        source.read(asset)


def test_special_files_are_left_out(source: Directory) -> None:
    source.put("a.txt", b"x")
    os.mkfifo(source.root / "pipe")
    os.mknod(source.root / "socket", stat.S_IFSOCK | 0o600)
    assert set(source.listed()) == {"a.txt"}


def test_a_pipe_in_a_files_place_does_not_block(source: Directory) -> None:
    source.put("a.txt", b"x")
    asset = source.listed()["a.txt"]
    source.delete("a.txt")
    os.mkfifo(source.root / "a.txt")
    with pytest.raises(AssetChangedError):
        source.read(asset)


def test_a_name_that_is_not_text_is_listed_as_unavailable(source: Directory) -> None:
    (Path(os.fsdecode(os.fsencode(source.root) + b"/caf\xe9.txt"))).write_bytes(b"x")
    source.put("caf%E9.txt", b"y")
    listed = source.listed()
    assert {name: asset.unavailable for name, asset in listed.items()} == {
        "undecodable//caf%E9.txt": "undecodable_name",
        "caf%E9.txt": None,
    }
    for asset in listed.values():
        repr(asset).encode()
    assert source.read(listed["undecodable//caf%E9.txt"]) == b"x"


def test_a_file_that_grows_while_it_is_read_has_changed(source: Directory) -> None:
    source.put("a.txt", b"one" * 100_000)
    with source.provider.open(source.listed()["a.txt"]) as stream:
        stream.read(10)
        source.put("a.txt", b"two" * 100_001)
        with pytest.raises(AssetChangedError):
            stream.read()


def test_a_file_removed_during_the_walk_is_just_gone(
    source: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    source.put("a.txt", b"x")
    source.put("b.txt", b"x")
    scandir = os.scandir

    class Entries:
        """Removes a file between its being named and its being looked at."""

        def __init__(self, path: Any) -> None:
            self._inner = scandir(path)

        def __enter__(self) -> Iterator[Any]:
            entries = list(self._inner)
            (source.root / "b.txt").unlink()
            return iter(entries)

        def __exit__(self, *_: object) -> None:
            self._inner.close()

    monkeypatch.setattr(os, "scandir", Entries)
    assert set(source.listed()) == {"a.txt"}


def test_a_time_before_1970_does_no_harm(source: Directory) -> None:
    source.put("old.txt", b"x")
    os.utime(source.root / "old.txt", (0, -1_000_000_000))
    asset = source.listed()["old.txt"]
    assert asset.metadata is not None
    assert asset.metadata["modified"] == "1938-04-24T22:13:20+00:00"
    assert source.read(asset) == b"x"

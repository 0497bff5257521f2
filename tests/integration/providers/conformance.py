"""What every provider must do. A provider's tests inherit these and say how to fill its source.

class TestMine(NetworkedConformance, MetadataConformance):
    @pytest.fixture
    def source(self) -> Source: ...
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar
from urllib.request import urlopen

import pytest
from telecine.planning.types import Asset
from telecine.providers.base import AssetChangedError, Provider, ProviderError

COMPOSED, DECOMPOSED = "caf\u00e9.txt", "cafe\u0301.txt"
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"


class Source(ABC):
    """A place that a test fills, with the provider that reads it."""

    provider: Provider

    @abstractmethod
    def put(self, asset_id: str, content: bytes, metadata: dict[str, str] | None = None) -> None:
        """Writes an asset, or writes it again with other content or metadata."""

    @abstractmethod
    def delete(self, asset_id: str) -> None: ...

    @abstractmethod
    def breaking_half_way(self) -> Provider:
        """A provider whose listing gives a page of assets and then fails."""

    def listed(self, source_path: str = "") -> dict[str, Asset]:
        """The whole listing by id; fails the test when an id comes twice."""
        assets = [asset for page in self.provider.list(source_path) for asset in page]
        by_id = {asset.id: asset for asset in assets}
        assert len(by_id) == len(assets), "an asset was listed twice"
        return by_id

    def read(self, asset: Asset) -> bytes:
        with self.provider.open(asset) as stream:
            return stream.read()


class ProviderConformance:
    """Listing and reading."""

    awkward_names: ClassVar[tuple[str, ...]] = (
        "with space.txt",
        " leading and trailing ",
        COMPOSED,
        DECOMPOSED,
        "\U0001f3ac 映画 фильм.txt",
        "plus+plus.txt",
        "per%20cent%.txt",
        "quotes'\"`.txt",
        "a<b>&c.txt",
        "question?hash#semi;colon:.txt",
        "back\\slash.txt",
        "tab\there.txt",
        "carriage\rreturn.txt",
        "~tilde*star[x]",
        ".hidden",
        "/".join(["x" * 180] * 4 + ["y" * 176]),
    )

    @pytest.fixture
    def source(self) -> Source:
        raise NotImplementedError("the provider's test class gives its source")

    def test_an_empty_source_has_no_assets(self, source: Source) -> None:
        assert source.listed() == {}

    def test_each_asset_is_listed_once_over_several_pages(self, source: Source) -> None:
        wanted = {f"folder-{number % 7}/{number:05d}.txt" for number in range(2500)}
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda name: source.put(name, b"x"), sorted(wanted)))
        pages = [[asset.id for asset in page] for page in source.provider.list("")]
        assert len(pages) >= 3
        assert sorted(name for page in pages for name in page) == sorted(wanted)

    def test_awkward_names_are_kept_exactly_and_can_be_read(self, source: Source) -> None:
        for number, name in enumerate(self.awkward_names):
            source.put(name, str(number).encode())
        listed = source.listed()
        assert set(listed) == set(self.awkward_names)
        for number, name in enumerate(self.awkward_names):
            assert listed[name].path == name
            assert source.read(listed[name]) == str(number).encode()
            assert source.provider.describe(listed[name]).id == name

    @pytest.mark.parametrize("spelling", ["films/new", "films/new/", "/films/new", "/films/new/"])
    def test_a_source_path_is_a_folder_however_it_is_spelled(
        self, source: Source, spelling: str
    ) -> None:
        for name in ("films/new/a.mp4", "films/new/deep/b.mp4", "films/newer/c.mp4", "d.mp4"):
            source.put(name, b"x")
        listed = source.listed(spelling)
        assert {name: asset.path for name, asset in listed.items()} == {
            "films/new/a.mp4": "a.mp4",
            "films/new/deep/b.mp4": "deep/b.mp4",
        }

    def test_a_source_path_may_name_one_asset(self, source: Source) -> None:
        source.put("films/one.mp4", b"x")
        source.put("films/one.mp4.bak", b"y")
        listed = source.listed("films/one.mp4")
        assert {name: asset.path for name, asset in listed.items()} == {"films/one.mp4": "one.mp4"}

    def test_the_listing_tells_size_and_time(self, source: Source) -> None:
        source.put("a.txt", b"12345")
        asset = source.listed()["a.txt"]
        assert asset.size == 5
        assert asset.modified > 1_500_000_000
        assert asset.metadata is not None
        assert asset.metadata["size"] == 5

    def test_an_unchanged_asset_keeps_fingerprint_and_version(self, source: Source) -> None:
        source.put("a.txt", b"one")
        assert source.listed() == source.listed()

    def test_other_content_changes_fingerprint_and_version(self, source: Source) -> None:
        source.put("a.txt", b"one")
        before = source.listed()["a.txt"]
        source.put("a.txt", b"two")
        after = source.listed()["a.txt"]
        assert after.fingerprint != before.fingerprint
        assert after.version != before.version

    def test_describing_completes_an_asset(self, source: Source) -> None:
        source.put("a.txt", b"one")
        listed = source.listed()["a.txt"]
        described = source.provider.describe(listed)
        assert described.complete
        assert described.mime_type
        assert described.metadata is not None
        assert listed.metadata is not None
        assert described.metadata.items() >= listed.metadata.items()
        assert (described.fingerprint, described.version) == (listed.fingerprint, listed.version)

    def test_an_asset_is_read_whole_and_in_pieces(self, source: Source) -> None:
        content = bytes(range(256)) * 2000
        source.put("a.bin", content)
        asset = source.listed()["a.bin"]
        assert source.read(asset) == content
        with source.provider.open(asset) as stream:
            pieces = list(iter(lambda: stream.read(100_000), b""))
        assert b"".join(pieces) == content
        assert max(map(len, pieces)) <= 100_000

    def test_a_link_leads_to_the_asset_or_there_is_none(self, source: Source) -> None:
        source.put("reels/a film & more #1.mp4", b"the film")
        (asset,) = source.listed().values()
        link = source.provider.link(asset)
        if link is not None:
            with urlopen(link, timeout=10) as reply:
                assert reply.read() == b"the film"

    def test_an_empty_asset_is_read_as_nothing(self, source: Source) -> None:
        source.put("empty.txt", b"")
        assert source.read(source.listed()["empty.txt"]) == b""

    def test_a_changed_asset_is_not_read_as_the_listed_one(self, source: Source) -> None:
        source.put("a.txt", b"one")
        listed = source.listed()["a.txt"]
        source.put("a.txt", b"two")
        with pytest.raises(AssetChangedError):
            source.read(listed)
        with pytest.raises(AssetChangedError):
            source.provider.describe(listed)

    def test_a_deleted_asset_has_changed(self, source: Source) -> None:
        source.put("a.txt", b"one")
        source.put("b.txt", b"stays")
        listed = source.listed()
        source.delete("a.txt")
        for use in (source.read, source.provider.describe):
            with pytest.raises(AssetChangedError) as caught:
                use(listed["a.txt"])
            assert caught.value.asset_only
        assert set(source.listed()) == {"b.txt"}

    def test_a_listing_that_breaks_never_ends_quietly(self, source: Source) -> None:
        pages = source.breaking_half_way().list("")
        assert next(pages)
        with pytest.raises(ProviderError) as caught:
            list(pages)
        assert not caught.value.asset_only
        assert not caught.value.permanent

    def test_twenty_assets_are_read_at_once(self, source: Source) -> None:
        for number in range(20):
            source.put(f"{number}.txt", f"content {number}".encode() * 5000)
        assets = source.listed()
        with ThreadPoolExecutor(20) as pool:
            contents = dict(zip(assets, pool.map(source.read, assets.values()), strict=True))
        assert contents == {f"{n}.txt": f"content {n}".encode() * 5000 for n in range(20)}

    def test_a_check_says_what_it_saw(self, source: Source) -> None:
        source.put("folder/a.txt", b"one")
        assert source.provider.check()
        assert "folder" in source.provider.check("folder")


class MetadataConformance(ProviderConformance):
    """For providers whose assets carry metadata of their own."""

    def test_other_metadata_changes_the_version_but_not_the_fingerprint(
        self, source: Source
    ) -> None:
        source.put("a.txt", b"one", {"colour": "red"})
        before = source.listed()["a.txt"]
        source.put("a.txt", b"one", {"colour": "blue"})
        after = source.listed()["a.txt"]
        assert after.fingerprint == before.fingerprint
        assert after.version != before.version


class NetworkedConformance(ProviderConformance):
    """For providers with an address and credentials."""

    @pytest.fixture
    def with_wrong_credentials(self) -> Provider:
        raise NotImplementedError("a provider with SECRET as secret, which its service refuses")

    @pytest.fixture
    def unreachable(self) -> Provider:
        raise NotImplementedError("a provider with an address where nothing listens")

    def test_wrong_credentials_are_permanent_and_named_without_the_secret(
        self, with_wrong_credentials: Provider
    ) -> None:
        for use in (with_wrong_credentials.check, lambda: list(with_wrong_credentials.list(""))):
            with pytest.raises(ProviderError) as caught:
                use()
            assert caught.value.permanent
            assert caught.value.reason == "Unauthorized"
            assert "secret_access_key" in str(caught.value) or "access_token" in str(caught.value)
            assert SECRET not in str(caught.value)

    def test_an_unreachable_endpoint_may_come_back(self, unreachable: Provider) -> None:
        for use in (unreachable.check, lambda: list(unreachable.list(""))):
            with pytest.raises(ProviderError) as caught:
                use()
            assert caught.value.reason == "Unreachable"
            assert not caught.value.permanent
            assert not caught.value.asset_only

    def test_requests_are_counted_and_what_fails_of_them(
        self, source: Source, unreachable: Provider
    ) -> None:
        source.put("a.txt", b"a")
        source.read(source.listed()["a.txt"])
        told = source.provider.calls.told()
        assert told.total >= 2
        assert (told.errors, told.throttled) == (0, 0)
        with pytest.raises(ProviderError):
            list(unreachable.list(""))
        told = unreachable.calls.told()
        assert told.errors == told.total >= 1

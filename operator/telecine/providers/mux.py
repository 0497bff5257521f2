"""Mux as a source: its video assets, read through their static renditions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, BinaryIO, ClassVar, TypeAlias
from urllib.parse import quote

from telecine.api.connection import MuxConfig
from telecine.planning.types import Asset, SideCaptions
from telecine.providers.base import AssetChangedError, ProviderError
from telecine.providers.calls import Calls
from telecine.providers.mux_api import MuxApi
from telecine.providers.mux_assets import asset_of
from telecine.providers.streams import buffered

#: `list` is a method inside of the class.
Page: TypeAlias = list[Asset]
_PAGE = 100
_MOST_CAPTIONS = 16 << 20
_ASSETS = "/video/v1/assets"
_PATH = re.compile(r"(?:mux://)?([A-Za-z0-9]*)/?", re.ASCII)


class MuxProvider:
    """All assets of a Mux environment, or one; the id of an asset is Mux's.

    A listing carries all that Mux tells of an asset: filters and reconciliation cost one call for
    a hundred assets and none for one. Downloads come from Mux's CDN and do not count as calls.
    """

    unversioned: ClassVar[frozenset[str]] = frozenset()

    def __init__(
        self,
        config: MuxConfig | None,
        secret: Mapping[str, str] | None = None,
        *,
        allow_private: bool = True,
        attempts: int = 5,
    ) -> None:
        self._config, self._secret = config or MuxConfig(), secret or {}
        self._allow_private, self._attempts = allow_private, attempts
        self.calls = Calls()
        self._api = self._made(attempts)

    def check(self, source_path: str = "") -> str:
        """Asks who the token is, and for one asset; so few attempts that a status waits little."""
        asset_id = self._asset_id(source_path)
        api = self._made(min(2, self._attempts))
        who: Any = api.get("/system/v1/whoami").get("data") or {}
        api.get(_ASSETS, {"limit": 1})
        api.token("check")
        where = str(who.get("environment_name") or who.get("environment_id") or "")
        place = f"Mux environment {where}" if where else "Mux"
        if asset_id:
            self.asset(asset_id)
            return f"asset {asset_id} of {place} can be read"
        return f"the assets of {place} can be listed"

    def list(self, source_path: str) -> Iterator[list[Asset]]:
        """Pages of 100, newest first. `mux://` means all; `mux://{asset_id}` one, or none when Mux
        does not know it."""
        asset_id = self._asset_id(source_path)
        if not asset_id:
            yield from self._pages()
            return
        try:
            yield [self.asset(asset_id)]
        except AssetChangedError:
            return

    def asset(self, asset_id: str) -> Asset:
        """One asset as Mux tells it now.

        Raises:
            AssetChangedError: Mux does not know it (any more).
        """
        body = self._api.get(f"{_ASSETS}/{quote(asset_id, safe='')}")
        return self._read(body.get("data"))

    def describe(self, asset: Asset, fields: frozenset[str] = frozenset()) -> Asset:
        """As listed: a listing tells all. Asks Mux only for an asset that is known by its id."""
        if (asset.metadata or {}).get("static_rendition"):
            return asset._replace(complete=True)
        return self.asset(asset.id)

    @contextmanager
    def open(self, asset: Asset) -> Iterator[BinaryIO]:
        """The static rendition that the listing found first in the order low, medium, high."""
        with self._api.stream(self._rendition_url(asset), f"Mux asset {asset.id}") as answer:
            pieces, rest = answer.iter_bytes(1 << 16), b""

            def read(size: int) -> bytes:
                nonlocal rest
                if not rest:
                    rest = next(pieces, b"")
                piece, rest = rest[:size], rest[size:]
                return piece

            yield buffered(read)

    def link(self, asset: Asset) -> str | None:
        """The static rendition, which every browser plays; signed for an hour where it must be."""
        try:
            return self._rendition_url(asset)
        except AssetChangedError:
            return None

    def captions(self, asset: Asset) -> SideCaptions | None:
        """The asset's first text track as WebVTT.

        Raises:
            ProviderError: of this asset alone.
        """
        tracks: Any = (asset.metadata or {}).get("text_tracks") or []
        if not tracks:
            return None
        track = tracks[0]
        url = self._url(asset, f"text/{quote(str(track['id']), safe='')}.vtt")
        name = f"captions {track['id']} of Mux asset {asset.id}"
        with self._api.stream(url, name) as answer:
            told = bytearray()
            for piece in answer.iter_bytes():
                told += piece
                if len(told) > _MOST_CAPTIONS:
                    raise self._api.fault(
                        "TooLarge", f"{name}: over {_MOST_CAPTIONS} bytes", asset_only=True
                    )
        text = bytes(told).decode("utf-8", "replace")
        return SideCaptions(text, str(track.get("language_code") or ""))

    def _pages(self) -> Iterator[Page]:
        """Follows the cursors: pages by number shift when an asset comes or goes."""
        seen: set[str] = set()
        cursors: set[str] = set()
        parameters: dict[str, str | int] = {"limit": _PAGE}
        while True:
            body = self._api.get(_ASSETS, parameters)
            found = body.get("data")
            if not isinstance(found, list) or "next_cursor" not in body:
                raise self._unreadable("a page of assets without data and next_cursor")
            page = [asset for asset in map(self._read, found) if asset.id not in seen]
            seen.update(asset.id for asset in page)
            yield page
            cursor = body["next_cursor"]
            if not cursor:
                return
            if cursor in cursors:
                raise self._unreadable("a listing that goes round in circles")
            cursors.add(cursor)
            parameters = {"limit": _PAGE, "cursor": cursor}

    def _read(self, data: Any) -> Asset:
        if not isinstance(data, Mapping):
            raise self._unreadable("something that is no asset")
        try:
            return asset_of(data, self._api.places, can_sign=all(self._api.signing_key))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise self._unreadable(f"an asset that cannot be read ({error!r})") from error

    def _unreadable(self, what: str) -> ProviderError:
        return self._api.fault("SourceUnreadable", f"{self._api.endpoint} answered with {what}")

    def _rendition_url(self, asset: Asset) -> str:
        name = (asset.metadata or {}).get("static_rendition")
        if not name:
            raise AssetChangedError(f"Mux asset {asset.id} has no static rendition")
        return self._url(asset, quote(str(name), safe=""))

    def _url(self, asset: Asset, rest: str) -> str:
        metadata = asset.metadata or {}
        playback_id = str(metadata.get("playback_id") or "")
        if not playback_id:
            raise AssetChangedError(f"Mux asset {asset.id} has no playback id")
        url = f"{self._api.places.stream}/{quote(playback_id, safe='')}/{rest}"
        if metadata.get("playback_policy") != "signed":
            return url
        token = self._api.token(playback_id)
        return f"{url}?token={token}" if token else url

    def _asset_id(self, source_path: str) -> str:
        found = _PATH.fullmatch(source_path.strip())
        if found is None:
            raise self._api.fault(
                "SourcePathInvalid",
                f"sourcePath {source_path!r} must be mux:// for all assets, or mux:// and the id "
                "of one",
                permanent=True,
            )
        return found[1]

    def _made(self, attempts: int) -> MuxApi:
        return MuxApi(
            self._config,
            self._secret,
            calls=self.calls,
            allow_private=self._allow_private,
            attempts=attempts,
        )


def covers(source_path: str, asset_id: str) -> bool:
    """Whether a Sync of this path could take an asset."""
    found = _PATH.fullmatch(source_path.strip())
    return found is not None and found[1] in ("", asset_id)

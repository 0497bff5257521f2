"""The assets of a Mux environment, in memory, as Mux's API shows them (its OpenAPI document)."""

from __future__ import annotations

import base64
import bisect
import copy
import itertools
import secrets
import string
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

JSON = dict[str, Any]
Position = tuple[int, int, str]
"""Where an asset stands in a listing: newest first, also within a second."""
Body = Path | int
"""A file, or the number of bytes of a made-up one."""
_ALPHABET = string.ascii_letters + string.digits
_OLDER = frozenset({"low", "medium", "high", "capped-1080p"})
_HEIGHTS = {"low.mp4": 360, "medium.mp4": 480, "high.mp4": 720, "highest.mp4": 1080}


def new_id() -> str:
    """As long as Mux's."""
    return "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in secrets.token_bytes(43))


class SigningKey(NamedTuple):
    """A key for signed playback ids, as Mux shows it when it is made."""

    id: str
    private_key: str
    """The base64 of a PEM."""
    public_key: str
    """A PEM."""

    @classmethod
    def make(cls) -> SigningKey:
        from cryptography.hazmat.primitives import serialization as forms
        from cryptography.hazmat.primitives.asymmetric import rsa

        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        private = key.private_bytes(
            forms.Encoding.PEM, forms.PrivateFormat.TraditionalOpenSSL, forms.NoEncryption()
        )
        public = key.public_key().public_bytes(
            forms.Encoding.PEM, forms.PublicFormat.SubjectPublicKeyInfo
        )
        return cls(new_id(), base64.b64encode(private).decode(), public.decode())


@dataclass
class Stored:
    data: JSON
    number: int
    """Of those that were added."""
    files: dict[str, Body] = field(default_factory=dict)
    captions: dict[str, Path] = field(default_factory=dict)
    """By track id."""

    @property
    def position(self) -> Position:
        return -int(self.data["created_at"]), -self.number, str(self.data["id"])


class MuxLibrary:
    """Thread-safe. `changed` hears of each change: the event's type and the asset's JSON."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._assets: dict[str, Stored] = {}
        self._playback: dict[str, tuple[str, str]] = {}
        self._order: list[Position] = []
        self._numbers = itertools.count()
        self.changed: list[Callable[[str, JSON], None]] = []

    def add(
        self,
        film: Path | None = None,
        *,
        asset_id: str | None = None,
        passthrough: str | None = None,
        meta: Mapping[str, str] | None = None,
        status: str = "ready",
        policies: Sequence[str] = ("public",),
        renditions: Mapping[str, Body] | None = None,
        captions: Mapping[str, Path] | None = None,
        duration: float = 23.86,
        created_at: int | None = None,
        notify: bool = False,
        **raw: Any,
    ) -> str:
        """A new asset's id. `film` becomes `low.mp4`; `raw` stands in the JSON as it is given."""
        ident = str(raw.get("id") or asset_id or new_id())
        files = dict(renditions or {}) | ({"low.mp4": film} if film is not None else {})
        created = int(time.time()) if created_at is None else created_at
        data: JSON = {
            "id": ident,
            "created_at": str(created),
            "status": status,
            "duration": duration,
            "max_stored_resolution": "HD",
            "resolution_tier": "1080p",
            "max_stored_frame_rate": 25.0,
            "aspect_ratio": "16:9",
            "playback_ids": [{"id": new_id(), "policy": policy} for policy in policies],
            "tracks": [
                {"id": new_id(), "type": "video", "max_width": 1920, "max_height": 1080},
                {"id": new_id(), "type": "audio", "max_channels": 2},
            ],
            "master_access": "none",
            "mp4_support": "none",
            "encoding_tier": "smart",
            "video_quality": "plus",
            "ingest_type": "on_demand_url",
            "test": False,
        }
        stored = Stored(data, next(self._numbers))
        for language, path in (captions or {}).items():
            track = new_id()
            stored.captions[track] = path
            data["tracks"].append(
                {
                    "id": track,
                    "type": "text",
                    "text_type": "subtitles",
                    "status": "ready",
                    "text_source": "uploaded",
                    "language_code": language,
                    "name": language,
                }
            )
        for name, body in files.items():
            _put_rendition(stored, name, body)
        extras = {"passthrough": passthrough, "meta": dict(meta) if meta else None}
        data.update({key: value for key, value in extras.items() if value is not None})
        data.update(raw)
        with self._lock:
            self._put(stored)
        if notify:
            kind = data["status"] if data["status"] in ("ready", "errored") else "created"
            self._tell(f"video.asset.{kind}", data)
        return ident

    def add_many(self, count: int, **same: Any) -> list[str]:
        """Many alike, one second apart, the last one newest."""
        now = int(time.time()) - count
        return [self.add(created_at=now + number, **same) for number in range(count)]

    def __len__(self) -> int:
        return len(self._order)

    def asset(self, asset_id: str) -> JSON | None:
        """A copy of its JSON; None: there is none."""
        with self._lock:
            stored = self._assets.get(asset_id)
            return None if stored is None else copy.deepcopy(stored.data)

    def after(self, position: Position | None, count: int) -> list[tuple[Position, JSON]]:
        """The next assets behind a position, newest first: what a cursor stands for."""
        with self._lock:
            start = 0 if position is None else bisect.bisect_right(self._order, position)
            return self._shown(start, start + count)

    def page(self, number: int, count: int) -> list[tuple[Position, JSON]]:
        """By number, and one asset beyond; it shifts when an asset comes or goes."""
        with self._lock:
            return self._shown((number - 1) * count, number * count + 1)

    def update(self, asset_id: str, *, notify: bool = True, **changes: Any) -> JSON:
        """Changes fields; None removes one. Raises KeyError; ValueError: an id is for good."""
        if changes.get("id", asset_id) != asset_id:
            raise ValueError("the id of an asset does not change")
        with self._lock:
            stored = self._assets[asset_id]
            merged = {**stored.data, **changes}
            data = {key: value for key, value in merged.items() if value is not None}
            self._take(stored)
            stored.data = data
            self._put(stored)
        if notify:
            self._tell("video.asset.updated", data)
        return data

    def set_rendition(
        self, asset_id: str, name: str, body: Body, *, notify: bool = True, **more: Any
    ) -> None:
        """Adds or replaces a static rendition; `more` are fields of its JSON. Raises KeyError."""
        with self._lock:
            stored = self._assets[asset_id]
            stored.data = dict(stored.data)
            file = _put_rendition(stored, name, body, **more)
        if notify:
            status = "created" if file["status"] == "preparing" else file["status"]
            self._tell(f"video.asset.static_rendition.{status}", {**file, "asset_id": asset_id})

    def delete(self, asset_id: str, *, notify: bool = True) -> JSON:
        """Raises KeyError."""
        with self._lock:
            stored = self._assets[asset_id]
            self._take(stored)
        if notify:
            self._tell("video.asset.deleted", stored.data)
        return stored.data

    def played(self, playback_id: str) -> tuple[Stored, str] | None:
        """The asset of a playback id, and its policy."""
        with self._lock:
            found = self._playback.get(playback_id)
            return None if found is None else (self._assets[found[0]], found[1])

    def _put(self, stored: Stored) -> None:
        ident = stored.data["id"]
        self._assets[ident] = stored
        bisect.insort(self._order, stored.position)
        for one in stored.data.get("playback_ids") or []:
            self._playback[one["id"]] = (ident, one["policy"])

    def _take(self, stored: Stored) -> None:
        del self._assets[stored.data["id"]]
        del self._order[bisect.bisect_left(self._order, stored.position)]
        for one in stored.data.get("playback_ids") or []:
            self._playback.pop(one["id"], None)

    def _shown(self, start: int, end: int) -> list[tuple[Position, JSON]]:
        return [(key, self._assets[key[-1]].data) for key in self._order[start:end]]

    def _tell(self, kind: str, data: JSON) -> None:
        for listener in list(self.changed):
            listener(kind, data)


def _put_rendition(stored: Stored, name: str, body: Body, **more: Any) -> JSON:
    stored.files[name] = body
    stem, _, ext = name.rpartition(".")
    height = _HEIGHTS.get(name) or int("".join(filter(str.isdigit, stem)) or 0) or None
    size = body if isinstance(body, int) else body.stat().st_size
    file: JSON = {
        "id": new_id(),
        "name": name,
        "ext": ext,
        "status": "ready",
        "type": "standard",
        "filesize": str(size),
        "bitrate": 800_000,
        # What only mp4_support makes has no resolution.
        **({} if stem in _OLDER else {"resolution": "audio-only" if ext == "m4a" else stem}),
        **({"height": height, "width": height * 16 // 9} if height else {}),
        **more,
    }
    old = stored.data.get("static_renditions") or {"files": []}
    others = [one for one in old["files"] if one["name"] != name]
    stored.data["static_renditions"] = {"files": [*others, file]}
    return file

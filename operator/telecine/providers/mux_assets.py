"""What a Mux asset is to Telecine: the JSON of the API as an `Asset`. No I/O.

Fields as in Mux's API reference ("Assets", "Static renditions"); what real answers do differently
is accepted: numbers as text, absent lists, statuses that only the older `mp4_support` has.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from telecine.planning.types import Asset

JSON = Mapping[str, Any]

#: In the order in which they are tried: low, medium, high, highest, and after each the names that
#: Mux gives to the same qualities today; then what has a sound only.
RENDITIONS = (
    *("low.mp4", "270p.mp4", "360p.mp4"),
    *("medium.mp4", "480p.mp4", "540p.mp4"),
    *("high.mp4", "720p.mp4"),
    *("highest.mp4", "capped-1080p.mp4", "1080p.mp4", "1440p.mp4", "2160p.mp4"),
    "audio.m4a",
)
_RANK = {name: rank for rank, name in enumerate(RENDITIONS)}
#: Bits a second, for an estimate of the size where Mux tells neither size nor bit rate.
_BIT_RATES = dict(
    zip(
        RENDITIONS,
        [
            *(600_000, 400_000, 600_000),
            *(1_200_000, 1_200_000, 1_800_000),
            *(2_800_000, 2_800_000),
            *(5_000_000, 5_000_000, 5_000_000, 9_000_000, 18_000_000),
            128_000,
        ],
        strict=True,
    )
)
_ANY_BIT_RATE = 2_800_000

#: Kept as they come, where they are: what filters and mappings may ask for.
_KEPT = (
    "duration",
    "resolution_tier",
    "status",
    "aspect_ratio",
    "passthrough",
    "meta",
    "created_at",
    "max_stored_frame_rate",
    "max_stored_resolution",
    "max_resolution_tier",
    "encoding_tier",
    "video_quality",
    "ingest_type",
    "is_live",
    "live_stream_id",
    "upload_id",
    "test",
)


class Places(NamedTuple):
    """Where Mux serves content, without a slash at the end."""

    stream: str = "https://stream.mux.com"
    thumbnail: str = "https://stream.mux.com"


class Rendition(NamedTuple):
    """A file that can be downloaded."""

    name: str
    size: int
    """Bytes; an estimate where Mux tells none, -1 without a duration."""


def asset_of(data: JSON, places: Places = Places(), *, can_sign: bool = False) -> Asset:
    """An asset of Mux's API; `unavailable` tells why it cannot be indexed now.

    Its metadata are complete, so that a listing answers every filter. Its content never changes at
    Mux: another rendition of it is the same film, and does not change the fingerprint.

    Raises:
        ValueError: it has no id.
    """
    ident = data.get("id")
    if not isinstance(ident, str) or not ident:
        raise ValueError("an asset without an id")
    playback = _playback(data, can_sign)
    rendition = _rendition(data)
    metadata = _metadata(data, playback, rendition, places)
    created = _number(data.get("created_at")) or 0.0
    fingerprint = f"{int(created)}-{_number(data.get('duration')) or 0:g}"
    sound = rendition is not None and rendition.name.endswith(".m4a")
    return Asset(
        id=ident,
        path=f"{ident}.{'m4a' if sound else 'mp4'}",
        size=rendition.size if rendition is not None else -1,
        modified=created,
        fingerprint=fingerprint,
        version=_digest(fingerprint, metadata),
        mime_type="audio/mp4" if sound else "video/mp4",
        metadata=metadata,
        complete=True,
        unavailable=_unavailable(data, playback, rendition, can_sign),
    )


def _unavailable(
    data: JSON, playback: JSON | None, rendition: Rendition | None, can_sign: bool
) -> str | None:
    status = data.get("status")
    if status != "ready":
        return str(status) if status in ("preparing", "errored") else "not_ready"
    if playback is None:
        policies = {p.get("policy") for p in _dicts(data.get("playback_ids"))}
        return "drm_only" if "drm" in policies else "no_playback_id"
    if playback.get("policy") == "signed" and not can_sign:
        return "no_signing_key"
    return None if rendition is not None else "no_static_rendition"


def _playback(data: JSON, can_sign: bool) -> JSON | None:
    """The playback id that content is read by: a public one, else a signed one."""
    usable = [p for p in _dicts(data.get("playback_ids")) if isinstance(p.get("id"), str)]
    for policy in ("public", "signed"):
        for one in usable:
            if one.get("policy", "public") == policy:
                return one
    return None


def _rendition(data: JSON) -> Rendition | None:
    """The first available in the order of `RENDITIONS`; others by their height after those."""
    renditions = data.get("static_renditions")
    if not isinstance(renditions, Mapping):
        return None
    # One status for all files, and none for each, is what the older mp4_support has alone.
    older = data.get("mp4_support", "standard") != "none"
    whole = renditions.get("status") if older else None
    ready = [
        file
        for file in _dicts(renditions.get("files"))
        if isinstance(file.get("name"), str) and file.get("status", whole) == "ready"
    ]

    def rank(file: JSON) -> tuple[int, float, str]:
        name = str(file["name"])
        return (_RANK.get(name, len(_RANK)), _number(file.get("height")) or 0.0, name)

    if not ready:
        return None
    first = min(ready, key=rank)
    return Rendition(str(first["name"]), _size(first, data))


def _size(file: JSON, data: JSON) -> int:
    told = _number(file.get("filesize"))
    if told is not None and told > 0:
        return int(told)
    seconds = _number(data.get("duration"))
    if seconds is None:
        return -1
    rate = _number(file.get("bitrate")) or _BIT_RATES.get(str(file["name"]), _ANY_BIT_RATE)
    return int(seconds * rate / 8)


def _metadata(
    data: JSON, playback: JSON | None, rendition: Rendition | None, places: Places
) -> dict[str, Any]:
    found: dict[str, Any] = {"asset_id": data["id"]}
    if playback is not None:
        ident = playback["id"]
        found |= {
            "playback_id": ident,
            "playback_policy": playback.get("policy", "public"),
            "playback_url": f"{places.stream}/{ident}.m3u8",
            "thumbnail_url": f"{places.thumbnail}/{ident}/thumbnail.jpg",
        }
    found["playback_ids"] = [p["id"] for p in _dicts(data.get("playback_ids")) if "id" in p]
    found |= {key: data[key] for key in _KEPT if data.get(key) is not None}
    if rendition is not None:
        found["static_rendition"] = rendition.name
    tracks = list(_text_tracks(data))
    if tracks:
        found["text_tracks"] = tracks
    return found


def _text_tracks(data: JSON) -> Iterator[dict[str, Any]]:
    """Captions that can be read, those made by people before those made by Mux."""
    tracks = [
        track
        for track in _dicts(data.get("tracks"))
        if track.get("type") == "text"
        and track.get("status", "ready") == "ready"
        and isinstance(track.get("id"), str)
    ]
    tracks.sort(key=lambda track: str(track.get("text_source", "")).startswith("generated"))
    for track in tracks:
        yield {
            key: track[key]
            for key in ("id", "language_code", "name", "text_source")
            if key in track
        }


def _digest(fingerprint: str, metadata: JSON) -> str:
    text = json.dumps([fingerprint, metadata], sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _dicts(value: Any) -> list[JSON]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def _number(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        return None

"""Which of Mux's assets can be indexed, by which file, and what is known of each."""

from __future__ import annotations

from typing import Any

import pytest
from telecine.api.sync import MetadataFilter
from telecine.planning.metadata import matches
from telecine.providers.mux_assets import RENDITIONS, Places, asset_of


def file(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "ext": name.rpartition(".")[2], "status": "ready", **more}


def data(*files: dict[str, Any], **changes: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "id": "5sCF1Yk3rC0102zMVEh74jJE9pT6KFeZ1N8gcQZ3l53FI",
        "created_at": "1609869152",
        "status": "ready",
        "duration": 23.86,
        "resolution_tier": "1080p",
        "aspect_ratio": "16:9",
        "playback_ids": [{"id": "YGDmuLw7AO", "policy": "public"}],
        "static_renditions": {"files": list(files or [file("low.mp4", filesize="1000000")])},
    }
    made.update(changes)
    return {key: value for key, value in made.items() if value is not None}


def test_source_metadata_are_those_of_the_reference_page() -> None:
    metadata = asset_of(data(passthrough="myapp|vi:1", meta={"external_id": "e-1"})).metadata
    assert metadata is not None
    assert metadata["asset_id"] == "5sCF1Yk3rC0102zMVEh74jJE9pT6KFeZ1N8gcQZ3l53FI"
    assert metadata["playback_id"] == "YGDmuLw7AO"
    assert metadata["playback_ids"] == ["YGDmuLw7AO"]
    assert metadata["playback_url"] == "https://stream.mux.com/YGDmuLw7AO.m3u8"
    assert metadata["thumbnail_url"] == "https://stream.mux.com/YGDmuLw7AO/thumbnail.jpg"
    assert metadata["duration"] == 23.86
    assert metadata["resolution_tier"] == "1080p"
    assert metadata["status"] == "ready"
    assert metadata["aspect_ratio"] == "16:9"
    assert metadata["passthrough"] == "myapp|vi:1"
    assert metadata["meta"] == {"external_id": "e-1"}


def test_urls_follow_the_connections_endpoints() -> None:
    places = Places("http://stream.test", "https://image.mux.com")
    metadata = asset_of(data(), places).metadata or {}
    assert metadata["playback_url"] == "http://stream.test/YGDmuLw7AO.m3u8"
    assert metadata["thumbnail_url"] == "https://image.mux.com/YGDmuLw7AO/thumbnail.jpg"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"status": "preparing"}, "preparing"),
        ({"status": "errored", "errors": {"type": "x", "messages": []}}, "errored"),
        ({"status": "something_new"}, "not_ready"),
        ({"playback_ids": []}, "no_playback_id"),
        ({"playback_ids": None}, "no_playback_id"),
        ({"playback_ids": [{"id": "d", "policy": "drm"}]}, "drm_only"),
        ({"playback_ids": [{"id": "s", "policy": "signed"}]}, "no_signing_key"),
        ({"static_renditions": None}, "no_static_rendition"),
        ({"static_renditions": {"files": []}}, "no_static_rendition"),
        ({"static_renditions": {"status": "preparing"}}, "no_static_rendition"),
        (
            {"static_renditions": {"files": [file("low.mp4", status="preparing")]}},
            "no_static_rendition",
        ),
        (
            {"static_renditions": {"files": [file("low.mp4", status="skipped")]}},
            "no_static_rendition",
        ),
        (
            {"static_renditions": {"files": [file("low.mp4", status="errored")]}},
            "no_static_rendition",
        ),
        # mp4_support, the older way: one status for all files.
        ({"static_renditions": {"status": "ready", "files": [{"name": "low.mp4"}]}}, None),
        (
            {"static_renditions": {"status": "preparing", "files": [{"name": "low.mp4"}]}},
            "no_static_rendition",
        ),
        (
            {
                "mp4_support": "none",
                "static_renditions": {"status": "ready", "files": [{"name": "low.mp4"}]},
            },
            "no_static_rendition",
        ),
    ],
)
def test_what_cannot_be_indexed_is_skipped_with_its_reason(
    changes: dict[str, Any], reason: str | None
) -> None:
    assert asset_of(data(**changes)).unavailable == reason


def test_a_signed_playback_id_is_used_with_a_key_and_a_public_one_before_it() -> None:
    ids = [
        {"id": "d", "policy": "drm"},
        {"id": "s", "policy": "signed"},
        {"id": "p", "policy": "public"},
    ]
    both = asset_of(data(playback_ids=ids), can_sign=True)
    assert (both.metadata or {})["playback_id"] == "p"
    assert (both.metadata or {})["playback_ids"] == ["d", "s", "p"]
    signed = asset_of(data(playback_ids=ids[:2]), can_sign=True)
    assert ((signed.metadata or {})["playback_id"], signed.unavailable) == ("s", None)


@pytest.mark.parametrize(
    ("there", "chosen"),
    [
        (["highest.mp4", "high.mp4", "medium.mp4", "low.mp4"], "low.mp4"),
        (["highest.mp4", "high.mp4", "medium.mp4"], "medium.mp4"),
        (["highest.mp4", "high.mp4"], "high.mp4"),
        (["highest.mp4"], "highest.mp4"),
        (["1080p.mp4", "720p.mp4"], "720p.mp4"),
        (["2160p.mp4", "480p.mp4", "270p.mp4"], "270p.mp4"),
        (["capped-1080p.mp4", "medium.mp4"], "medium.mp4"),
        (["audio.m4a", "2160p.mp4"], "2160p.mp4"),
        (["audio.m4a"], "audio.m4a"),
        (["tomorrow.mp4", "highest.mp4"], "highest.mp4"),
        (["tomorrow.mp4"], "tomorrow.mp4"),
    ],
)
def test_renditions_are_tried_low_medium_high_highest(there: list[str], chosen: str) -> None:
    asset = asset_of(data(*(file(name, filesize=5) for name in there)))
    assert (asset.metadata or {})["static_rendition"] == chosen


def test_the_first_available_rendition_is_taken() -> None:
    files = [file("low.mp4", status="errored"), file("medium.mp4"), file("high.mp4")]
    assert (asset_of(data(*files)).metadata or {})["static_rendition"] == "medium.mp4"


@pytest.mark.parametrize(
    ("rendition", "duration", "size"),
    [
        (file("low.mp4", filesize="1000000"), 10, 1_000_000),
        (file("low.mp4", filesize=1000000), 10, 1_000_000),
        (file("low.mp4", bitrate=800_000), 10, 1_000_000),
        (file("low.mp4", filesize="0", bitrate="800000"), 10, 1_000_000),
        (file("low.mp4"), 10, 750_000),
        (file("audio.m4a"), 10, 160_000),
        (file("tomorrow.mp4"), 10, 3_500_000),
        (file("low.mp4"), None, -1),
    ],
)
def test_the_size_is_the_renditions_or_an_estimate(
    rendition: dict[str, Any], duration: float | None, size: int
) -> None:
    assert asset_of(data(rendition, duration=duration)).size == size


def test_audio_only_is_audio_however_the_tier_is_spelled() -> None:
    asset = asset_of(data(file("audio.m4a"), resolution_tier="audio-only"))
    assert (asset.mime_type, asset.path[-4:]) == ("audio/mp4", ".m4a")
    rule = MetadataFilter.model_validate(
        {"field": "resolution_tier", "operator": "not_equals", "value": "audio_only"}
    )
    assert not matches(rule, asset.metadata or {})


def test_metadata_change_the_version_and_never_the_fingerprint() -> None:
    before, after = asset_of(data(passthrough="a")), asset_of(data(passthrough="b"))
    assert before.fingerprint == after.fingerprint
    assert before.version != after.version


def test_another_rendition_of_the_same_film_is_no_other_content() -> None:
    late = asset_of(data(file("high.mp4")))
    assert late.fingerprint == asset_of(data(file("low.mp4"), file("high.mp4"))).fingerprint


def test_captions_of_people_go_before_those_of_machines() -> None:
    tracks = [
        {"type": "video"},
        {"type": "text", "id": "g", "status": "ready", "text_source": "generated_vod"},
        {"type": "text", "id": "x", "status": "preparing", "text_source": "uploaded"},
        {"type": "text", "id": "u", "status": "ready", "text_source": "uploaded"},
    ]
    found = (asset_of(data(tracks=tracks)).metadata or {})["text_tracks"]
    assert [track["id"] for track in found] == ["u", "g"]


def test_every_name_has_a_rank_of_its_own() -> None:
    assert len(set(RENDITIONS)) == len(RENDITIONS)


def test_an_asset_without_an_id_is_refused() -> None:
    with pytest.raises(ValueError, match="without an id"):
        asset_of({"status": "ready"})

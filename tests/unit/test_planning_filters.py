"""Which assets a Sync selects, and which rule says no."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from telecine.api.bucket import BucketSpec
from telecine.api.sync import SyncSpec
from telecine.planning.filters import Outcome, Rules
from telecine.planning.types import Asset, Recipe

JUNE = 1_780_272_000.0  # 2026-06-01T00:00:00Z


def rules(
    *, blob_type: str = "text", mapping: Any = None, unversioned: str = "", **filters: Any
) -> Rules:
    sync = {
        "bucketRef": {"name": "books"},
        "connectionRef": {"name": "disk"},
        "fileFilters": filters,
        "schemaMapping": mapping,
    }
    return Rules.build(
        SyncSpec.model_validate(sync),
        "texts",
        BucketSpec.model_validate({"namespaceRef": {"name": "library"}, "blobType": blob_type}),
        connection="disk",
        recipes=[Recipe("text_extractor", "v1", {}, "0")],
        unversioned=frozenset(unversioned.split()),
    )


def asset(path: str = "novels/emma.txt", **changes: Any) -> Asset:
    return Asset(path, path, 100, JUNE, "f", "v")._replace(**changes)


def where(field: str, operator: str, value: Any) -> dict[str, Any]:
    return {"metadataFilters": [{"field": field, "operator": operator, "value": value}]}


TABLE: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({}, {}, ""),
    ({"minSize": 100}, {}, ""),
    ({"minSize": 101}, {}, "below_min_size"),
    ({"minSize": 101}, {"size": -1}, ""),
    ({"minSize": 1}, {"size": 0}, "below_min_size"),
    ({"maxSize": 100}, {}, ""),
    ({"maxSize": 99}, {}, "above_max_size"),
    ({"maxSize": 0}, {"size": -1}, ""),
    ({"modifiedAfter": "2026-05-31T23:59:59Z"}, {}, ""),
    ({"modifiedAfter": "2026-06-01T00:00:00Z"}, {}, "modified_after"),
    ({"modifiedAfter": "2026-06-01T02:00:00+02:00"}, {}, "modified_after"),
    ({"modifiedAfter": "2026-06-01T00:00:00Z"}, {"modified": 0.0}, ""),
    ({"modifiedAfter": "2026-06-01T00:00:00Z"}, {"modified": -1e15}, "modified_after"),
    ({"modifiedBefore": "2026-06-01T00:00:01Z"}, {}, ""),
    ({"modifiedBefore": "2026-06-01T00:00:00Z"}, {}, "modified_before"),
    ({"modifiedBefore": "2026-06-01T00:00:00Z"}, {"modified": 0.0}, ""),
    ({"extensions": ["TXT"]}, {}, ""),
    ({"extensions": [".txt"]}, {"path": "A.TXT"}, ""),
    ({"extensions": ["md", "pdf"]}, {}, "extensions"),
    ({"extensions": ["txt"]}, {"path": "txt"}, "extensions"),
    ({"extensions": ["draft.txt"]}, {"path": "a.draft.txt"}, ""),
    ({"includePatterns": ["*.md", "novels/*"]}, {}, ""),
    ({"includePatterns": ["essays/**"]}, {}, "include_patterns"),
    ({"excludePatterns": ["emma.*"]}, {}, "exclude_patterns"),
    ({"includePatterns": ["*.txt"], "excludePatterns": ["*.txt"]}, {}, "exclude_patterns"),
    ({"mimeTypes": ["text/plain"]}, {}, ""),
    ({"mimeTypes": ["TEXT/*"]}, {}, ""),
    ({"mimeTypes": ["*/*"]}, {}, ""),
    ({"mimeTypes": ["image/*", "application/pdf"]}, {}, "mime_types"),
    ({"mimeTypes": ["text/plain"]}, {"mime_type": "Text/Plain; charset=utf-8"}, ""),
    ({"mimeTypes": ["text/plain"]}, {"mime_type": "text/csv"}, "mime_types"),
    ({"mimeTypes": ["text/plain"]}, {"mime_type": "binary/octet-stream"}, ""),
    ({"mimeTypes": ["text/p"]}, {}, "mime_types"),
    ({}, {"unavailable": "preparing"}, "preparing"),
    ({"minSize": 101}, {"unavailable": "preparing"}, "preparing"),
    ({}, {"path": "a.png"}, "schema_mismatch"),
    (where("shelf", "equals", "a"), {"metadata": {"shelf": "a"}}, ""),
    (where("shelf", "equals", "a"), {"metadata": {"shelf": "b"}}, "filtered"),
    (where("shelf", "equals", "a"), {"metadata": {}, "complete": True}, "filtered"),
    (where("shelf", "exists", False), {"complete": True}, ""),
]


@pytest.mark.parametrize(("filters", "changes", "reason"), TABLE)
def test_a_filter_selects_or_names_itself(
    filters: dict[str, Any], changes: dict[str, Any], reason: str
) -> None:
    verdict = rules(**filters).judge(asset(**changes))
    assert verdict.reason == reason
    assert verdict.outcome is (Outcome.SKIP if reason else Outcome.MATCH)


ORDER = ["below_min_size", "modified_after", "extensions", "include_patterns", "exclude_patterns"]


def test_what_a_listing_answers_is_asked_before_metadata_and_schema() -> None:
    strict: dict[str, Any] = {
        "minSize": 101,
        "modifiedAfter": "2027-01-01T00:00:00Z",
        "extensions": ["png"],
        "includePatterns": ["x"],
        "excludePatterns": ["*"],
        "mimeTypes": ["image/*"],
        **where("shelf", "equals", "a"),
    }
    seen = []
    while True:
        verdict = rules(blob_type="video", **strict).judge(asset())
        if verdict.outcome is Outcome.NEEDS_METADATA:
            break
        seen.append(verdict.reason)
        camel = next(
            k for k in strict if k.lower() == verdict.reason.removeprefix("below_").replace("_", "")
        )
        del strict[camel]
    assert seen == [*ORDER, "mime_types"]
    described = asset(metadata={"shelf": "b"}, complete=True)
    assert rules(blob_type="video", **strict).judge(described).reason == "filtered"
    described = asset(metadata={"shelf": "a"}, complete=True)
    assert rules(blob_type="video", **strict).judge(described).reason == "schema_mismatch"


def test_the_detail_names_filter_value_found_and_value_wanted() -> None:
    verdict = rules(**where("passthrough", "contains", "vi:1")).judge(
        asset(metadata={"passthrough": "vi:0"})
    )
    assert verdict.detail == "[0] passthrough contains 'vi:1', found 'vi:0'"
    verdict = rules(**where("passthrough", "contains", "vi:1")).judge(asset(complete=True))
    assert verdict.detail.endswith("found nothing")
    verdict = rules(**where("a", "equals", "b")).judge(asset(metadata={"a": "x" * 9999}))
    assert len(verdict.detail) < 300


def test_metadata_are_asked_for_only_where_the_listing_does_not_tell() -> None:
    selected = rules(**where("shelf", "not_equals", "a"))
    assert selected.judge(asset()).outcome is Outcome.NEEDS_METADATA
    assert selected.judge(asset(metadata={"other": 1})).outcome is Outcome.NEEDS_METADATA
    assert selected.judge(asset(metadata={"shelf": "b"})).outcome is Outcome.MATCH
    assert selected.judge(asset(complete=True)).outcome is Outcome.MATCH
    assert selected.judge(asset(), {"other": 1}).outcome is Outcome.MATCH
    assert selected.judge(asset(), {"shelf": "a"}).outcome is Outcome.SKIP


def test_one_filter_that_fails_already_spares_asking_for_the_others() -> None:
    both = rules(
        metadataFilters=[
            {"field": "tags.team", "operator": "equals", "value": "a"},
            {"field": "key", "operator": "contains", "value": "z"},
        ]
    )
    verdict = both.judge(asset(metadata={"key": "emma"}))
    assert (verdict.outcome, verdict.reason) == (Outcome.SKIP, "filtered")
    assert verdict.detail.startswith("[1]")


def test_a_mapping_that_reads_metadata_needs_them() -> None:
    team = {"source": "tag", "key": "team", "required": True}
    mapped = rules(mapping={"team": team})
    assert mapped.judge(asset()).outcome is Outcome.NEEDS_METADATA
    assert mapped.judge(asset(metadata={"tags": {"team": "a"}})).outcome is Outcome.MATCH
    assert mapped.judge(asset(metadata={"tags": {}})).reason == "required_mapping"
    assert mapped.described_fields == {"tags"}


def test_a_type_that_neither_source_nor_name_tells_is_asked_for() -> None:
    unknown = asset("README")
    assert rules().judge(unknown).outcome is Outcome.NEEDS_METADATA
    assert rules(mimeTypes=["text/*"]).judge(unknown).outcome is Outcome.NEEDS_METADATA
    told = unknown._replace(mime_type="text/plain", complete=True)
    assert rules(mimeTypes=["text/*"]).judge(told).outcome is Outcome.MATCH
    untold = unknown._replace(complete=True)
    assert rules(mimeTypes=["text/*"]).judge(untold).reason == "mime_types"
    assert rules().judge(untold).reason == "schema_mismatch"
    assert rules(extensions=["md"]).judge(unknown).reason == "extensions"


def test_a_type_that_decides_nothing_is_not_asked_for() -> None:
    unknown = asset("README")
    assert rules(blob_type="binary").judge(unknown).outcome is Outcome.MATCH
    text = {"targetType": "blob", "source": "file", "mimeTypeOverride": "text/plain"}
    assert rules(mapping={"text": text}).judge(unknown).outcome is Outcome.MATCH


def test_fields_without_a_version_are_known_by_their_first_part() -> None:
    assert rules(unversioned="tags", **where("tags.team", "equals", "a")).reads_unversioned
    assert not rules(unversioned="tags", **where("metadata.tags", "equals", "a")).reads_unversioned
    tag = {"source": "tag", "key": "team"}
    assert rules(unversioned="tags", mapping={"team": tag}).reads_unversioned


def test_an_asset_that_does_not_fit_cannot_be_mapped() -> None:
    with pytest.raises(ValueError, match=r"a\.png.*schema_mismatch.*image/png"):
        rules().map(asset("a.png"))


FILTERS = st.fixed_dictionaries(
    {},
    optional={
        "minSize": st.integers(0, 150),
        "extensions": st.lists(st.sampled_from(["txt", "md", "png"]), max_size=2),
        "includePatterns": st.lists(st.sampled_from(["*", "*.txt", "a/**"]), max_size=2),
        "excludePatterns": st.lists(st.sampled_from(["*.md", "a/*"]), max_size=2),
        "mimeTypes": st.lists(st.sampled_from(["text/*", "image/png"]), max_size=2),
        "metadataFilters": st.lists(
            st.fixed_dictionaries(
                {
                    "field": st.sampled_from(["x", "y.z"]),
                    "operator": st.sampled_from(["equals", "not_equals", "contains"]),
                    "value": st.sampled_from(["a", 1, True]),
                }
            ),
            max_size=2,
        ),
    },
)
METADATA = st.fixed_dictionaries(
    {},
    optional={
        "x": st.sampled_from(["a", 1, True, None]),
        "y": st.sampled_from([{"z": "a"}, {}, 1]),
    },
)


@given(FILTERS, METADATA, st.sampled_from(["a/b.txt", "b.md", "c.png", "README"]), st.data())
def test_a_listing_that_tells_a_part_never_decides_otherwise_than_the_whole(
    filters: dict[str, Any], metadata: dict[str, Any], path: str, data: st.DataObject
) -> None:
    selected = rules(**filters)
    whole = selected.judge(asset(path, metadata=metadata, complete=True, mime_type="text/plain"))
    keys = data.draw(st.sets(st.sampled_from(sorted(metadata)))) if metadata else set()
    listed = {key: metadata[key] for key in keys}
    part = selected.judge(asset(path, metadata=listed, mime_type="text/plain"))
    assert whole.outcome is not Outcome.NEEDS_METADATA
    assert part.outcome in (whole.outcome, Outcome.NEEDS_METADATA)

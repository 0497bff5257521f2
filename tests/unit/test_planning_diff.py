"""What becomes of an asset and its object: an outcome for every case."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from telecine.api.bucket import BucketSpec
from telecine.api.sync import SyncSpec
from telecine.planning.diff import decide, plan
from telecine.planning.filters import Rules
from telecine.planning.types import Action, Asset, Decision, ObjectRecord, ObjectState, Recipe

ID = UUID(int=7)
NOW = 1000.0
RECIPE = Recipe("text_extractor", "v1", {}, "0")
SHELF = {"field": "shelf", "operator": "equals", "value": "a"}
FILTERED = {"fileFilters": {"metadataFilters": [SHELF]}}
BY_TAG = {
    "fileFilters": {"metadataFilters": [{"field": "tags.team", "operator": "equals", "value": "a"}]}
}


def rules(recipes: tuple[Recipe, ...] = (RECIPE,), **sync: Any) -> Rules:
    given = {"bucketRef": {"name": "books"}, "connectionRef": {"name": "disk"}, **sync}
    bucket = {"namespaceRef": {"name": "library"}, "blobType": "text"}
    return Rules.build(
        SyncSpec.model_validate(given),
        "mine",
        BucketSpec.model_validate(bucket),
        connection="disk",
        recipes=recipes,
        unversioned=frozenset({"tags"}),
        now=NOW,
    )


ASSET = Asset("a.txt", "a.txt", 5, 1.0, "f1", "v1", None, {"key": "a.txt"})
RECORD = ObjectRecord(
    id=ID,
    kube_namespace="k",
    bucket="books",
    connection="disk",
    asset_id="a.txt",
    path="a.txt",
    size=5,
    modified=1.0,
    fingerprint="f1",
    version="v1",
    mime_type="text/plain",
    source_metadata={"key": "a.txt", "shelf": "a"},
    blob_property="text",
    state=ObjectState.COMPLETED,
    recipes=[RECIPE.key],
    content_hash="ab",
    documents=3,
    syncs=["mine"],
)


def described(**metadata: Any) -> Asset:
    return ASSET._replace(metadata={"key": "a.txt", **metadata}, complete=True)


def outcome(
    asset: Asset | None, record: ObjectRecord | None, selected: Rules | None = None
) -> tuple[str, str, bool]:
    made = decide(asset, record, ID, selected or rules())
    assert made.object_id == ID
    assert made.record is record
    return made.action.value, str(made.reason), made.extract


FAILED = replace(RECORD, state=ObjectState.FAILED, reason="Unreadable", retry_at=NOW - 1)
DEAD = replace(FAILED, dead_letter=True, retry_at=0.0)
LATER = replace(FAILED, retry_at=NOW + 1)
PENDING = replace(RECORD, state=ObjectState.PENDING)
MOVED = ASSET._replace(version="v2")
REPLACED = ASSET._replace(version="v2", fingerprint="f2")
CHANGED = ("change", "content_changed", True)

MATCHING = {
    "new": (ASSET, None, ("add", "new", True)),
    "unchanged": (ASSET, RECORD, ("keep", "unchanged", False)),
    "another content": (REPLACED, RECORD, CHANGED),
    "another content of one version": (ASSET._replace(fingerprint="f2"), RECORD, CHANGED),
    "a recipe more": (ASSET, replace(RECORD, recipes=[]), ("change", "recipe_changed", True)),
    "a recipe less": (ASSET, replace(RECORD, recipes=[RECIPE.key, "o"]), ("keep", "unchanged", 0)),
    "moved, listing tells a part": (MOVED, RECORD, ("describe", "", False)),
    "moved, described": (
        described(shelf="a")._replace(version="v2"),
        RECORD,
        ("change", "metadata_changed", False),
    ),
    "other metadata": (described(shelf="b"), RECORD, ("change", "metadata_changed", False)),
    "metadata gone": (described(), RECORD, ("change", "metadata_changed", False)),
    "same metadata": (described(shelf="a"), RECORD, ("keep", "unchanged", False)),
    "listing tells otherwise": (
        ASSET._replace(metadata={"key": "a.txt", "class": "COLD"}),
        RECORD,
        ("change", "metadata_changed", False),
    ),
    "fields of an earlier mapping": (
        ASSET,
        replace(RECORD, fields={"x": 1}),
        ("change", "metadata_changed", False),
    ),
    "tags that nobody asked for": (
        described(shelf="a"),
        replace(RECORD, source_metadata={**RECORD.source_metadata, "tags": {}}),
        ("keep", "unchanged", False),
    ),
    "unfinished": (ASSET, PENDING, ("retry", "unfinished", True)),
    "unfinished and replaced": (REPLACED, PENDING, CHANGED),
    "failed, due": (ASSET, FAILED, ("retry", "retry_due", True)),
    "failed, due at this moment": (
        ASSET,
        replace(FAILED, retry_at=NOW),
        ("retry", "retry_due", True),
    ),
    "failed, not due": (ASSET, LATER, ("keep", "retry_later", False)),
    "failed, not due, replaced": (REPLACED, LATER, CHANGED),
    "failed, not due, moved": (MOVED, LATER, CHANGED),
    "dead": (ASSET, DEAD, ("dead", "dead_letter", False)),
    "dead, replaced": (REPLACED, DEAD, CHANGED),
    "dead, moved": (MOVED, DEAD, CHANGED),
}


@pytest.mark.parametrize(("asset", "record", "expected"), MATCHING.values(), ids=MATCHING.keys())
def test_an_asset_that_matches(
    asset: Asset, record: ObjectRecord | None, expected: tuple[str, str, bool]
) -> None:
    assert outcome(asset, record) == expected


ADOPTED = ("adopt", "selected_by_another_sync", False)
OTHERS = {
    "unchanged": (ASSET, RECORD, ADOPTED),
    "failed, not due": (ASSET, LATER, ADOPTED),
    "dead": (ASSET, DEAD, ADOPTED),
    "another content": (REPLACED, RECORD, CHANGED),
    "other metadata": (described(shelf="b"), RECORD, ("change", "metadata_changed", False)),
    "unfinished": (ASSET, PENDING, ("retry", "unfinished", True)),
    "failed, due": (ASSET, FAILED, ("retry", "retry_due", True)),
    "does not match": (ASSET._replace(path="a.png"), RECORD, ("skip", "schema_mismatch", False)),
    "unavailable": (ASSET._replace(unavailable="preparing"), RECORD, ("skip", "preparing", False)),
    "gone": (None, RECORD, ("skip", "gone", False)),
}


@pytest.mark.parametrize(("asset", "record", "expected"), OTHERS.values(), ids=OTHERS.keys())
def test_an_object_that_only_another_sync_selected(
    asset: Asset | None, record: ObjectRecord, expected: tuple[str, str, bool]
) -> None:
    if asset is not None and asset.path == "a.png":
        record = replace(record, mime_type="image/png")
    assert outcome(asset, replace(record, syncs=["theirs"])) == expected


@pytest.mark.parametrize("record", [RECORD, FAILED, DEAD, PENDING])
def test_an_asset_that_matches_no_longer_drifts_or_goes(record: ObjectRecord) -> None:
    other = described(shelf="b")
    drifted = decide(other, record, ID, rules(**FILTERED))
    assert (drifted.action, drifted.reason) == (Action.DRIFTED, "filtered")
    assert drifted.detail == "[0] shelf equals 'a', found 'b'"
    gone = decide(other, record, ID, rules(**FILTERED, reconcileOnSync=True))
    assert gone == drifted._replace(action=Action.UNINDEX)


@pytest.mark.parametrize("reconcile", [True, False])
def test_an_asset_that_is_unavailable_for_now_stays_indexed(reconcile: bool) -> None:
    for asset in (ASSET, REPLACED, described(shelf="b")):
        away = asset._replace(unavailable="preparing")
        selected = rules(**FILTERED, reconcileOnSync=reconcile)
        assert outcome(away, RECORD, selected) == ("keep", "preparing", False)
    assert outcome(ASSET._replace(unavailable="preparing"), None) == ("skip", "preparing", False)


def test_an_unchanged_asset_is_still_judged_when_there_are_no_filters() -> None:
    image = replace(RECORD, mime_type="image/png")
    assert outcome(ASSET, image) == ("drifted", "schema_mismatch", False)
    away = ASSET._replace(unavailable="preparing")
    assert outcome(away, RECORD) == ("keep", "preparing", False)
    small = rules(fileFilters={"minSize": 6})
    assert outcome(ASSET, RECORD, small) == ("drifted", "below_min_size", False)


def test_an_asset_that_is_gone_is_unindexed_unless_prune_is_off() -> None:
    assert outcome(None, RECORD) == ("unindex", "gone", False)
    assert outcome(None, RECORD, rules(prune=False)) == ("keep", "prune_off", False)


def test_without_asset_and_object_there_is_nothing_to_decide() -> None:
    with pytest.raises(ValueError, match="nothing to decide"):
        decide(None, None, ID, rules())


def test_a_new_asset_that_does_not_match_is_skipped_with_its_detail() -> None:
    made = decide(described(shelf="b"), None, ID, rules(**FILTERED))
    assert (made.action, made.reason) == (Action.SKIP, "filtered")
    assert made.detail
    assert outcome(ASSET, None, rules(**FILTERED)) == ("describe", "", False)


def test_the_ledgers_metadata_hold_while_the_version_does() -> None:
    assert outcome(ASSET, RECORD, rules(**FILTERED)) == ("keep", "unchanged", False)
    assert outcome(MOVED, RECORD, rules(**FILTERED)) == ("describe", "", False)
    told = ASSET._replace(metadata={"shelf": "b"})
    assert outcome(told, RECORD, rules(**FILTERED))[0] == "drifted"


@pytest.mark.parametrize("record", [PENDING, FAILED, DEAD])
def test_metadata_of_what_was_never_finished_are_asked_for(record: ObjectRecord) -> None:
    assert outcome(ASSET, record, rules(**FILTERED)) == ("describe", "", False)


def test_metadata_without_a_version_are_asked_for_each_time() -> None:
    known = replace(RECORD, source_metadata={"key": "a.txt", "tags": {"team": "a"}})
    assert outcome(ASSET, known, rules(**BY_TAG)) == ("describe", "", False)
    assert outcome(described(tags={"team": "a"}), known, rules(**BY_TAG))[0] == "keep"
    assert outcome(described(tags={"team": "b"}), known, rules(**BY_TAG))[0] == "drifted"


MAPPED = {
    "schemaMapping": {"shelf": {"source": "metadata", "key": "shelf", "required": True}},
}


def test_what_is_extracted_again_has_the_fields_that_the_ledger_knows() -> None:
    selected = rules((RECIPE, Recipe("other", "v1", {}, "0")), **MAPPED)
    made = decide(ASSET, RECORD, ID, selected)
    assert (made.action, made.reason) == (Action.CHANGE, "recipe_changed")
    assert made.asset is not None
    assert selected.map(made.asset).fields == {"shelf": "a"}


def test_a_mapping_that_changed_updates_fields_without_extracting_or_describing() -> None:
    assert outcome(ASSET, RECORD, rules(**MAPPED)) == ("change", "metadata_changed", False)
    done = replace(RECORD, fields={"shelf": "a"})
    assert outcome(ASSET, done, rules(**MAPPED)) == ("keep", "unchanged", False)


def test_a_type_that_only_describing_told_is_remembered() -> None:
    asset = ASSET._replace(path="README")
    record = replace(RECORD, path="README")
    assert outcome(asset, None) == ("describe", "", False)
    assert outcome(asset, record) == ("keep", "unchanged", False)
    typed = {"fileFilters": {"mimeTypes": ["text/plain"]}, "reconcileOnSync": True}
    assert outcome(asset, record, rules(**typed)) == ("keep", "unchanged", False)


def test_a_type_that_a_mapping_put_in_its_place_is_not_taken_for_the_sources() -> None:
    text = {"targetType": "blob", "source": "file", "mimeTypeOverride": "text/plain"}
    typed = {
        "fileFilters": {"mimeTypes": ["application/pdf"]},
        "schemaMapping": {"text": text},
        "reconcileOnSync": True,
    }
    asset = ASSET._replace(path="a.pdf")
    assert outcome(asset, RECORD, rules(**typed)) == ("keep", "unchanged", False)
    assert outcome(asset._replace(path="a"), RECORD, rules(**typed)) == ("describe", "", False)


def test_values_that_json_makes_alike_are_no_change() -> None:
    now = described(shelf="a", size=(1, 2), ratio=float("nan"))
    before = {"key": "a.txt", "shelf": "a", "size": [1, 2], "ratio": float("nan")}
    assert outcome(now, replace(RECORD, source_metadata=before))[0] == "keep"


def keyed(number: int) -> tuple[UUID, Asset]:
    return UUID(int=number), ASSET._replace(id=str(number))


def row(number: int, **changes: Any) -> ObjectRecord:
    return replace(RECORD, id=UUID(int=number), asset_id=str(number), **changes)


def made_of(listed: list[int], indexed: list[ObjectRecord]) -> list[Decision]:
    return list(plan(map(keyed, listed), indexed, rules()))


def test_two_sorted_streams_are_merged_into_one_sorted_plan() -> None:
    decisions = made_of([1, 3, 5], [row(2), row(3), row(6), row(9)])
    assert [(d.object_id.int, d.action.value) for d in decisions] == [
        (1, "add"),
        (2, "unindex"),
        (3, "keep"),
        (5, "add"),
        (6, "unindex"),
        (9, "unindex"),
    ]


def test_objects_of_other_syncs_and_connections_that_are_not_listed_are_left_alone() -> None:
    assert made_of([], [row(1, syncs=["theirs"]), row(2, connection="other")]) == []
    (made,) = made_of([2], [row(2, connection="other")])
    assert made.action is Action.ADD


def test_a_plan_begins_before_its_streams_have_ended() -> None:
    def endless() -> Any:
        number = 0
        while True:
            number += 1
            yield keyed(number)

    assert next(plan(endless(), iter([row(5)]), rules())).object_id.int == 1


@pytest.mark.parametrize("listed", [[2, 1], [1, 1], [1, 3, 2]])
def test_a_listing_that_is_not_sorted_is_refused(listed: list[int]) -> None:
    with pytest.raises(ValueError, match="listing is not sorted"):
        made_of(listed, [])


@pytest.mark.parametrize("indexed", [[2, 1], [1, 1], [1, 3, 2]])
@pytest.mark.parametrize("listed", [[], [1, 2, 3]])
def test_a_ledger_that_is_not_sorted_is_refused(indexed: list[int], listed: list[int]) -> None:
    with pytest.raises(ValueError, match="ledger is not sorted"):
        made_of(listed, [row(number) for number in indexed])

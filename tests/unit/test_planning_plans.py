"""Plans over any ledger, listing and filters: complete, and at rest once they are applied."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from telecine.api.bucket import BucketSpec
from telecine.api.sync import SyncSpec
from telecine.planning import diff
from telecine.planning.diff import decide, plan
from telecine.planning.filters import Rules
from telecine.planning.identity import ids_for
from telecine.planning.mimes import known_mime
from telecine.planning.types import Action, Asset, Decision, ObjectRecord, ObjectState, Recipe

NOW = 1000.0
WANTED = Recipe("text_extractor", "v1", {}, "0").key
IDENTIFY = ids_for("k", "books", "disk")
NAMES = [f"{n}.{ending}" for n in range(5) for ending in ("txt", "md", "png", "json")] + ["README"]
Ledger = dict[UUID, ObjectRecord]

METADATA = st.fixed_dictionaries(
    {"key": st.just("k")},
    optional={
        "shelf": st.sampled_from(["a", "b"]),
        "tags": st.sampled_from([{"team": "a"}, {"team": "b"}, {}]),
        "n": st.integers(0, 2),
    },
)

TYPES = st.sampled_from(["text/plain", "image/png"])


@st.composite
def sources(draw: st.DrawFn) -> dict[str, Asset]:
    """Assets as describing tells them, by their id."""
    made = {}
    for name in draw(st.lists(st.sampled_from(NAMES), unique=True)):
        made[name] = Asset(
            name,
            draw(st.sampled_from([name, f"folder/{name}"])),
            draw(st.integers(-1, 3)),
            draw(st.sampled_from([0.0, 1.0, 9e8])),
            draw(st.sampled_from(["f1", "f2"])),
            draw(st.sampled_from(["v1", "v2"])),
            # A name that lies about its type is judged by the name until it is described.
            draw(st.sampled_from([None, known_mime(name) or draw(TYPES)])),
            draw(METADATA),
            True,
            draw(st.sampled_from([None, None, None, "preparing"])),
        )
    return made


@st.composite
def records(draw: st.DrawFn, source: dict[str, Asset]) -> Ledger:
    """A ledger that once was in step with the source, or with an earlier one."""
    ledger: Ledger = {}
    for name in draw(st.lists(st.sampled_from(NAMES), unique=True)):
        asset = source.get(name) or Asset(name, name, 1, 1.0, "f1", "v1", None, {}, True)
        metadata = dict(asset.metadata or {})
        if draw(st.booleans()):  # another version: everything may have been otherwise
            metadata = draw(METADATA)
            asset = asset._replace(version="v0", fingerprint=draw(st.sampled_from(["f0", "f1"])))
        else:
            metadata["tags"] = draw(st.sampled_from([{"team": "a"}, {}]))
        connection = draw(st.sampled_from(["disk", "disk", "disk", "other"]))
        ident = ids_for("k", "books", connection)(name)
        ledger[ident] = ObjectRecord(
            id=ident,
            kube_namespace="k",
            bucket="books",
            connection=connection,
            asset_id=name,
            path=asset.path,
            size=asset.size,
            modified=asset.modified,
            fingerprint=asset.fingerprint,
            version=asset.version,
            mime_type=asset.mime_type or known_mime(name) or "text/plain",
            source_metadata=metadata,
            fields=draw(st.sampled_from([{}, {"team": "a"}])),
            blob_property="text",
            state=draw(st.sampled_from(OBJECT_STATES)),
            recipes=draw(st.sampled_from([[], [WANTED], [WANTED, "old"]])),
            dead_letter=draw(st.booleans()),
            retry_at=draw(st.sampled_from([0.0, NOW - 1, NOW + 1])),
            syncs=draw(st.sampled_from([["mine"], ["mine", "theirs"], ["theirs"], []])),
        )
    return ledger


def condition(field: str) -> st.SearchStrategy[dict[str, Any]]:
    operators = st.sampled_from(["equals", "not_equals", "contains"])
    return st.builds(
        lambda o, v: {"field": field, "operator": o, "value": v},
        operators,
        st.sampled_from(["a", "b"]),
    )


FILTERS = st.fixed_dictionaries(
    {},
    optional={
        "minSize": st.integers(0, 2),
        "includePatterns": st.just(["*.txt", "*.md", "README"]),
        "excludePatterns": st.just(["folder/*"]),
        "mimeTypes": st.sampled_from([["text/*"], ["text/*", "image/png"]]),
        "metadataFilters": st.lists(condition("shelf") | condition("tags.team"), max_size=2),
    },
)
TEAM = {"team": {"source": "tag", "key": "team"}}
TEXT = {"text": {"targetType": "blob", "source": "file", "mimeTypeOverride": "text/plain"}}
SYNCS = st.fixed_dictionaries(
    {"reconcileOnSync": st.booleans(), "prune": st.booleans(), "fileFilters": FILTERS},
    optional={"schemaMapping": st.sampled_from([TEAM, TEXT, {**TEAM, **TEXT}])},
)


def build(sync: dict[str, Any]) -> Rules:
    given_ = {"bucketRef": {"name": "books"}, "connectionRef": {"name": "disk"}, **sync}
    bucket = {"namespaceRef": {"name": "library"}, "blobType": "text"}
    return Rules.build(
        SyncSpec.model_validate(given_),
        "mine",
        BucketSpec.model_validate(bucket),
        connection="disk",
        recipes=[Recipe("text_extractor", "v1", {}, "0")],
        unversioned=frozenset({"tags"}),
        now=NOW,
    )


def listing(source: dict[str, Asset], complete: bool) -> list[tuple[UUID, Asset]]:
    """As a provider lists: all there is, or what comes without a call of its own."""
    told = (
        a if complete else a._replace(mime_type=None, metadata={"key": "k"}, complete=False)
        for a in source.values()
    )
    return sorted(((IDENTIFY(a.id), a) for a in told), key=lambda pair: pair[0].int)


def planned(
    source: dict[str, Asset], complete: bool, ledger: Ledger, rules: Rules
) -> Iterator[Decision]:
    rows = sorted(ledger.values(), key=lambda row: row.id.int)
    for made in plan(listing(source, complete), rows, rules):
        if made.action is Action.DESCRIBE:
            assert made.asset is not None
            assert not made.asset.complete
            yield decide(source[made.asset.id], made.record, made.object_id, rules)
        else:
            yield made


def applied(
    decisions: list[Decision],
    ledger: Ledger,
    source: dict[str, Asset],
    failing: set[str],
    rules: Rules,
) -> Ledger:
    """What the workers make of a plan; extraction describes, and fails for some."""
    after = dict(ledger)
    for made in decisions:
        record, asset = made.record, made.asset
        if made.action is Action.UNINDEX:
            assert record is not None
            others = [name for name in record.syncs if name != "mine"]
            del after[record.id]
            if others:
                after[record.id] = replace(record, syncs=others)
        elif made.action in (Action.ADOPT, Action.ADD, Action.CHANGE, Action.RETRY):
            assert asset is not None
            after[made.object_id] = written(made, asset, source, asset.id in failing, rules)
    return after


def written(
    made: Decision, asset: Asset, source: dict[str, Asset], fails: bool, rules: Rules
) -> ObjectRecord:
    syncs = sorted({*(made.record.syncs if made.record else ()), "mine"})
    if made.action is Action.ADOPT:
        assert made.record is not None
        return replace(made.record, syncs=syncs)
    mapped = rules.map(asset)
    common = {
        "version": asset.version,
        "modified": asset.modified,
        "mime_type": mapped.mime_type,
        "fields": mapped.fields,
        "syncs": syncs,
    }
    if not made.extract:
        assert made.record is not None
        assert asset.complete
        return replace(made.record, source_metadata=dict(asset.metadata or {}), **common)
    state = ObjectState.FAILED if fails else ObjectState.COMPLETED
    learned = {} if fails else dict(source[asset.id].metadata or {})
    return ObjectRecord(
        id=made.object_id,
        kube_namespace="k",
        bucket="books",
        connection="disk",
        asset_id=asset.id,
        path=asset.path,
        size=asset.size,
        fingerprint=asset.fingerprint,
        source_metadata={**(asset.metadata or {}), **learned},
        blob_property=mapped.blob_property,
        state=state,
        recipes=[] if fails else [WANTED],
        retry_at=NOW + 60 if fails else 0.0,
        **common,  # type: ignore[arg-type]
    )


OBJECT_STATES = [s for s in ObjectState if s is not ObjectState.DELETED]
AT_REST = {Action.KEEP, Action.SKIP, Action.DRIFTED, Action.DEAD}


@given(st.data(), sources(), SYNCS, st.booleans())
def test_every_asset_and_every_object_of_the_sync_has_exactly_one_decision(
    data: st.DataObject, source: dict[str, Asset], sync: dict[str, Any], complete: bool
) -> None:
    ledger = data.draw(records(source))
    decisions = list(planned(source, complete, ledger, build(sync)))
    ours = {r.id for r in ledger.values() if r.connection == "disk" and "mine" in r.syncs}
    expected = Counter({IDENTIFY(name) for name in source} | ours)
    assert Counter(d.object_id for d in decisions) == expected
    assert all(d.action is not Action.DESCRIBE for d in decisions)
    for made in decisions:
        assert made.record is ledger.get(made.object_id)
        assert made.extract == (
            made.action in (Action.ADD, Action.RETRY)
            or (made.action is Action.CHANGE and made.reason != "metadata_changed")
        )


@given(st.data(), sources(), SYNCS, st.booleans(), st.sets(st.sampled_from(NAMES), max_size=3))
def test_a_plan_that_was_applied_leaves_nothing_to_do(
    data: st.DataObject,
    source: dict[str, Asset],
    sync: dict[str, Any],
    complete: bool,
    failing: set[str],
) -> None:
    rules = build(sync)
    ledger = data.draw(records(source))
    first = list(planned(source, complete, ledger, rules))
    after = applied(first, ledger, source, failing, rules)
    again = list(planned(source, complete, after, rules))
    assert [d for d in again if d.action not in AT_REST] == []
    selected = {d.object_id for d in first if d.action in (Action.ADD, Action.CHANGE)}
    assert selected <= {d.object_id for d in again if d.action is Action.KEEP}


@given(st.data(), sources(), SYNCS, st.booleans())
def test_the_short_way_for_unchanged_pairs_decides_as_the_long_one(
    data: st.DataObject, source: dict[str, Asset], sync: dict[str, Any], complete: bool
) -> None:
    rules, ledger = build(sync), data.draw(records(source))
    short = list(planned(source, complete, ledger, rules))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(diff, "_plainly_unchanged", lambda *_: False)
        long = list(planned(source, complete, ledger, rules))
    assert [(d.action, d.reason, d.extract) for d in short] == [
        (d.action, d.reason, d.extract) for d in long
    ]

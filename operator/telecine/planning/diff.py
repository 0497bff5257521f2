"""The diff of a run: a pure function with an outcome for every case."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any
from uuid import UUID

from telecine.planning.filters import Outcome, Rules, Verdict
from telecine.planning.types import Action, Asset, Decision, ObjectRecord, ObjectState, Reason

# Looked up once: an enum's members are slow to reach, and most pairs of most runs need these.
_COMPLETED, _KEEP, _UNCHANGED = ObjectState.COMPLETED, Action.KEEP, Reason.UNCHANGED


def plan(
    listed: Iterable[tuple[UUID, Asset]], indexed: Iterable[ObjectRecord], rules: Rules
) -> Iterator[Decision]:
    """Merges two streams sorted by object id into decisions, holding one of each in memory.

    Raises:
        ValueError: a stream is not sorted, or names an id twice.
    """
    records = _ours(indexed, rules.connection)
    record = next(records, None)
    last = -1
    for key, asset in listed:
        number = key.int
        if number <= last:
            raise ValueError(f"the listing is not sorted by object id at {asset.id!r}")
        last = number
        while record is not None and record.id.int < number:
            yield from _gone(record, rules)
            record = next(records, None)
        if record is not None and record.id.int == number:
            yield decide(asset, record, key, rules)
            record = next(records, None)
        else:
            yield decide(asset, None, key, rules)
    while record is not None:
        yield from _gone(record, rules)
        record = next(records, None)


def _ours(indexed: Iterable[ObjectRecord], connection: str) -> Iterator[ObjectRecord]:
    """The records of this Connection; those of others are none of this Sync's business."""
    last = -1
    for record in indexed:
        if record.id.int <= last:
            raise ValueError(f"the ledger is not sorted by object id at {record.asset_id!r}")
        last = record.id.int
        if record.connection == connection:
            yield record


def _gone(record: ObjectRecord, rules: Rules) -> Iterator[Decision]:
    if rules.sync_name in record.syncs:
        yield decide(None, record, record.id, rules)


def decide(
    asset: Asset | None, record: ObjectRecord | None, object_id: UUID, rules: Rules
) -> Decision:
    """What becomes of one asset and its object.

    The decision's asset knows what the ledger knew of it, where that still holds. DESCRIBE asks
    for the asset to be described and decided again.

    Raises:
        ValueError: neither is given.
    """
    if asset is None:
        if record is None:
            raise ValueError("there is nothing to decide about")
        return _absent(record, object_id, rules)
    if record is None:
        return _new(asset, object_id, rules)
    if rules.is_plain and _plainly_unchanged(asset, record, rules):
        return Decision(_KEEP, _UNCHANGED, object_id, asset, record)
    if record.version == asset.version and not asset.complete:
        asset = _with_the_ledger(asset, record, rules)
    linked = rules.sync_name in record.syncs
    verdict = rules.judge(asset)
    if verdict.outcome is Outcome.MATCH:
        return _selected(asset, record, object_id, rules, linked)
    if verdict.outcome is Outcome.NEEDS_METADATA:
        return Decision(Action.DESCRIBE, "", object_id, asset, record)
    return _no_longer(asset, record, object_id, rules, verdict, linked)


def _plainly_unchanged(asset: Asset, record: ObjectRecord, rules: Rules) -> bool:
    """A short way for most pairs of most runs, where the long one would say the same."""
    told, before = asset.metadata or {}, record.source_metadata
    return (
        asset.version == record.version
        and asset.fingerprint == record.fingerprint
        and record.state is _COMPLETED
        and not record.fields
        and rules.sync_name in record.syncs
        and rules.recipes.issubset(record.recipes)
        and (told == before if asset.complete else told.items() <= before.items())
        and rules.plainly_selects(asset, None if asset.complete else record.mime_type)
    )


def _absent(record: ObjectRecord, object_id: UUID, rules: Rules) -> Decision:
    """An object whose asset the listing does not have."""
    if rules.sync_name not in record.syncs:
        return Decision(Action.SKIP, Reason.GONE, object_id, None, record)
    if rules.prune:
        return Decision(Action.UNINDEX, Reason.GONE, object_id, None, record)
    return Decision(Action.KEEP, Reason.PRUNE_OFF, object_id, None, record)


def _new(asset: Asset, object_id: UUID, rules: Rules) -> Decision:
    verdict = rules.judge(asset)
    if verdict.outcome is Outcome.MATCH:
        return Decision(Action.ADD, Reason.NEW, object_id, asset, None, extract=True)
    if verdict.outcome is Outcome.NEEDS_METADATA:
        return Decision(Action.DESCRIBE, "", object_id, asset, None)
    return Decision(Action.SKIP, verdict.reason, object_id, asset, None, detail=verdict.detail)


def _with_the_ledger(asset: Asset, record: ObjectRecord, rules: Rules) -> Asset:
    """The asset with what an earlier extraction learned of this very version.

    Only of COMPLETED objects: others may have been planned from a listing that told less. What
    the listing tells now stands over it. Metadata that have no version must be asked for anew,
    and so must the type where a mapping put another in its place.
    """
    if record.state is not _COMPLETED or record.fingerprint != asset.fingerprint:
        return asset
    if rules.mime_types and rules.mapper.overrides_type:
        return asset
    mime_type = asset.mime_type or record.mime_type
    if rules.reads_unversioned:
        return asset._replace(mime_type=mime_type)
    metadata: Any = record.source_metadata
    if asset.metadata and not asset.metadata.items() <= metadata.items():
        metadata = {**metadata, **asset.metadata}
    return asset._replace(mime_type=mime_type, metadata=metadata, complete=True)


def _no_longer(
    asset: Asset,
    record: ObjectRecord,
    object_id: UUID,
    rules: Rules,
    verdict: Verdict,
    linked: bool,
) -> Decision:
    """An asset that is in the ledger and does not match (any more)."""
    if not linked:
        return Decision(
            Action.SKIP, verdict.reason, object_id, asset, record, detail=verdict.detail
        )
    if asset.unavailable is not None:
        # A passing state of the source (`preparing`) is no reason to lose what is indexed.
        return Decision(Action.KEEP, verdict.reason, object_id, asset, record)
    action = Action.UNINDEX if rules.reconcile else Action.DRIFTED
    return Decision(action, verdict.reason, object_id, asset, record, detail=verdict.detail)


def _selected(
    asset: Asset, record: ObjectRecord, object_id: UUID, rules: Rules, linked: bool
) -> Decision:
    """An asset that matches and has an object already."""

    def change(reason: Reason, extract: bool) -> Decision:
        return Decision(Action.CHANGE, reason, object_id, asset, record, extract)

    if record.fingerprint != asset.fingerprint:
        return change(Reason.CONTENT_CHANGED, True)
    moved = record.version != asset.version
    if record.state is _COMPLETED:
        if not rules.recipes.issubset(record.recipes):
            return change(Reason.RECIPE_CHANGED, True)
        if moved and not asset.complete:
            return Decision(Action.DESCRIBE, "", object_id, asset, record)
        if moved or _metadata_differs(asset, record, rules):
            return change(Reason.METADATA_CHANGED, False)
        if not linked:
            return Decision(Action.ADOPT, Reason.SELECTED_BY_ANOTHER_SYNC, object_id, asset, record)
        return Decision(Action.KEEP, Reason.UNCHANGED, object_id, asset, record)
    if record.state is ObjectState.PENDING:
        return Decision(Action.RETRY, Reason.UNFINISHED, object_id, asset, record, True)
    if moved:
        return change(Reason.CONTENT_CHANGED, True)
    if not linked and (record.dead_letter or record.retry_at > rules.now):
        return Decision(Action.ADOPT, Reason.SELECTED_BY_ANOTHER_SYNC, object_id, asset, record)
    if record.dead_letter:
        return Decision(
            Action.DEAD, Reason.DEAD_LETTER, object_id, asset, record, detail=record.reason
        )
    if record.retry_at > rules.now:
        return Decision(Action.KEEP, Reason.RETRY_LATER, object_id, asset, record)
    return Decision(Action.RETRY, Reason.RETRY_DUE, object_id, asset, record, True)


def _metadata_differs(asset: Asset, record: ObjectRecord, rules: Rules) -> bool:
    """Whether fully known metadata, or the fields made from it, are not what the ledger has.

    A field without a version that nobody asked for this time (S3's tags) may be absent.
    """
    if not asset.complete:
        return False
    now, before = asset.metadata or {}, record.source_metadata
    if now is not before and now != before:
        not_asked = rules.unversioned - now.keys()
        if not _same(now, {k: v for k, v in before.items() if k not in not_asked}):
            return True
    if not rules.mapper.has_fields:
        return bool(record.fields)
    return not _same(rules.map(asset).fields, record.fields)


def _same(left: Any, right: Any) -> bool:
    """Whether two values are one once they have been through the ledger's JSON."""
    if left == right:
        return True
    return json.dumps(left, sort_keys=True, default=str) == json.dumps(
        right, sort_keys=True, default=str
    )

"""Counts of a plan, its digest, the limit of a run and the fuse."""

from __future__ import annotations

from dataclasses import fields
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from telecine.api.sync import PlanSummary
from telecine.planning.summary import Tally, fuse_trips, limit
from telecine.planning.types import Action, Asset, Decision, ObjectRecord, Reason

ASSET = Asset("a", "a", 10, 1.0, "f", "v")
RECORD = ObjectRecord(
    **{f.name: None for f in fields(ObjectRecord)}  # type: ignore[arg-type]
)
EXTRACTING = (Action.ADD, Action.CHANGE, Action.RETRY)


def decision(
    action: Action,
    number: int = 0,
    *,
    reason: str = "r",
    size: int | None = 10,
    extract: bool = False,
) -> Decision:
    asset = None if size is None else ASSET._replace(size=size)
    return Decision(action, reason, UUID(int=number), asset, RECORD, extract)


def summed(*decisions: Decision) -> PlanSummary:
    tally = Tally()
    for made in decisions:
        tally.add(made)
    return tally.summary()


def test_nothing_planned_is_all_zeros_without_a_digest() -> None:
    assert summed() == PlanSummary()


def test_every_action_is_counted_under_its_name() -> None:
    decided = [action for action in Action if action is not Action.DESCRIBE]
    for times, action in enumerate(decided, 1):
        dumped = summed(*[decision(action, n) for n in range(times)]).model_dump()
        counts = {name: dumped[name] for name in (a.value for a in decided)}
        assert counts == {a.value: times if a is action else 0 for a in decided}
        assert dumped["listed"] == times


def test_skipped_assets_are_counted_by_reason() -> None:
    reasons = ["min_size", "preparing", "min_size"]
    summary = summed(*[decision(Action.SKIP, reason=reason) for reason in reasons])
    assert (summary.skip, summary.skipped) == (3, {"min_size": 2, "preparing": 1})


def test_bytes_to_add_and_to_change_are_summed_and_unknown_sizes_count_nothing() -> None:
    summary = summed(
        decision(Action.ADD, size=5),
        decision(Action.ADD, size=-1),
        decision(Action.CHANGE, size=7, extract=True),
        decision(Action.KEEP, size=100),
    )
    assert (summary.add_bytes, summary.change_bytes) == (5, 7)


def test_matched_are_the_listed_ones_that_the_filters_take() -> None:
    summary = summed(
        decision(Action.ADD),
        decision(Action.KEEP),
        decision(Action.DEFERRED),
        decision(Action.SKIP),
        decision(Action.DRIFTED),
        decision(Action.UNINDEX),
        decision(Action.UNINDEX, reason=Reason.GONE, size=None),
        decision(Action.KEEP, reason=Reason.PRUNE_OFF, size=None),
    )
    assert (summary.listed, summary.matched) == (6, 3)


@given(st.sets(st.integers(0, 2**128 - 1), min_size=1, max_size=8), st.randoms())
def test_the_digest_does_not_depend_on_the_order(numbers: set[int], random: object) -> None:
    one = [decision(Action.UNINDEX, n) for n in numbers]
    other = list(one)
    random.shuffle(other)  # type: ignore[attr-defined]
    digest = summed(*one).digest
    assert digest is not None
    assert len(digest) == 16
    assert summed(*other, decision(Action.KEEP, 3)).digest == digest


SETS = st.sets(st.integers(0, 5))


@given(SETS, SETS)
def test_plans_that_unindex_different_objects_have_different_digests(
    one: set[int], other: set[int]
) -> None:
    digests = [summed(*[decision(Action.UNINDEX, n) for n in s]).digest for s in (one, other)]
    assert (digests[0] == digests[1]) == (one == other)
    assert (digests[0] is None) == (not one)


FUSE = [
    (0, 0, 0, False),
    (0, 10, 0, False),
    (1, 1000, 0, True),
    (5, 10, 50, False),
    (6, 10, 50, True),
    (1, 3, 33, True),
    (1, 3, 34, False),
    (10, 10, 99, True),
    (10, 10, 100, False),
    (99, 10, 100, False),
    (1, 0, 50, True),
]


@pytest.mark.parametrize(("unindex", "linked", "percent", "trips"), FUSE)
def test_the_fuse_trips_beyond_its_share(
    unindex: int, linked: int, percent: int, trips: bool
) -> None:
    assert fuse_trips(PlanSummary(unindex=unindex), linked, percent) is trips


def test_extractions_beyond_the_limit_are_deferred_and_nothing_else_is() -> None:
    plan = [
        decision(Action.KEEP, 1),
        decision(Action.ADD, 2, extract=True),
        decision(Action.CHANGE, 3),
        decision(Action.RETRY, 4, extract=True),
        decision(Action.UNINDEX, 5),
        decision(Action.CHANGE, 6, extract=True),
        decision(Action.CHANGE, 7),
    ]
    made = list(limit(plan, 1))
    assert [d.object_id for d in made] == [d.object_id for d in plan]
    assert [d.action.value for d in made] == [
        *("keep", "add", "change", "deferred", "unindex", "deferred", "change"),
    ]
    assert all(d.reason == "max_objects_per_run" for d in made if d.action is Action.DEFERRED)
    assert not any(d.extract for d in made if d.action is Action.DEFERRED)


@given(st.lists(st.tuples(st.sampled_from(EXTRACTING), st.booleans())), st.integers(0, 5))
def test_a_limited_plan_extracts_as_much_as_it_may(
    actions: list[tuple[Action, bool]], maximum: int
) -> None:
    plan = [decision(a, n, extract=extract) for n, (a, extract) in enumerate(actions)]
    made = list(limit(plan, maximum))
    assert sum(d.extract for d in made) == min(maximum, sum(d.extract for d in plan))
    assert len(made) == len(plan)

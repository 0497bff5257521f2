"""From outcomes and errors to a status, and when nothing is written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from telecine.api.base import Phase
from telecine.controllers.result import (
    Outcome,
    StalledError,
    WaitingError,
    from_error,
    unchanged,
)
from telecine.controllers.status import desired, reduced, transition
from telecine.execution.resolve import MissingReferenceError
from telecine.index.client import IndexUnavailableError

NOW = datetime(2026, 5, 1, 12, 0, 0, tzinfo=UTC)
LATER = NOW + timedelta(minutes=5)
GOOD = Outcome(Phase.ACTIVE, "Available", "it works")


def body(status: dict[str, Any] | None = None, **metadata: Any) -> dict[str, Any]:
    return {"metadata": {"name": "it", "generation": 3, **metadata}, "status": status or {}}


def after(*outcomes: Outcome, now: datetime = NOW) -> dict[str, Any]:
    """The status after several outcomes, as the API server would have it."""
    status: dict[str, Any] = {}
    for outcome in outcomes:
        status = merged(status, desired(body(status), outcome, now))
        now += timedelta(minutes=5)
    return status


def merged(base: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """RFC 7386."""
    result = dict(base)
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, dict):
            result[name] = merged(result.get(name) or {}, value)
        else:
            result[name] = value
    return result


def types(status: dict[str, Any]) -> dict[str, str]:
    return {c["type"]: c["status"] for c in status["conditions"]}


def condition(status: dict[str, Any], name: str) -> dict[str, Any]:
    return next(c for c in status["conditions"] if c["type"] == name)


def test_a_ready_resource_has_one_condition() -> None:
    status = after(GOOD)
    assert types(status) == {"Ready": "True"}
    assert (status["phase"], status["observedGeneration"]) == ("ACTIVE", 3)
    assert condition(status, "Ready") == {
        "type": "Ready", "status": "True", "reason": "Available", "message": "it works",
        "lastTransitionTime": "2026-05-01T12:00:00Z", "observedGeneration": 3,
    }  # fmt: skip


def test_reconciling_and_stalled_are_there_only_while_true() -> None:
    waiting = from_error(WaitingError("NamespaceNotReady", "waits"))
    stalled = from_error(StalledError("NotImplemented", "remove it"))
    assert types(after(waiting)) == {"Ready": "False", "Reconciling": "True"}
    assert types(after(waiting, stalled)) == {"Ready": "False", "Stalled": "True"}
    assert types(after(waiting, stalled, GOOD)) == {"Ready": "True"}


def test_the_transition_time_changes_only_when_the_status_does() -> None:
    other = Outcome(Phase.ACTIVE, "Available", "other words")
    assert condition(after(GOOD, other), "Ready")["lastTransitionTime"] == "2026-05-01T12:00:00Z"
    failed = from_error(StalledError("Bad", "no"))
    times = condition(after(GOOD, failed), "Ready")["lastTransitionTime"]
    assert times == "2026-05-01T12:05:00Z"


def test_nothing_is_written_when_nothing_changed() -> None:
    status = after(GOOD)
    again = desired(body(status), GOOD, LATER)
    assert reduced(status, again) == {}


def test_an_unchanged_look_keeps_phase_and_conditions() -> None:
    failed = from_error(StalledError("AccessDenied", "wrong key"))
    status = after(failed)
    assert reduced(status, desired(body(status), unchanged(), LATER)) == {}
    patch = reduced(status, desired(body(status, generation=4), unchanged(), LATER))
    assert patch["observedGeneration"] == 4


def test_ready_stays_as_it_is_while_something_is_on_its_way() -> None:
    progress = Outcome(Phase.IN_PROGRESS, "Progressing", "run 2", ready=None, reconciling=True)
    status = after(GOOD, progress)
    assert types(status) == {"Ready": "True", "Reconciling": "True"}
    assert condition(status, "Ready")["reason"] == "Available"
    assert condition(status, "Reconciling")["message"] == "run 2"
    assert types(after(progress))["Ready"] == "Unknown"


def test_an_unforeseen_error_says_nothing_that_could_be_a_secret() -> None:
    outcome = from_error(KeyError("hunter2"))
    assert outcome.reason == "ReconcileError"
    assert outcome.retry
    assert "hunter2" not in outcome.message


def test_an_index_out_of_reach_leaves_the_phase_and_backs_off() -> None:
    down = from_error(IndexUnavailableError("Weaviate at w failed: refused"))
    status = after(GOOD, down)
    assert (status["phase"], types(status)) == (
        "ACTIVE", {"Ready": "False", "Reconciling": "True"},
    )  # fmt: skip
    assert condition(status, "Ready")["reason"] == "IndexUnavailable"
    assert down.retry
    refused = from_error(IndexUnavailableError("Weaviate refuses the API key", permanent=True))
    assert types(after(refused)) == {"Ready": "False", "Stalled": "True"}


def test_a_missing_reference_is_waited_for() -> None:
    outcome = from_error(MissingReferenceError("Bucket", "books"))
    assert (outcome.phase, outcome.reason, outcome.requeue_after) == (
        Phase.PENDING, "ReferenceNotFound", None,
    )  # fmt: skip
    assert "Bucket books does not exist" in outcome.message


def test_a_request_is_acknowledged_once_it_was_looked_at() -> None:
    asked = body({}, annotations={"telecine.dev/requestedAt": "noon"})
    assert desired(asked, GOOD, NOW)["lastHandledReconcileAt"] == "noon"
    assert "lastHandledReconcileAt" not in desired(asked, GOOD, NOW, acknowledge=False)


@pytest.mark.parametrize(
    ("current", "patch", "left"),
    [
        ({"a": 1}, {"a": 1}, {}),
        ({"a": 1}, {"a": 2}, {"a": 2}),
        ({}, {"a": None}, {}),
        ({"a": 1}, {"a": None}, {"a": None}),
        ({"run": {"id": "1", "n": 1}}, {"run": {"n": 1}}, {}),
        ({"run": {"id": "1"}}, {"run": {"id": None}}, {"run": {"id": None}}),
        ({}, {"run": {}}, {"run": {}}),
        ({"l": [1]}, {"l": [1, 2]}, {"l": [1, 2]}),
    ],
)
def test_a_patch_is_reduced_to_what_it_changes(
    current: dict[str, Any], patch: dict[str, Any], left: dict[str, Any]
) -> None:
    assert reduced(current, patch) == left


def test_events_tell_of_transitions_only() -> None:
    status = after(GOOD)
    told = Outcome(Phase.ACTIVE, "Available", "5 more objects")
    assert transition(body(), after(GOOD), GOOD)
    assert not transition(body(status), after(GOOD, told), told)
    down = from_error(IndexUnavailableError("gone"))
    assert transition(body(status), after(GOOD, down), down)
    assert not transition(body(status), status, unchanged())


def test_a_long_message_is_cut() -> None:
    status = after(Outcome(Phase.ACTIVE, "Available", "x" * 5000))
    assert len(condition(status, "Ready")["message"]) == 1024

"""When runs are due."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from telecine.api.base import Phase
from telecine.api.sync import PlanSummary, RunStatus, SyncSpec, SyncStatus
from telecine.controllers.schedule import DELETE_LIMIT, JITTER, Due, due

NOW = datetime(2026, 1, 1, tzinfo=UTC)
EARLIER = NOW - timedelta(hours=1)


def spec(**changes: Any) -> SyncSpec:
    return SyncSpec.model_validate(
        {"bucketRef": {"name": "b"}, "connectionRef": {"name": "c"}, **changes}
    )


def ran(phase: Phase = Phase.COMPLETED, at: datetime = EARLIER, **changes: Any) -> SyncStatus:
    run = RunStatus(id="1", phase=phase, finished_at=at, **changes)
    success = at if phase is not Phase.FAILED else None
    return SyncStatus(
        run=run, last_sync_time=at, last_success_time=success, synced_inputs="same",
        consecutive_failures=1 if phase is Phase.FAILED else 0,
    )  # fmt: skip


def ask(sync: SyncSpec, status: SyncStatus, **changes: Any) -> Due:
    values: dict[str, Any] = {
        "inputs": "same", "requested_at": None, "approved": None, "now": NOW,
        "retry_base": 5.0, "retry_cap": 300.0,
    }  # fmt: skip
    return due("media/videos", sync, status, **(values | changes))


def test_a_sync_that_never_ran_is_due_now() -> None:
    assert ask(spec(), SyncStatus()) == Due(NOW, "initial")


def test_the_interval_counts_from_the_end_of_the_last_run_with_a_bounded_jitter() -> None:
    result = ask(spec(pollingIntervalSeconds=100), ran(at=NOW))
    assert result.trigger == "interval"
    assert result.at is not None
    assert 100 <= (result.at - NOW).total_seconds() <= 100 * (1 + JITTER)


def test_a_changed_spec_is_due_now() -> None:
    assert ask(spec(), ran(), inputs="other") == Due(NOW, "spec")


def test_a_request_is_due_once() -> None:
    assert ask(spec(), ran(), requested_at="t1") == Due(NOW, "requested")
    handled = ran().model_copy(update={"last_handled_reconcile_at": "t1"})
    assert ask(spec(), handled, requested_at="t1").trigger == "interval"


def test_initial_only_runs_until_it_succeeded_once() -> None:
    once = spec(syncMode="initial_only")
    assert ask(once, SyncStatus()).trigger == "initial"
    assert ask(once, ran(Phase.FAILED)).trigger == "retry"
    assert ask(once, ran()) == Due(None)
    assert ask(once, ran(), requested_at="t1").trigger == "requested"


def test_incremental_is_another_word_for_continuous() -> None:
    assert ask(spec(syncMode="incremental"), ran()) == ask(spec(), ran())


@pytest.mark.parametrize(("failures", "seconds"), [(1, 5), (2, 10), (5, 80), (50, 300)])
def test_failures_back_off_up_to_the_cap(failures: int, seconds: int) -> None:
    status = ran(Phase.FAILED, at=NOW).model_copy(update={"consecutive_failures": failures})
    assert ask(spec(), status) == Due(NOW + timedelta(seconds=seconds), "retry")


def test_a_permanent_failure_waits_for_a_change() -> None:
    failed = ran(Phase.FAILED, permanent=True, reason="Unauthorized")
    assert ask(spec(), failed) == Due(None)
    assert ask(spec(), failed, inputs="another Secret") == Due(NOW, "spec")


def test_a_tripped_fuse_keeps_its_interval_and_goes_on_when_its_digest_is_approved() -> None:
    tripped = ran(Phase.FAILED, reason=DELETE_LIMIT, plan=PlanSummary(digest="abc"))
    assert ask(spec(), tripped).trigger == "interval"
    assert ask(spec(), tripped, approved="other").trigger == "interval"
    assert ask(spec(), tripped, approved="abc") == Due(NOW, "approved")


def test_what_was_beyond_the_objects_per_run_goes_on_at_once() -> None:
    assert ask(spec(), ran(plan=PlanSummary(deferred=3))) == Due(NOW, "continued")

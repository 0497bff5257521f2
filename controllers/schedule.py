"""When a Sync's next run is due, and why. Pure: no cluster, no clock of its own."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from telecine.api.base import Phase
from telecine.api.sync import RunStatus, SyncMode, SyncSpec, SyncStatus

#: Runs of many Syncs with one interval are spread over this share of it.
JITTER = 0.1
DELETE_LIMIT = "DeleteLimitExceeded"


@dataclass(frozen=True)
class Due:
    """A run is due at `at`; None: not until something changes."""

    at: datetime | None
    trigger: str = ""


def jitter(key: str) -> float:
    """A fraction in [0, 1) that is the same for a key in every process."""
    digest = hashlib.sha256(key.encode()).digest()
    return int.from_bytes(digest[:4], "big") / 2**32


def backoff(failures: int, base: float, cap: float) -> timedelta:
    """Seconds to wait after so many failures in a row: doubling from `base` up to `cap`."""
    return timedelta(seconds=min(cap, base * 2 ** min(failures - 1, 16)))


def due(
    key: str,
    spec: SyncSpec,
    status: SyncStatus,
    *,
    inputs: str,
    requested_at: str | None,
    approved: str | None,
    now: datetime,
    retry_base: float,
    retry_cap: float,
) -> Due:
    """Decides from what is, so that an operator that was away decides the same.

    `inputs` is the digest of what the next run would be made from, `requested_at` and `approved`
    the annotations of the Sync.
    """
    if requested_at is not None and requested_at != status.last_handled_reconcile_at:
        return Due(now, "requested")
    last = status.run
    if last is None or status.last_sync_time is None:
        return Due(now, "initial")
    if status.synced_inputs != inputs:
        return Due(now, "spec")
    if approved is not None and last.reason == DELETE_LIMIT and approved == _digest(last):
        return Due(now, "approved")
    finished = last.finished_at or status.last_sync_time
    if last.phase is Phase.FAILED and last.reason != DELETE_LIMIT:
        if last.permanent:
            return Due(None)
        wait = backoff(max(status.consecutive_failures, 1), retry_base, retry_cap)
        return Due(finished + wait, "retry")
    if last.phase is not Phase.FAILED and last.plan is not None and last.plan.deferred:
        return Due(now, "continued")
    if spec.sync_mode is SyncMode.INITIAL_ONLY and status.last_success_time is not None:
        return Due(None)
    interval = spec.polling_interval_seconds * (1 + JITTER * jitter(key))
    return Due(finished + timedelta(seconds=interval), "interval")


def _digest(run: RunStatus) -> str | None:
    return run.plan.digest if run.plan else None

"""Counts of a plan, its digest, and the fuse."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator

from telecine.api.sync import PlanSummary
from telecine.planning.types import Action, Decision, Reason


class Tally:
    """Counts decisions as they pass by."""

    def __init__(self) -> None:
        self._actions: Counter[Action] = Counter()
        self._skipped: Counter[str] = Counter()
        self._listed = self._unselected = 0
        self._bytes: Counter[Action] = Counter()
        self._digest = 0

    def add(self, decision: Decision) -> None:
        action, asset = decision.action, decision.asset
        self._actions[action] += 1
        if asset is not None:
            self._listed += 1
            if action is Action.ADD or action is Action.CHANGE:
                self._bytes[action] += max(asset.size, 0)
        if action is Action.SKIP:
            self._skipped[decision.reason] += 1
        elif action is Action.UNINDEX:
            self._unselected += asset is not None
            # A sum of hashes does not depend on the order in which decisions are made.
            hashed = hashlib.sha256(decision.object_id.bytes).digest()
            self._digest = (self._digest + int.from_bytes(hashed, "big")) % 2**256

    def summary(self) -> PlanSummary:
        count = self._actions
        digest = None
        if count[Action.UNINDEX]:
            whole = f"{count[Action.UNINDEX]}:{self._digest:064x}".encode()
            digest = hashlib.sha256(whole).hexdigest()[:16]
        unmatched = count[Action.SKIP] + count[Action.DRIFTED]
        return PlanSummary(
            listed=self._listed,
            matched=max(self._listed - unmatched - self._unselected, 0),
            add=count[Action.ADD],
            change=count[Action.CHANGE],
            retry=count[Action.RETRY],
            keep=count[Action.KEEP],
            adopt=count[Action.ADOPT],
            unindex=count[Action.UNINDEX],
            drifted=count[Action.DRIFTED],
            deferred=count[Action.DEFERRED],
            dead=count[Action.DEAD],
            skip=count[Action.SKIP],
            skipped=dict(sorted(self._skipped.items())),
            add_bytes=self._bytes[Action.ADD],
            change_bytes=self._bytes[Action.CHANGE],
            digest=digest,
        )


def limit(decisions: Iterable[Decision], maximum: int) -> Iterator[Decision]:
    """Lets `maximum` extractions pass and defers the rest to the next run."""
    left = maximum
    for decision in decisions:
        if decision.extract:
            if left <= 0:
                yield decision._replace(action=Action.DEFERRED, reason=Reason.LIMIT, extract=False)
                continue
            left -= 1
        yield decision


def fuse_trips(summary: PlanSummary, linked: int, limit_percent: int) -> bool:
    """Whether more than `limit_percent` of the Sync's `linked` objects would be unindexed."""
    if limit_percent >= 100:
        return False
    return summary.unindex > 0 and summary.unindex * 100 > limit_percent * linked

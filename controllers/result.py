"""What a look at a resource ends with: an outcome, or one of three kinds of error."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from lightkube import ApiError
from telecine.api.base import Phase
from telecine.execution.executor import StepRefusedError
from telecine.execution.resolve import MissingReferenceError
from telecine.index.client import IndexSchemaError, IndexUnavailableError


class StalledError(Exception):
    """Only the user can help: nothing is tried again before something changes.

    `reason` is CamelCase, `message` says what to do. Phase FAILED, conditions Ready False and
    Stalled True. `status` are further fields of the status to merge.
    """

    def __init__(self, reason: str, message: str, status: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.reason, self.message, self.status = reason, message, status or {}


class WaitingError(Exception):
    """Something else must happen first.

    The resource is looked at again in `after` seconds, or (None) when what it refers to changes.
    `phase` None: PENDING.
    """

    def __init__(
        self, reason: str, message: str, after: float | None = None, phase: Phase | None = None
    ) -> None:
        super().__init__(message)
        self.reason, self.message, self.after, self.phase = reason, message, after, phase


@dataclass
class Outcome:
    """What a resource's status shall say, and when to look at it again."""

    phase: Phase | None = None
    """None: the phase stays (PENDING when there is none yet)."""
    reason: str = ""
    message: str = ""
    ready: bool | None = True
    """The Ready condition. None: it stays as it is, and reason and message are Reconciling's."""
    reconciling: bool = False
    stalled: bool = False
    warning: bool = False
    """Whether an Event about it is a Warning; always when stalled or FAILED."""
    status: dict[str, Any] = field(default_factory=dict)
    """Further fields of the status, as a JSON merge patch: None removes, lists are replaced."""
    requeue_after: float | None = None
    """Seconds until the next routine look; None: not before something changes."""
    retry: bool = False
    """Whether the next look is due after the resource's own growing backoff instead."""
    keep: bool = False
    """Whether phase and conditions stay as they are, whatever is said above."""
    hold: bool = False
    """Whether the finalizer must be there although the resource is not ready (yet)."""


def unchanged(requeue_after: float | None = None, **status: Any) -> Outcome:
    """Nothing new: phase and conditions stay, `status` is merged."""
    return Outcome(ready=None, keep=True, status=status, requeue_after=requeue_after)


def from_error(error: Exception) -> Outcome:
    """The outcome of a look that ended with an error; unknown ones back off.

    Messages of errors that are not Telecine's own are left out of the status, because they may
    quote anything; the log has them.
    """
    match error:
        case StalledError():
            return Outcome(
                Phase.FAILED, error.reason, error.message, False, stalled=True, status=error.status
            )
        case WaitingError():
            return Outcome(
                error.phase or Phase.PENDING,
                error.reason,
                error.message,
                False,
                reconciling=True,
                requeue_after=error.after,
            )
        case MissingReferenceError():
            return Outcome(
                Phase.PENDING, "ReferenceNotFound", f"waits: {error}", False, reconciling=True
            )
        case StepRefusedError():
            said = f"mend jobTemplate, or the operator's own template of Pods: {error}"
            return Outcome(Phase.FAILED, "JobRefused", said, False, stalled=True)
        case ApiError():
            return Outcome(
                None,
                "Forbidden" if error.status.code == 403 else "ApiError",
                f"the API server refuses: {error}",
                False,
                reconciling=True,
                warning=True,
                retry=True,
            )
        case IndexSchemaError():
            return Outcome(None, "IndexSchemaConflict", str(error), False, stalled=True, retry=True)
        case IndexUnavailableError():
            return Outcome(
                None,
                "IndexRefused" if error.permanent else "IndexUnavailable",
                str(error),
                False,
                reconciling=not error.permanent,
                stalled=error.permanent,
                warning=True,
                retry=True,
            )
    said = f"{type(error).__name__}; it is tried again, and the operator's log tells more"
    return Outcome(None, "ReconcileError", said, False, reconciling=True, warning=True, retry=True)

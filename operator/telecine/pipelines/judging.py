"""What the host makes of a runner's frames and of a runner's end. Pure; believes nothing."""

from __future__ import annotations

import signal
from array import array
from collections.abc import Mapping
from typing import Any

from telecine.pipelines import results
from telecine.pipelines.faults import REASONS, HandlerError
from telecine.pipelines.surroundings import HandlerLimits
from telecine.pipelines.wire import Frame

_MESSAGE, _TRACE = 2000, 20_000


def checked(frame: Frame, index: int) -> dict[str, Any]:
    """The document of a frame. Raises HandlerError."""
    fields = frame.fields.get("fields")
    if (
        not isinstance(fields, dict)
        or results.EMBEDDING in fields
        or len(frame.blob) % 8
        or len(frame.blob) > 8 * results.MOST_DIMENSIONS
    ):
        raise meddled("a document that is none")
    vector = array("d", frame.blob).tolist() or None
    try:
        return results.check({**fields, results.EMBEDDING: vector}, index).whole()
    except results.RubbishError as error:
        raise HandlerError("HandlerReturnedRubbish", str(error)) from None


def meddled(what: str) -> HandlerError:
    """For what no runner of ours would have sent."""
    return HandlerError(
        "HandlerReturnedRubbish",
        f"it wrote to the connection of its worker, which is not its own ({what})",
    )


def own_url(frame: Frame, event: Mapping[str, Any], url: str) -> str:
    """Raises LookupError when another asset is asked for."""
    asked = tuple(str(frame.fields.get(part, ""))[:1024] for part in ("bucket", "key"))
    own = tuple(str(event.get(part, "")) for part in ("bucket", "key"))
    if asked != own:
        raise LookupError(
            f"file_url was asked for bucket {asked[0]!r}, key {asked[1]!r}, and this event is of "
            f"bucket {own[0]!r}, key {own[1]!r}: a handler gets its own event's asset alone"
        )
    return url


def ending(told: Mapping[str, Any], limits: HandlerLimits) -> HandlerError:
    """What the supervisor told of a runner's end."""
    detail = str(told.get("detail", ""))[:200]
    if told.get("reason") == "memory":
        return HandlerError(
            "HandlerOutOfMemory",
            f"it held {detail} and may have {limits.memory >> 20} MiB; work in smaller pieces",
        )
    if told.get("reason") == "processes":
        return HandlerError("TooManyProcesses", f"it started {detail} and was ended")
    number = told.get("signal")
    if isinstance(number, int) and number:
        name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
        hint = "; the memory of its container may be used up" if name == "SIGKILL" else ""
        return HandlerError("HandlerCrashed", f"its process died by {name}{hint}")
    return HandlerError(
        "HandlerExited",
        f"its process exited with code {told.get('code')} before the handler returned",
    )


def failure(frame: Frame) -> HandlerError:
    """A failure in the runner's own words."""
    reason, message, trace = (frame.fields.get(k) for k in ("reason", "message", "trace"))
    if reason not in REASONS or not isinstance(message, str) or not isinstance(trace, str):
        return meddled("a failure that is none")
    return HandlerError(str(reason), message[:_MESSAGE], trace[:_TRACE])

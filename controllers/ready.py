"""Whether what a resource refers to can be used."""

from __future__ import annotations

from .context import Body, Context
from .result import WaitingError
from .store import ready_condition


def require_ready(ctx: Context, kind: str, namespace: str, name: str) -> Body:
    """The resource, when it is Ready and not going.

    Raises:
        WaitingError: not yet; a change of it wakes whoever waits.
        MissingReferenceError: it does not exist.
    """
    body = ctx.lookup(kind, namespace, name)
    if body["metadata"].get("deletionTimestamp"):
        raise WaitingError(f"{kind}Deleting", f"{kind} {name} is being deleted")
    ready = ready_condition(body)
    if ready is None or ready["status"] != "True":
        why = f": {ready['message']}" if ready and ready.get("message") else ""
        raise WaitingError(f"{kind}NotReady", f"waits for {kind} {name}{why}")
    return body

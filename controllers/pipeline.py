"""The Pipeline controller: the kind is declared, and this version does not run it."""

from __future__ import annotations

from .context import Body, Context
from .dispatch import Controller
from .result import Outcome, StalledError


def reconcile(ctx: Context, body: Body) -> Outcome:
    raise StalledError(
        "NotImplemented",
        "this version of Telecine does not run Pipelines; the resource is kept and nothing is done",
    )


CONTROLLER = Controller("Pipeline", reconcile)

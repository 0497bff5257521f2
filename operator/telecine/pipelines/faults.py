"""Why a handler failed on one asset, and why no handler can be run at all."""

from __future__ import annotations


class HandlerError(Exception):
    """The handler failed on one asset. `str()` says what happened and what would help.

    `reason` is one of HandlerFailed (it raised an exception), HandlerExited, HandlerCrashed (a
    signal ended it), HandlerTimeout, HandlerOutOfMemory, TooManyProcesses,
    HandlerReturnedRubbish, HandlerNotFound, HandlerImportFailed.
    """

    def __init__(self, reason: str, message: str, trace: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.trace = trace
        """The user's traceback, of their own files, without secrets; empty where there is none."""


class RuntimeUnavailableError(Exception):
    """The processes for handlers cannot be started or reached. No fault of any asset."""


REASONS = frozenset(
    {
        "HandlerFailed",
        "HandlerExited",
        "HandlerOutOfMemory",
        "HandlerReturnedRubbish",
        "HandlerNotFound",
        "HandlerImportFailed",
    }
)
"""What a runner may tell of itself; the others are seen from outside."""

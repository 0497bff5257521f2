"""Why an asset is refused, in words that both sides of the pipe can carry."""

from __future__ import annotations


class MediaError(Exception):
    """One asset cannot be read. `reason` is CamelCase; `str()` has no name of the asset yet."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class UnavailableError(Exception):
    """The decoding libraries cannot be loaded here; no fault of any asset."""

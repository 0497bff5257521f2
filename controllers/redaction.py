"""Keeps what was read from Secrets out of messages, statuses and logs."""

from __future__ import annotations

import threading
from collections.abc import Iterable

_SHORTEST = 4
"""Shorter values are parts of ordinary words, and no secrets."""


class Redactor:
    """Remembers, for each thread, the secret values that its present reconcile has read."""

    def __init__(self) -> None:
        self._known = threading.local()

    def begin(self) -> None:
        """A new reconcile: nothing was read yet."""
        self._known.values = set()

    def learn(self, values: Iterable[str]) -> None:
        known: set[str] = getattr(self._known, "values", set())
        self._known.values = known | {v for v in values if len(v.strip()) >= _SHORTEST}

    def clean(self, text: str) -> str:
        """The text with every secret value replaced, longest first."""
        known: set[str] = getattr(self._known, "values", set())
        for value in sorted(known, key=len, reverse=True):
            text = text.replace(value, "[redacted]").replace(value.strip(), "[redacted]")
        return text

"""Keeps what was read from Secrets out of statuses, Events and logs."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from telecine.providers.redact import redact


class Redactor:
    """Remembers, for each thread, the secret values that its present reconcile has read."""

    def __init__(self) -> None:
        self._known = threading.local()

    def begin(self) -> None:
        """A new reconcile: nothing was read yet."""
        self._known.values = frozenset()

    def learn(self, values: Iterable[str]) -> None:
        known: frozenset[str] = getattr(self._known, "values", frozenset())
        self._known.values = known | {value for value in values if value}

    def clean(self, text: str) -> str:
        """The text on one line, cut to the length of a message, without what was learned."""
        known: frozenset[str] = getattr(self._known, "values", frozenset())
        return redact(text, {str(number): value for number, value in enumerate(known)})

    def clean_lines(self, text: str) -> str:
        """As `clean`, for a text of many lines, a trace."""
        return "\n".join(self.clean(line) for line in text.splitlines())

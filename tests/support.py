"""What several test files need."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(
    ask: Callable[[], T], timeout: float = 30.0, message: str | Callable[[], str] = ""
) -> T:
    """Asks until the answer is true, and returns it; fails when it is not in time."""
    deadline = time.monotonic() + timeout
    wait = 0.02
    while True:
        answer = ask()
        if answer:
            return answer
        if time.monotonic() > deadline:
            told = message() if callable(message) else message
            raise AssertionError(f"not so after {timeout} s: {told} (last answer: {answer!r})")
        time.sleep(wait)
        wait = min(wait * 1.5, 0.5)

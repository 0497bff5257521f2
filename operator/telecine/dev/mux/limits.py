"""How many calls Mux takes: a bucket of tokens."""

from __future__ import annotations

from collections.abc import Callable


class Bucket:
    """`burst` tokens that come back at `rate` a second of `clock`."""

    def __init__(self, rate: float, burst: float, clock: Callable[[], float]) -> None:
        self._rate, self._burst, self._clock = rate, burst, clock
        self._left, self._at = burst, clock()

    def take(self) -> float:
        """0.0, or seconds until one is there."""
        now = self._clock()
        self._left = min(self._burst, self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left >= 1:
            self._left -= 1
            return 0.0
        return (1 - self._left) / self._rate

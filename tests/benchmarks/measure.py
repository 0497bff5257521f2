"""Ratios within one run: two ways of doing the same work take turns, and medians are compared."""

from __future__ import annotations

import gc
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

#: `TELECINE_BENCH_SCALE=0.1` makes every benchmark a tenth as large.
SCALE = float(os.environ.get("TELECINE_BENCH_SCALE", "1"))
ROUNDS = int(os.environ.get("TELECINE_BENCH_ROUNDS", "3"))


def scaled(count: int, least: int = 1) -> int:
    return max(int(count * SCALE), least)


def seconds(work: Callable[[], Any]) -> float:
    """How long it takes, with no garbage of earlier work to collect."""
    gc.collect()
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def alternate(*sides: Callable[[], Any], rounds: int = ROUNDS) -> list[float]:
    """Median seconds of each side; A B A B, so that a busy minute falls on both."""
    taken: list[list[float]] = [[] for _ in sides]
    for _ in range(rounds):
        for side, times in zip(sides, taken, strict=True):
            times.append(seconds(side))
    return [statistics.median(times) for times in taken]


def tell(what: str, **figures: str | float) -> None:
    """One line for one figure."""
    shown = (
        f"{name} {value:.2f}" if isinstance(value, float) else f"{name} {value}"
        for name, value in figures.items()
    )
    print(f"\n[bench] {what}: {', '.join(shown)}", end="", flush=True)


def compare(what: str, ours: float, bare: float, unit: str, goal: str) -> float:
    """A higher-is-better pair (such as keys a second) as one line; returns ours / bare."""
    ratio = ours / bare
    tell(what, ours=f"{ours:,.0f} {unit}", bare=f"{bare:,.0f} {unit}", ratio=ratio, goal=goal)
    return ratio

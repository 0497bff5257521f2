"""Ratios within one run: two ways of doing the same work take turns, and medians are compared."""

from __future__ import annotations

import gc
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

#: `TELECINE_BENCH_SCALE=0.1` makes every benchmark a tenth as large.
SCALE = float(os.environ.get("TELECINE_BENCH_SCALE", "1"))
ROUNDS = int(os.environ.get("TELECINE_BENCH_ROUNDS", "3"))


def scaled(count: int, least: int = 1) -> int:
    return max(int(count * SCALE), least)


@dataclass
class Side:
    """One way of doing the work: what each of its turns took."""

    wall: list[float] = field(default_factory=list)
    """Seconds."""
    cpu: list[float] = field(default_factory=list)
    """Seconds of the processor, of this process alone: hardly disturbed by what else runs."""

    @property
    def seconds(self) -> float:
        return statistics.median(self.wall)

    def turn(self, work: Callable[[], Any]) -> None:
        gc.collect()
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        self.wall.append(time.perf_counter() - wall)
        self.cpu.append(time.process_time() - cpu)

    def speed(self, other: Side) -> float:
        """How fast it is as a share of the other: the median over the rounds."""
        return statistics.median(b / a for a, b in zip(self.wall, other.wall, strict=True))

    def thrift(self, other: Side) -> float:
        """The same of processor time."""
        return statistics.median(b / a for a, b in zip(self.cpu, other.cpu, strict=True))


def alternate(*works: Callable[[], Any], rounds: int = ROUNDS) -> list[Side]:
    """Gives each its turn, A B A B, so that a busy minute falls on all of them."""
    sides = [Side() for _ in works]
    for _ in range(rounds):
        for side, work in zip(sides, works, strict=True):
            side.turn(work)
    return sides


def tell(what: str, **figures: str | float) -> None:
    """One line for one figure."""
    shown = (
        f"{name} {value:.2f}" if isinstance(value, float) else f"{name} {value}"
        for name, value in figures.items()
    )
    print(f"\n[bench] {what}: {', '.join(shown)}", end="", flush=True)


def compare(what: str, ours: Side, bare: Side, count: int, unit: str, goal: str) -> None:
    """One line for `count` units of work done on both sides."""
    tell(
        what,
        ours=f"{count / ours.seconds:,.0f} {unit}/s",
        bare=f"{count / bare.seconds:,.0f} {unit}/s",
        ratio=ours.speed(bare),
        goal=goal,
        of_processor_time=ours.thrift(bare),
    )

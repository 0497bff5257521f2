"""What a controller asks of an executor, whichever it is: `process` or `kubernetes`.

A run has two steps, and a step has parts that are worked on side by side: one for the sync step,
`width` of them for extraction. What is known of a step before the executor is asked is in the
Sync's status; the executor adds what lives outside of it, processes or Jobs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Protocol

from telecine.api.sync import RunStep
from telecine.execution.resolve import ResolvedSync


class StepRefusedError(Exception):
    """The workers cannot be made as they are declared; `str()` says what Kubernetes says."""


@dataclass(frozen=True)
class Step:
    """One step of one run of one Sync, as its status tells it."""

    resolved: ResolvedSync
    uid: str
    """Of the Sync: what is made for it goes with it."""
    run: str
    """`{run id}.{attempt}`."""
    kind: RunStep
    chunks: int = 0
    width: int = 1
    """Parts; part `i` of extraction has the chunks `i`, `i + width`, ..."""
    begun: frozenset[int] = frozenset()
    """Parts that were given to the executor before."""
    ended: frozenset[int] = frozenset()
    """Parts that have reported their end."""

    @property
    def namespace(self) -> str:
        return self.resolved.kube_namespace

    @property
    def sync(self) -> str:
        return self.resolved.name


@dataclass(frozen=True)
class Standing:
    """How a step is doing outside of the Sync's status."""

    idle: tuple[int, ...] = ()
    """Parts that nobody has begun."""
    died: str = ""
    """Who ended without a word in the status."""
    why: str = ""
    """What is known of that death, for people."""
    final: bool = False
    """Whether the executor has tried again itself, and the run has failed."""
    activity: str = ""
    """What it waits for, for people; empty when it works."""


class Executor(Protocol):
    """Runs the parts of steps and outlives nothing of them: they go on without the operator."""

    def width(self, chunks: int, parallelism: int) -> int:
        """In how many parts extraction of so many chunks is done."""
        ...

    def standing(self, step: Step) -> Standing: ...

    def start(self, step: Step, parts: Collection[int]) -> frozenset[int]:
        """Begins parts, and returns those that could be; the rest waits for a free worker.

        Parts that run already are not begun twice.
        """
        ...

    def knew(self, step: Step) -> bool:
        """Whether this executor would know if the step's workers still lived."""
        ...

    def stop(self, namespace: str, sync: str) -> bool:
        """Ends all workers of a Sync; False while some may still be working."""
        ...

    def sweep(self, there: Callable[[str, str], bool]) -> None:
        """Removes what was made for Syncs that are gone: `there(namespace, sync)` tells."""
        ...


def worker_arguments(step: Step, part: int | None = None) -> list[str]:
    """The command line of `telecine.execution.worker`; without `part` it is an Indexed Job's."""
    arguments = [
        step.kind.value, "--namespace", step.namespace, "--sync", step.sync, "--run", step.run,
    ]  # fmt: skip
    if step.kind is RunStep.EXTRACT:
        arguments += ["--chunks", str(step.chunks), "--width", str(step.width)]
        if part is not None:
            arguments += ["--part", str(part)]
    return arguments

"""Steps of runs as processes of this machine: the executor `process`."""

from __future__ import annotations

from collections.abc import Callable, Collection

from telecine.api.sync import RunStep
from telecine.execution.executor import Standing, Step, worker_arguments
from telecine.execution.process import ProcessExecutor


class ProcessSteps:
    """An `Executor` whose parts are worker processes, `max_workers` at once."""

    def __init__(self, processes: ProcessExecutor) -> None:
        self._processes = processes

    def width(self, chunks: int, parallelism: int) -> int:
        return min(parallelism, chunks)

    def standing(self, step: Step) -> Standing:
        idle: list[int] = []
        for part in range(step.width):
            if part in step.ended or self._processes.running(_name(step, part)):
                continue
            if part in step.begun:
                return Standing(died=_who(step, part))
            idle.append(part)
        return Standing(tuple(idle))

    def start(self, step: Step, parts: Collection[int]) -> frozenset[int]:
        begun: set[int] = set()
        for part in parts:
            if not self._processes.start(_name(step, part), worker_arguments(step, part)):
                break
            begun.add(part)
        return frozenset(begun)

    def knew(self, step: Step) -> bool:
        return self._processes.knew(f"{step.namespace}.{step.sync}.{step.run}.")

    def stop(self, namespace: str, sync: str) -> bool:
        whole = f"{namespace}.{sync}"
        self._processes.stop(lambda name: name.rsplit(".", 3)[0] == whole)
        return True

    def sweep(self, there: Callable[[str, str], bool]) -> None:
        """Nothing is left of a worker that has ended."""


def _name(step: Step, part: int) -> str:
    what = "sync" if step.kind is RunStep.SYNC else f"extract-{part}"
    return f"{step.namespace}.{step.sync}.{step.run}.{what}"


def _who(step: Step, part: int) -> str:
    return "the sync worker" if step.kind is RunStep.SYNC else f"extraction worker {part}"

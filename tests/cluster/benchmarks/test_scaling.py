"""Extraction of the same objects by Jobs with parallelism 1 and 2, and by the process executor."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple

import pytest
from telecine.dev.progress import say

from tests.cluster.site import Site, install
from tests.cluster.test_cluster_kills import fill
from tests.e2e.manifests import Shelf

OBJECTS = int(os.environ.get("TELECINE_BENCH_OBJECTS", "2000"))


class Took(NamedTuple):
    """Seconds of one run over all objects."""

    name: str
    whole: float
    pods: int


_TOOK: list[Took] = []


@pytest.fixture
def patient(shelf: Shelf) -> Shelf:
    shelf.patience = 1200.0
    return shelf


@pytest.fixture(scope="module", autouse=True)
def told() -> Iterator[None]:
    yield
    first = next((t for t in _TOOK if t.name == "jobs, parallelism 1"), None)
    for took in _TOOK:
        ratio = f", {first.whole / took.whole:.2f} times as fast as the first" if first else ""
        rate = OBJECTS / took.whole
        say(f"{took.name}: {took.whole:.1f} s, {rate:.1f} objects/s, {took.pods} Pods{ratio}")


def measure(site: Site, shelf: Shelf, name: str, **spec: Any) -> Took:
    fill(site, shelf, OBJECTS)
    shelf.create_sync(**spec)
    status = shelf.wait(indexed=OBJECTS, phase="COMPLETED")
    run = status["run"]
    began, ended = (datetime.fromisoformat(run[field]) for field in ("startedAt", "finishedAt"))
    took = Took(name, (ended - began).total_seconds(), len(run["shards"]))
    _TOOK.append(took)
    return took


@pytest.mark.timeout(2400)
def test_jobs_side_by_side(site: Site, patient: Shelf) -> None:
    measure(site, patient, "jobs, parallelism 1", parallelism=1)


@pytest.mark.timeout(2400)
def test_two_jobs_side_by_side(site: Site, patient: Shelf) -> None:
    measure(site, patient, "jobs, parallelism 2", parallelism=2)


@pytest.mark.timeout(2400)
@pytest.mark.parametrize("parallelism", [1, 2])
def test_processes_of_the_operator(site: Site, patient: Shelf, parallelism: int) -> None:
    install(site, **{"workers.executor": "process"})
    try:
        measure(site, patient, f"processes, parallelism {parallelism}", parallelism=parallelism)
    finally:
        install(site)

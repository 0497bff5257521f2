"""`kill -9` of a worker or of the operator at each step of a run: the index ends as the source.

All scenarios share one Sync, each beginning where the one before it ended: three texts, of which
one changes, one goes, and a new one comes, and the process dies in the middle of the run.
"""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pytest
from lightkube import Client
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Namespace
from telecine.index.client import WeaviateSettings, open_index

from tests.e2e.manifests import EXTRACTORS, NAMESPACE, Shelf
from tests.integration.operator_process import Resources, eventually, operator

WORKER = "telecine.execution.worker"
OPERATOR = "telecine.controllers.main"
KILLING = Path(__file__).parent / "killing"
SETTINGS = {
    "retry_base_seconds": 0.2,
    "retry_cap_seconds": 1,
    "asset_retry_seconds": 0,
    "lease_seconds": 3,
    "cleanup_seconds": 30,
}

WORKER_KILLS = [
    "telecine.workers.spool Spool.add_listing 1 after",
    "telecine.workers.sync make_plan 1 after",
    "telecine.index.documents Documents.delete_objects 1 after",
    "telecine.index.ledger Ledger.delete 1 after",
    "telecine.index.ledger Ledger.insert 1 before",
    "telecine.index.ledger Ledger.insert 1 after",
    "telecine.execution.report StatusReporter.planned 1 after",
    "telecine.index.documents Documents.write 1 before",
    "telecine.index.documents Documents.write 1 after",
    "telecine.index.documents Documents.delete_object 1 after",
    "telecine.index.ledger Ledger.patch 1 before",
    "telecine.index.ledger Ledger.patch 1 after",
]
OPERATOR_KILLS = [
    "telecine.controllers.sync begin 1 after",
    "telecine.execution.process ProcessExecutor.start 1 before",
    "telecine.execution.process ProcessExecutor.start 1 after",
    "telecine.execution.process ProcessExecutor.start 2 after",
    "telecine.controllers.status Writer.write 1 after",
    "telecine.controllers.status Writer.write 2 after",
    "telecine.controllers.status Writer.write 3 after",
    "telecine.controllers.runs close 1 after",
]


class Cluster(Protocol):
    def client(self) -> Client: ...


@dataclass
class Stage:
    """A Sync that scenarios share, its operator's environment, and the order to kill."""

    shelf: Shelf
    env: dict[str, str]
    folder: Path
    rounds: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def done(self) -> Path:
        return self.folder / "done"

    def operator(self, *, doomed: bool = False) -> Any:
        return operator(
            self.env,
            self.folder / "operator.log",
            doomed=doomed,
            kube_namespace=self.shelf.resources.namespace,
            state_dir=self.folder / "state",
            **SETTINGS,
        )

    def arm(self, role: str, where: str) -> None:
        (self.folder / "order").write_text(f"{role} {where}")
        self.done.unlink(missing_ok=True)

    def disarm(self) -> None:
        (self.folder / "order").unlink(missing_ok=True)
        self.done.unlink(missing_ok=True)

    def change_source(self) -> set[str]:
        """One text changes, one goes, one comes; returns the names that are left."""
        number = next(self.rounds)
        names = sorted(path.name for path in self.shelf.folder.iterdir())
        (self.shelf.folder / names[0]).unlink()
        self.shelf.write(names[1], f"The passage of round {number}, changed. " * 3)
        self.shelf.write(f"text-{number + 2:04}.txt", f"The passage of round {number}.")
        return {path.name for path in self.shelf.folder.iterdir()}


@pytest.fixture(scope="module")
def stage(
    cluster: Cluster,
    weaviate: WeaviateSettings,
    operator_env: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Stage]:
    client = cluster.client()
    resources = Resources(client, f"kills-{uuid.uuid4().hex[:10]}")
    client.create(Namespace(metadata=ObjectMeta(name=resources.namespace)))
    folder, assets = tmp_path_factory.mktemp("stage"), tmp_path_factory.mktemp("assets")
    env = {
        **operator_env,
        "PYTHONPATH": str(KILLING),
        "TELECINE_TEST_KILL_ORDER": str(folder / "order"),
        "TELECINE_TEST_KILL_DONE": str(folder / "done"),
    }
    with open_index(weaviate) as index:
        shelf = Shelf(resources, index, assets)
        made = Stage(shelf, env, folder)
        for number in range(3):
            shelf.write(f"text-{number:04}.txt", f"The passage of text {number}.")
        with made.operator():
            resources.create("Namespace", NAMESPACE, EXTRACTORS)
            # A scenario that fails does not trip the fuse in the next.
            shelf.indexed(deleteLimitPercent=100)
        shelf.assert_whole({"text-0000.txt", "text-0001.txt", "text-0002.txt"})
        yield made
        made.disarm()
        with made.operator():
            resources.delete_all()
            for kind, name in resources.made:
                eventually(lambda k=kind, n=name: not resources.exists(k, n), 60, f"{name} goes")
    client.delete(Namespace, resources.namespace)


@pytest.fixture(scope="class")
def lasting(stage: Stage) -> Iterator[None]:
    """An operator that lives as long as the scenarios that do not kill it."""
    stage.disarm()
    with stage.operator():
        yield


def assert_ended_well(stage: Stage, asked: str, expected: set[str]) -> None:
    status = stage.shelf.wait(lastHandledReconcileAt=asked, phase="COMPLETED")
    assert stage.shelf.ready()["status"] == "True"
    stage.shelf.assert_whole(expected)
    assert (status["objects"], status["indexed"]) == (len(expected), len(expected))
    assert set(stage.shelf.texts()) == expected
    scratch = stage.folder / "state" / "scratch"
    eventually(lambda: not any(scratch.iterdir()), what="no worker leaves its scratch behind")


class TestWorker:
    """Kept together, so that one operator serves them all."""

    @pytest.mark.usefixtures("lasting")
    @pytest.mark.parametrize("where", WORKER_KILLS)
    def test_a_worker_killed_anywhere_leaves_the_index_as_the_source(
        self, stage: Stage, where: str
    ) -> None:
        expected = stage.change_source()
        stage.arm(WORKER, where)
        asked = stage.shelf.request()
        assert_ended_well(stage, asked, expected)
        assert stage.done.exists(), "nothing was killed"
        # What the sync step had to do is in the status by then: nobody starts it again.
        attempts = 1 if where.endswith("StatusReporter.planned 1 after") else 2
        assert stage.shelf.status()["run"]["attempt"] == attempts


class TestOperator:
    @pytest.mark.parametrize("where", OPERATOR_KILLS)
    def test_an_operator_killed_anywhere_leaves_the_index_as_the_source(
        self, stage: Stage, where: str
    ) -> None:
        expected = stage.change_source()
        asked = stage.shelf.request()
        stage.arm(OPERATOR, where)
        with stage.operator(doomed=True) as process:
            assert process.wait(60) == -9
        assert stage.done.exists()
        with stage.operator():
            assert_ended_well(stage, asked, expected)

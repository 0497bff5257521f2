"""Writes a worker's progress into `status.run` of its Sync, and into nothing else."""

from __future__ import annotations

import threading
import time
from typing import Any

import httpx2
import structlog
from lightkube import ApiError, Client
from lightkube.types import PatchType

from telecine.api.base import Phase
from telecine.api.sync import PlanSummary, ProviderCalls, RunStep, ShardProgress
from telecine.execution.kube import Sync
from telecine.providers.calls import Calls
from telecine.workers.protocol import Guard, RunLostError

log = structlog.get_logger(__name__)


class StatusReporter:
    """JSON patches that begin with a test of the run's id and attempt.

    A worker whose run is over can therefore never write into the run that came after it.
    """

    def __init__(
        self,
        client: Client,
        namespace: str,
        sync: str,
        run: str,
        guard: Guard,
        shard: int | None = None,
        every: float = 2.0,
    ) -> None:
        self._client, self._namespace, self._sync = client, namespace, sync
        run_id, _, attempt = run.rpartition(".")
        self._test = [
            {"op": "test", "path": "/status/run/id", "value": run_id},
            {"op": "test", "path": "/status/run/attempt", "value": int(attempt)},
        ]
        self._guard, self._shard, self._every = guard, shard, every
        self._calls, self._before = Calls(), ProviderCalls()
        self._progress: ShardProgress | None = None
        self._last = 0.0
        self._mutex = threading.Lock()

    def count(self, calls: Calls, before: ShardProgress | None) -> None:
        """From now on every report has `calls`, on top of what a worker that died had reported."""
        self._calls, self._progress = calls, before or ShardProgress()
        self._before = before.calls if before else ProviderCalls()

    def activity(self, text: str, plan: PlanSummary | None = None, *, unindexed: int = 0) -> None:
        changes: dict[str, Any] = {"phase": Phase.IN_PROGRESS.value, "activity": text}
        if plan is not None:
            changes |= {"plan": plan.dump(), "unindexed": unindexed}
        self._now_and_then(changes)

    def planned(self, step: RunStep, plan: PlanSummary, chunks: int, unindexed: int) -> None:
        self._surely(
            {
                "phase": Phase.IN_PROGRESS.value,
                "step": step.value,
                "activity": "extracting" if chunks else "finishing",
                "plan": plan.dump(),
                "chunks": chunks,
                "unindexed": unindexed,
            }
        )

    def shard(self, progress: ShardProgress, *, final: bool = False) -> None:
        self._progress = progress
        changes: dict[str, Any] = {}
        if final:
            self._surely(changes)
        else:
            self._now_and_then(changes)

    def failed(
        self, reason: str, message: str, *, permanent: bool, plan: PlanSummary | None = None
    ) -> None:
        """The worker gives up: the controller closes the run and decides when the next begins."""
        changes: dict[str, Any] = {
            "phase": Phase.FAILED.value,
            "reason": reason,
            "message": message[:1024],
            "permanent": permanent,
        }
        if plan is not None:
            changes["plan"] = plan.dump()
        self._surely(changes)

    def _now_and_then(self, changes: dict[str, Any]) -> None:
        with self._mutex:
            if time.monotonic() - self._last < self._every:
                return
            self._last = time.monotonic()
        try:
            self._patch(changes)
        except (httpx2.HTTPError, ApiError) as error:
            log.warning("progress could not be reported", error=str(error))

    def _surely(self, changes: dict[str, Any]) -> None:
        """Tries until it is through or the run is lost."""
        wait = 0.2
        while True:
            try:
                self._patch(changes)
                return
            except (httpx2.HTTPError, ApiError) as error:
                log.warning("a report is tried again", error=str(error))
                self._guard.check()
                time.sleep(wait)
                wait = min(wait * 2, 5.0)

    def _counted(self) -> dict[str, Any]:
        """The calls of the sync step, or all that is known of this worker's part."""
        calls = self._before + self._calls.told()
        if self._shard is None:
            return {"calls": calls.dump()}
        if self._progress is None:
            return {}
        told = self._progress.model_copy(update={"calls": calls})
        return {f"shards/{self._shard}": told.dump()}

    def _patch(self, changes: dict[str, Any]) -> None:
        changes = {**changes, **self._counted()}
        patch = self._test + [
            {"op": "add", "path": f"/status/run/{path}", "value": value}
            for path, value in changes.items()
        ]
        try:
            self._client.patch(
                Sync.Status, self._sync, patch, namespace=self._namespace, patch_type=PatchType.JSON
            )
        except ApiError as error:
            if error.status.code in (404, 422):
                raise RunLostError(
                    f"the run is not in the status of {self._sync} any more"
                ) from error
            raise

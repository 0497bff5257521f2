"""Steps of runs as Jobs: the executor `kubernetes`, the engine for more than one machine.

Nothing is kept in memory: a Job is found by its name, which is made from the Sync and the run, so
that an operator that comes back goes on where the last one was.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from lightkube import ApiError, Client
from lightkube.codecs import from_dict
from lightkube.resources.batch_v1 import Job
from lightkube.resources.core_v1 import Namespace, Pod
from lightkube.types import CascadeType

from telecine.api.connection import ConnectionSpec
from telecine.api.sync import RunStep
from telecine.execution.account import ensure_account, sweep_keys
from telecine.execution.executor import Standing, Step, StepRefusedError
from telecine.execution.jobs import MANAGED, SYNC_LABEL, job_name, label_value, make_job
from telecine.execution.kube import Connection
from telecine.settings import Settings

log = structlog.get_logger(__name__)

INDEXES = 100
"""Parts of an extraction at most: each is an entry in the Sync's status, and a Pod in the end."""
_LOST_SECONDS = 30.0
"""How long the status may be behind a Job that has ended well."""


class KubernetesExecutor:
    """An `Executor` whose steps are Jobs in the Sync's Kubernetes namespace."""

    def __init__(self, client: Client, settings: Settings) -> None:
        self._client, self._settings = client, settings

    def width(self, chunks: int, parallelism: int) -> int:
        return min(chunks, max(parallelism, INDEXES))

    def standing(self, step: Step) -> Standing:
        job = self._job(step)
        everyone = range(step.width)
        if job is None:
            if step.begun:
                return Standing(died=_who(step), why="its Job is gone")
            return Standing(tuple(everyone))
        status, spec = job["status"], job["spec"]
        for condition in status.get("conditions") or []:
            if condition["status"] != "True":
                continue
            if condition["type"] == "Failed":
                return self._failed(step, job, condition)
            if condition["type"] == "Complete" and self._forgotten(step, status):
                return Standing(died=_who(step), why="its Job ended without a report")
        if spec.get("suspend"):
            return Standing(activity="waiting in its queue")
        if status.get("ready"):
            return Standing()
        if self._namespace_goes(step.namespace):
            self.stop(step.namespace, step.sync)
            return Standing(activity="its Kubernetes namespace is being deleted")
        return Standing(activity=self._holdup(step) or "")

    def start(self, step: Step, parts: Collection[int]) -> frozenset[int]:
        account = ensure_account(self._client, step, self._settings, self._secrets(step))
        body = make_job(step, account, self._settings)
        try:
            self._client.create(from_dict(body))
        except ApiError as error:
            if error.status.code == 422:
                raise StepRefusedError(error.status.message or str(error)) from error
            if error.status.code != 409:
                raise
        else:
            log.info("a Job was made", job=body["metadata"]["name"], sync=step.sync, run=step.run)
        return frozenset(range(step.width))

    def knew(self, step: Step) -> bool:
        return True

    def stop(self, namespace: str, sync: str) -> bool:
        """Deletes the Jobs that have not ended; those that have are left to be looked at.

        False while a Pod may still write: until it is gone, or, on a node that does not answer,
        until the Lease that was taken from it has run out.
        """
        labels = {**MANAGED, SYNC_LABEL: label_value(sync)}
        for job in self._client.list(Job, namespace=namespace, labels=dict(labels)):
            body = job.to_dict()
            if _ended(body) or body["metadata"].get("deletionTimestamp"):
                continue
            self._delete(body["metadata"]["name"], namespace)
        now = datetime.now(UTC)
        return not any(self._may_write(pod, now) for pod in self._pods(namespace, labels))

    def sweep(self, there: Callable[[str, str], bool]) -> None:
        """Takes back what Syncs that are gone were lent."""
        gone = sweep_keys(self._client, self._settings, there)
        if gone:
            log.info("rights of Syncs that are gone were taken back", bindings=gone)

    def _job(self, step: Step) -> dict[str, Any] | None:
        try:
            found = self._client.get(Job, job_name(step), namespace=step.namespace).to_dict()
        except ApiError as error:
            if error.status.code == 404:
                return None
            raise
        return {"spec": {}, "status": {}, **found}

    def _delete(self, name: str, namespace: str) -> None:
        try:
            self._client.delete(Job, name, namespace=namespace, cascade=CascadeType.BACKGROUND)
        except ApiError as error:
            if error.status.code != 404:
                raise
        log.info("a Job was stopped", job=name)

    def _secrets(self, step: Step) -> list[str]:
        """The Secrets in the Sync's Kubernetes namespace that its runs read."""
        found = [step.resolved.connection.secret_ref]
        weaviate = step.resolved.namespace.spec.weaviate
        if weaviate and weaviate.connection_ref:
            name = weaviate.connection_ref.name
            body = dict(self._client.get(Connection, name, namespace=step.namespace))
            found.append(ConnectionSpec.model_validate(body["spec"]).secret_ref)
        return [reference.name for reference in found if reference is not None]

    def _forgotten(self, step: Step, status: dict[str, Any]) -> bool:
        """Whether a Job has ended well and its step's end did not arrive in the Sync's status."""
        if len(step.ended) >= step.width:
            return False
        ended = _time(status.get("completionTime"))
        return ended is not None and datetime.now(UTC) - ended > timedelta(seconds=_LOST_SECONDS)

    def _namespace_goes(self, name: str) -> bool:
        """Whether the Kubernetes namespace is being deleted.

        Its Pods go first, and the failed Pod of an index keeps its finalizer until there is
        another one, which is not made any more: without its Job's deletion it would stay forever.
        """
        found = self._client.get(Namespace, name).to_dict()
        return found["metadata"].get("deletionTimestamp") is not None

    def _failed(self, step: Step, job: dict[str, Any], condition: dict[str, Any]) -> Standing:
        """The Job gave up; one that lost its run, or was told to stop, may begin again."""
        why = f"Job {job['metadata']['name']}: {condition.get('message') or condition['reason']}"
        failed = job["status"].get("failedIndexes")
        if failed:
            why += f"; failed indexes: {failed}"
        for pod in self._pods(step.namespace, {"batch.kubernetes.io/job-name": job_name(step)}):
            told = _ending(pod)
            if told:
                why += f"; {told}"
                break
        final = condition.get("reason") != "PodFailurePolicy"
        return Standing(died=_who(step), why=why, final=final)

    def _holdup(self, step: Step) -> str | None:
        """Why no Pod of a Job is at work yet, in Kubernetes' own words."""
        for pod in self._pods(step.namespace, {"batch.kubernetes.io/job-name": job_name(step)}):
            status = pod.get("status") or {}
            for condition in status.get("conditions") or []:
                if condition["type"] == "PodScheduled" and condition["status"] == "False":
                    return f"waiting for a node: {condition.get('message', '')}"[:500]
            for container in status.get("containerStatuses") or []:
                waiting = (container.get("state") or {}).get("waiting") or {}
                if waiting.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
                    return f"{waiting['reason']}: {waiting.get('message', '')}"[:500]
        return "waiting for its Pod"

    def _pods(self, namespace: str, labels: dict[str, str]) -> Iterator[dict[str, Any]]:
        for pod in self._client.list(Pod, namespace=namespace, labels=dict(labels)):
            yield pod.to_dict()

    def _may_write(self, pod: dict[str, Any], now: datetime) -> bool:
        if (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
            return False
        deleted = _time(pod["metadata"].get("deletionTimestamp"))
        if deleted is None:
            return True
        return now < deleted + timedelta(seconds=self._settings.lease_seconds)


def _ended(job: dict[str, Any]) -> bool:
    conditions = (job.get("status") or {}).get("conditions") or []
    return any(c["type"] in ("Complete", "Failed") and c["status"] == "True" for c in conditions)


def _time(text: Any) -> datetime | None:
    if not text:
        return None
    return text if isinstance(text, datetime) else datetime.fromisoformat(text)


def _ending(pod: dict[str, Any]) -> str | None:
    """How a Pod ended that did not end well: `OOMKilled (137)`, with the end of its log."""
    for container in (pod.get("status") or {}).get("containerStatuses") or []:
        ended = (container.get("state") or {}).get("terminated") or {}
        if ended.get("exitCode"):
            last = (ended.get("message") or "").strip().splitlines()[-1:]
            said = f": {last[0][:300]}" if last else ""
            return f"{ended.get('reason', 'Error')} ({ended['exitCode']}){said}"
    return None


def _who(step: Step) -> str:
    return "the sync worker" if step.kind is RunStep.SYNC else "the extraction"

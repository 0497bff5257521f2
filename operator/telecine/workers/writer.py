"""Writes documents and closes objects in a thread of its own, in the order given."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import structlog

from telecine.index.client import IndexWriteError
from telecine.index.documents import StoredDocument
from telecine.index.freeform import Freeform
from telecine.index.schema import DocumentCollection
from telecine.planning.types import ObjectRecord, ObjectState
from telecine.workers.protocol import Guard, Job
from telecine.workers.toolset import Toolset, collection_of

log = structlog.get_logger(__name__)
_BATCHES_AHEAD = 2


@dataclass(frozen=True)
class Finished:
    """An object whose documents are all written once its batch is."""

    record: ObjectRecord
    content_hash: str
    recipes: list[str]
    documents: int


@dataclass(frozen=True)
class Batch:
    documents: list[StoredDocument]
    finished: list[Finished]


@dataclass(frozen=True)
class Withdrawal:
    """Documents of a content that turned out unreadable half way."""

    object_id: UUID
    content_hash: str
    recipes: list[str]


Item = Batch | Withdrawal | Mapping[UUID, Mapping[str, Any]]


class Writer:
    """A queue of batches. The first error stops the writing and is raised at the next call."""

    def __init__(self, job: Job, guard: Guard, toolset: Toolset) -> None:
        self.job, self.guard = job, guard
        self.ledger = job.index.ledger(job.tenant)
        self.collections = {recipe.key: collection_of(recipe) for recipe in job.recipes}
        self.objects = 0
        self.documents = 0
        self.refused: dict[UUID, str] = {}
        self._free: dict[str, Freeform] = {}
        self._queue: queue.Queue[Item | None] = queue.Queue(maxsize=_BATCHES_AHEAD)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._thread.is_alive():
            if error is not None:
                self._error = self._error or error
            self._queue.put(None)
            self._thread.join()
        if error is None and self._error is not None:
            raise self._error

    def put(self, batch: Batch) -> None:
        """Waits while two batches are ahead, so that memory stays bounded."""
        self._send(batch)

    def patch(self, changes: Mapping[UUID, Mapping[str, Any]]) -> None:
        """Changes rows of the ledger after everything put before."""
        self._send(changes)

    def withdraw(self, withdrawal: Withdrawal) -> None:
        """Removes what was written of an object that then failed; what search had before stays."""
        self._send(withdrawal)

    def drain(self) -> None:
        """Returns when everything put is written."""
        self._queue.join()
        self._raise()

    def _send(self, item: Item) -> None:
        self._raise()
        self._queue.put(item)

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            try:
                if self._error is None:
                    self._write(item)
            except BaseException as error:  # noqa: BLE001 - raised in the worker's own thread
                self._error = error
            finally:
                self._queue.task_done()
        self._queue.task_done()

    def _write(self, item: Item) -> None:
        self.guard.check()
        if isinstance(item, Batch):
            self._write_batch(item)
        elif isinstance(item, Withdrawal):
            self._withdraw(item)
        else:
            self.ledger.patch(item)

    def _write_batch(self, batch: Batch) -> None:
        refused = self._write_documents(batch.documents)
        self.refused.update(refused)
        done = [f for f in batch.finished if f.record.id not in self.refused]
        for finished in done:
            if finished.record.replace:
                self._remove_others(finished.record, finished.content_hash)
        failed = [f for f in batch.finished if f.record.id in self.refused]
        changes = {f.record.id: completed(f) for f in done}
        absent = self.ledger.patch(changes | {f.record.id: self._refusal(f) for f in failed})
        self.objects += len(changes.keys() - absent)
        for gone in absent | self._unindexed(batch):
            self._remove_all(gone)

    def _unindexed(self, batch: Batch) -> set[UUID]:
        """The objects, of those that have more documents to come, whose rows are gone.

        Not only at an object's end: a worker that dies before it would leave what it wrote of an
        object that nothing reads again. Asked after the writing: whoever unindexes removes the
        row, and looks for documents once more after that.
        """
        open_ones = {d.object_id for d in batch.documents} - {f.record.id for f in batch.finished}
        return open_ones - self.ledger.get(list(open_ones)).keys() if open_ones else set()

    def _write_documents(self, documents: list[StoredDocument]) -> dict[UUID, str]:
        refused: dict[UUID, str] = {}
        for key, collection in self.collections.items():
            mine = [d for d in documents if d.recipe == key]
            if not mine:
                continue
            if collection.free:
                misfits = self._freeform(collection).fit(mine)
                refused |= misfits
                mine = [d for d in mine if d.object_id not in misfits]
            try:
                self.job.index.documents(self.job.tenant, collection).write(mine)
                self.documents += len(mine)
            except IndexWriteError as error:
                owners = {d.id: d.object_id for d in mine}
                refused |= {owners[i]: why for i, why in error.failures if i in owners}
                self.documents += len(mine) - len(error.failures)
        return refused

    def _freeform(self, collection: DocumentCollection) -> Freeform:
        if collection.name not in self._free:
            self._free[collection.name] = self.job.index.freeform(collection)
        return self._free[collection.name]

    def _remove_others(self, record: ObjectRecord, content_hash: str) -> None:
        """Removes the object's documents of every other content and of replaced recipes."""
        for key, collection in self.collections.items():
            store = self.job.index.documents(self.job.tenant, collection)
            store.delete_object(record.id, keep=(content_hash, key), owner=self.job.owner)

    def _withdraw(self, item: Withdrawal) -> None:
        for key in item.recipes:
            store = self.job.index.documents(self.job.tenant, self.collections[key])
            store.delete_object(item.object_id, only=(item.content_hash, key), owner=self.job.owner)

    def _remove_all(self, object_id: UUID) -> None:
        """An object that was unindexed while it was extracted leaves nothing behind."""
        for collection in self.collections.values():
            store = self.job.index.documents(self.job.tenant, collection)
            store.delete_object(object_id, owner=self.job.owner)

    def _refusal(self, finished: Finished) -> dict[str, Any]:
        why = self.refused[finished.record.id]
        log.warning("the index refused documents", path=finished.record.path, error=why)
        return {
            "state": ObjectState.FAILED,
            "reason": "IndexRefused",
            "message": f"Weaviate refused a document: {why}",
            "attempts": finished.record.attempts + 1,
            "dead_letter": finished.record.attempts + 1 >= self.job.limits.asset_attempts,
            "failed_at": time.time(),
            "retry_at": time.time() + self.job.limits.asset_retry_seconds,
        }


def completed(finished: Finished) -> dict[str, Any]:
    """The ledger's columns for an object that search can find."""
    record = finished.record
    return {
        "state": ObjectState.COMPLETED,
        "content_hash": finished.content_hash,
        "recipes": finished.recipes,
        "documents": finished.documents,
        "fingerprint": record.fingerprint,
        "version": record.version,
        "source_metadata": record.source_metadata,
        "mime_type": record.mime_type,
        "extracted_at": time.time(),
        "attempts": 0,
        "reason": "",
        "message": "",
        "retry_at": 0.0,
        "dead_letter": False,
        "replace": False,
        "chunk": -1,
    }

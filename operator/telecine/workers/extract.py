"""The extraction step of a run: the PENDING objects of some chunks become documents.

Content is fetched a few objects ahead, split lazily, embedded in batches that span objects, and
written by a thread of its own while the next batch is embedded. An object is COMPLETED after its
new documents are written and the old ones are gone, in that order.
"""

from __future__ import annotations

import itertools
import tempfile
import time
import traceback
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from telecine.api.base import Phase
from telecine.api.bucket import BlobType
from telecine.api.sync import ShardProgress
from telecine.extractors.base import Content, Document, ExtractionError
from telecine.extractors.models import ModelUnavailableError
from telecine.planning.identity import bucket_range
from telecine.planning.types import ObjectRecord, ObjectState
from telecine.providers.base import ProviderError
from telecine.workers.fetch import Fetched, fetch_ahead
from telecine.workers.planner import rules_of
from telecine.workers.protocol import Guard, Job, Reporter
from telecine.workers.toolset import Tool, Toolset
from telecine.workers.writer import Batch, Finished, Withdrawal, Writer

log = structlog.get_logger(__name__)

#: Documents embedded at once; long enough that sorting by length pays.
DOCUMENTS_AT_ONCE = 256
_PICTURE = 7
"""A picture weighs as much as so many documents: pixels are held until they are embedded."""
_FLUSH_SECONDS = 20.0
"""How long what is extracted may wait, so that a killed worker loses no more of a long film."""
_RETRY_CAP_SECONDS = 86_400.0


@dataclass
class _Object:
    """One object on its way through the pipeline."""

    record: ObjectRecord
    content_hash: str
    recipes: list[str]
    counts: dict[str, int] = field(default_factory=dict)
    split: bool = False
    failed: bool = False


@dataclass
class _Piece:
    """One document waiting for its vectors."""

    object: _Object
    tool: Tool
    index: int
    document: Document


def run_extract(
    job: Job,
    chunks: Sequence[int],
    guard: Guard,
    reporter: Reporter,
    toolset: Toolset,
    before: ShardProgress | None = None,
) -> ShardProgress:
    """Extracts the given chunks of the run.

    `before`: what a worker that died had reported of the same chunks.

    Raises:
        ProviderError: the source failed as a whole; the objects stay PENDING.
        ModelUnavailableError: a model of the Namespace cannot be loaded.
        IndexUnavailableError: the index failed.
        RunLostError: the run is another worker's now.
    """
    with (
        tempfile.TemporaryDirectory(prefix="telecine-", dir=job.limits.scratch) as folder,
        Writer(job, guard, toolset) as writer,
    ):
        extraction = _Extraction(job, guard, reporter, toolset, writer, Path(folder), before)
        for chunk in chunks:
            extraction.chunk(chunk)
        writer.drain()
        extraction.progress.phase = extraction.final_phase()
        reporter.shard(extraction.progress, final=True)
        return extraction.progress


class _Extraction:
    """The state of one worker between its first and last object."""

    def __init__(
        self,
        job: Job,
        guard: Guard,
        reporter: Reporter,
        toolset: Toolset,
        writer: Writer,
        folder: Path,
        before: ShardProgress | None,
    ) -> None:
        self.job, self.guard, self.reporter = job, guard, reporter
        self.toolset, self.writer, self.folder = toolset, writer, folder
        self.before = before or ShardProgress()
        self.progress = self.before.model_copy(
            update={"total": self.before.extracted + self.before.failed}
        )
        self.waiting: list[_Piece] = []
        self.split: list[_Object] = []
        self.weight = 0
        self.flushed = time.monotonic()
        self.told: set[tuple[str, BlobType]] = set()
        self.fields = rules_of(job).described_fields

    def chunk(self, chunk: int) -> None:
        ledger = self.job.index.ledger(self.job.tenant)
        span = bucket_range(self.job.kube_namespace, self.job.bucket_name)
        records = list(ledger.pending(span, self.job.run_key, [chunk]))
        self.progress.total += len(records)
        for fetched in fetch_ahead(records, self.job, self.folder, self.fields):
            try:
                self.one(fetched)
            finally:
                fetched.discard()
        self.flush()

    def one(self, fetched: Fetched) -> None:
        """Splits one object; embeds when enough documents have gathered."""
        record = fetched.record
        if fetched.error is not None:
            self.fail(record, fetched.error)
            return
        self.progress.downloads += 1
        same = fetched.content_hash == record.content_hash
        wanted = [recipe.key for recipe in self.job.recipes]
        work = _Object(record, fetched.content_hash, wanted)
        for recipe in self.job.recipes:
            if same and recipe.key in record.recipes:
                continue
            tool = self.toolset.tool(recipe)
            content = self.content(fetched, tool)
            if content.blob_type not in tool.extractor.accepts:
                continue
            self.tell_features(tool, content.blob_type)
            if not self.pieces(work, tool, content):
                return
        work.split = True
        self.split.append(work)
        if same and not work.counts:
            self.flush()

    def pieces(self, work: _Object, tool: Tool, content: Content) -> bool:
        """Gathers the documents of one object and recipe; embeds when there are enough.

        False when the object failed. Only what the extractor raises is the object's own fault:
        not what embedding and writing raise on the way.
        """
        documents = tool.extractor.split(content)
        try:
            for index in itertools.count():
                try:
                    document = next(documents, None)
                except (ModelUnavailableError, OSError):
                    raise
                except Exception as error:  # noqa: BLE001 - one asset fails, the run goes on
                    self.fail_work(work, error)
                    return False
                if document is None:
                    return True
                work.counts[tool.recipe.key] = index + 1
                if not document.written:
                    self.piece(_Piece(work, tool, index, document))
            raise AssertionError("documents have no end")
        finally:
            if isinstance(documents, Generator):
                documents.close()

    def piece(self, piece: _Piece) -> None:
        self.waiting.append(piece)
        self.weight += 1 + _PICTURE * len(piece.document.pictures)
        late = time.monotonic() - self.flushed > _FLUSH_SECONDS
        if self.weight >= DOCUMENTS_AT_ONCE or late:
            self.flush()

    def content(self, fetched: Fetched, tool: Tool) -> Content:
        """The object's content as one extractor takes it."""
        content = fetched.content(self.job)
        content.progress = lambda done, of: self.tell_position(fetched.record.path, done, of)
        if tool.extractor.resumes:
            record = fetched.record
            store = self.job.index.documents(self.job.tenant, tool.collection.name)
            content.written = lambda: [
                Document(text=str(found.pop("text", "")), properties=found, written=True)
                for found in store.leading(record.id, fetched.content_hash, tool.recipe.key)
            ]
        return content

    def tell_position(self, path: str, done: float, of: float) -> None:
        self.progress.message = f"{path}: {_clock(done)}" + (f" of {_clock(of)}" if of else "")
        self.reporter.shard(self.progress)

    def tell_features(self, tool: Tool, kind: BlobType) -> None:
        """Loads what an extractor needs for a type of content, once, and tells what is on."""
        name = tool.recipe.name
        if (name, kind) in self.told:
            return
        self.told.add((name, kind))
        for feature, state in tool.extractor.features(kind).items():
            self.progress.features[f"{name}.{feature}"] = state
            if state.startswith("off: "):
                log.warning("a feature is off", extractor=name, feature=feature, why=state)

    def flush(self) -> None:
        """Embeds what waits and hands it to the writer, with the objects that are whole now."""
        self.guard.check()
        self.weight, self.flushed = 0, time.monotonic()
        pieces, self.waiting = self.waiting, []
        for tool in {id(p.tool): p.tool for p in pieces}.values():
            self.embed(tool, [p for p in pieces if p.tool is tool])
        whole, self.split = self.split, []
        batch = Batch(
            [self.stored(p) for p in pieces if not p.object.failed],
            [self.finished(w) for w in whole if not w.failed],
        )
        self.writer.put(batch)
        self.settle()

    def embed(self, tool: Tool, pieces: list[_Piece]) -> None:
        """Fills the vectors; when a batch fails, each object alone, so that one fails alone."""
        self.progress.embeddings += len(pieces)
        try:
            tool.extractor.embed([p.document for p in pieces])
            return
        except ModelUnavailableError:
            raise
        except Exception as error:  # noqa: BLE001 - told below, object by object
            log.warning("a batch could not be embedded; trying each object", error=str(error))
        for work in {id(p.object): p.object for p in pieces}.values():
            try:
                tool.extractor.embed([p.document for p in pieces if p.object is work])
            except Exception as error:  # noqa: BLE001 - one asset fails, the run goes on
                self.fail_work(work, error)

    def stored(self, piece: _Piece) -> Any:
        return piece.tool.stored(
            self.job, piece.object.record, piece.object.content_hash, piece.index, piece.document
        )

    def finished(self, work: _Object) -> Finished:
        kept = (
            work.record.documents
            if not work.counts and work.content_hash == work.record.content_hash
            else 0
        )
        documents = sum(work.counts.values()) or kept
        return Finished(work.record, work.content_hash, work.recipes, documents)

    def fail_work(self, work: _Object, error: Exception) -> None:
        """Fails an object of which documents may be written already: what search had stays."""
        work.failed = True
        self.waiting = [p for p in self.waiting if p.object is not work]
        self.writer.withdraw(Withdrawal(work.record.id, work.content_hash, list(work.counts)))
        self.fail(work.record, error)

    def fail(self, record: ObjectRecord, error: Exception) -> None:
        self.progress.failed += 1
        self.writer.patch({record.id: failure(record, error, self.job)})
        log.warning("an object failed", path=record.path, error=str(error))
        self.reporter.shard(self.progress)

    def settle(self) -> None:
        """Takes over what the writer has finished since, and reports."""
        self.progress.extracted = self.before.extracted + self.writer.objects
        self.progress.documents = self.before.documents + self.writer.documents
        self.reporter.shard(self.progress)

    def final_phase(self) -> Phase:
        self.progress.message = None
        self.settle()
        return Phase.COMPLETED_WITH_ERRORS if self.progress.failed else Phase.COMPLETED


def _clock(seconds: float) -> str:
    """4000 -> 1:06:40."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"


def failure(record: ObjectRecord, error: Exception, job: Job) -> dict[str, Any]:
    """The ledger's columns for an object that failed: when to try again, or rest."""
    known = isinstance(error, ProviderError | ExtractionError)
    reason = (
        error.reason if isinstance(error, ProviderError | ExtractionError) else "ExtractorCrashed"
    )
    permanent = isinstance(error, ProviderError | ExtractionError) and error.permanent
    if not known:
        log.error(
            "an extractor crashed",
            path=record.path,
            trace="".join(traceback.format_exception(error)),
        )
    attempts = record.attempts + 1
    dead = permanent or attempts >= job.limits.asset_attempts
    wait = min(job.limits.asset_retry_seconds * 2 ** (attempts - 1), _RETRY_CAP_SECONDS)
    now = time.time()
    return {
        "state": ObjectState.FAILED,
        "reason": reason,
        "message": str(error) if known else f"{type(error).__name__}: {error}",
        "attempts": attempts,
        "dead_letter": dead,
        "failed_at": now,
        "retry_at": 0.0 if dead else now + wait,
    }

"""Brings the content of objects to the worker's scratch space, a few ahead of extraction."""

from __future__ import annotations

import hashlib
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import structlog

from telecine.extractors.base import Content, ExtractionError
from telecine.planning.types import Asset, ObjectRecord, SideCaptions
from telecine.providers.base import Provider, ProviderError
from telecine.workers.protocol import Job

log = structlog.get_logger(__name__)
_PIECE = 1 << 20
_UNKNOWN_SIZE = 64 << 20
"""Bytes that an asset is taken to have whose source tells no size."""


@dataclass
class Fetched:
    """One object's content on scratch, or why there is none."""

    record: ObjectRecord
    path: Path | None = None
    content_hash: str = ""
    size: int = 0
    error: ProviderError | ExtractionError | None = None
    captions: SideCaptions | None = None

    def content(self, job: Job) -> Content:
        if self.path is None:
            raise ValueError("content was not fetched")
        properties = job.bucket.properties()
        return Content(
            path=self.path,
            size=self.size,
            mime_type=self.record.mime_type,
            blob_type=properties[self.record.blob_property].type,
            name=self.record.path,
            source_metadata=self.record.source_metadata,
            captions=self.captions,
            asset=asset_of(self.record),
        )

    def discard(self) -> None:
        if self.path is not None:
            self.path.unlink(missing_ok=True)


def asset_of(record: ObjectRecord) -> Asset:
    """The asset as its provider listed it when the object was planned."""
    return Asset(
        id=record.asset_id,
        path=record.path,
        size=record.size,
        modified=record.modified,
        fingerprint=record.fingerprint,
        version=record.version,
        mime_type=record.mime_type,
        metadata=record.source_metadata,
    )


def fetch(record: ObjectRecord, job: Job, folder: Path, fields: frozenset[str]) -> Fetched:
    """Downloads one object whole; a fault of the asset is returned, one of the source raised."""
    limit = job.limits.max_asset_bytes
    try:
        if record.size > limit:
            raise too_large(record.size, limit)
        asset = asset_of(record)
        described = job.provider.describe(asset, fields)
        record = replace(
            record,
            source_metadata=merged(record.source_metadata, described.metadata),
            mime_type=record.mime_type or described.mime_type or "",
        )
        captions = _captions(job.provider, described)
        path, digest, size = _download(job.provider, asset, folder, limit)
        return Fetched(record, path, digest, size, captions=captions)
    except ExtractionError as error:
        return Fetched(record, error=error)
    except ProviderError as error:
        if not error.asset_only:
            raise
        return Fetched(record, error=error)


def _captions(provider: Provider, asset: Asset) -> SideCaptions | None:
    """What the source says is said; without it the sound is transcribed."""
    try:
        return provider.captions(asset)
    except ProviderError as error:
        if not error.asset_only:
            raise
        log.warning("captions cannot be read", asset=asset.id, error=str(error))
        return None


def merged(planned: dict[str, Any], described: Any) -> dict[str, Any]:
    """What describing tells now over what planning found."""
    return {**planned, **dict(described or {})}


def too_large(size: int, limit: int) -> ExtractionError:
    return ExtractionError(
        "TooLarge",
        f"{size} bytes is over the limit of {limit}: raise TELECINE_MAX_ASSET_BYTES, or leave the "
        "asset out with fileFilters.maxSize",
        permanent=True,
    )


def _download(provider: Provider, asset: Asset, folder: Path, limit: int) -> tuple[Path, str, int]:
    digest, size = hashlib.sha256(), 0
    with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
        path = Path(file.name)
        try:
            with provider.open(asset) as stream:
                while piece := stream.read(_PIECE):
                    size += len(piece)
                    if size > limit:
                        raise too_large(size, limit)
                    digest.update(piece)
                    file.write(piece)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
    return path, digest.hexdigest(), size


def fetch_ahead(
    records: Iterable[ObjectRecord], job: Job, folder: Path, fields: frozenset[str]
) -> Iterator[Fetched]:
    """Fetches in order, `limits.downloads` at once and at most twice that many ahead.

    What lies on scratch, the one being extracted included, stays below `limits.scratch_bytes`,
    but for a single asset that is larger.
    """
    pool = ThreadPoolExecutor(job.limits.downloads, "fetch")
    waiting: deque[tuple[Future[Fetched], int]] = deque()
    held = 0
    try:
        for record in records:
            size = record.size if record.size >= 0 else _UNKNOWN_SIZE
            while waiting and (
                len(waiting) >= 2 * job.limits.downloads or held + size > job.limits.scratch_bytes
            ):
                future, taken = waiting.popleft()
                yield future.result()
                held -= taken
            waiting.append((pool.submit(fetch, record, job, folder, fields), size))
            held += size
        while waiting:
            yield waiting.popleft()[0].result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)

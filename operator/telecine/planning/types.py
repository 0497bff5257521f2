"""The words that planning, providers, index and extractors share. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple
from uuid import UUID

JSON = Any
Metadata = Mapping[str, JSON]
Vector = Sequence[float]


class Asset(NamedTuple):
    """An asset as its provider lists it.

    A NamedTuple, because a run makes one for every key of a source.
    """

    id: str
    """The asset's id in its provider, unique within a Connection: an S3 key, a Drive file id."""
    path: str
    """Where it is, relative to the Sync's source path; patterns and folders are matched on it."""
    size: int
    """Bytes; -1 when the provider gives none."""
    modified: float
    """Seconds since the epoch, 0.0 when unknown."""
    fingerprint: str
    """Changes when the content may have changed (an ETag; size and mtime for files)."""
    version: str
    """Changes when the content or the metadata may have changed. An equal version means that
    the ledger's metadata still holds, but for the provider's `unversioned` fields."""
    mime_type: str | None = None
    """None: not told by the listing; then it is guessed from the path."""
    metadata: Metadata | None = None
    """`source_metadata` as far as known, in the provider's own spelling."""
    complete: bool = False
    """Whether `metadata` is all that the provider knows, so that `describe` would add nothing."""
    unavailable: str | None = None
    """A reason for which it cannot be indexed now, in snake_case (`preparing`), else None."""


class SideCaptions(NamedTuple):
    """What is said in an asset, as its source knows it."""

    text: str
    """WebVTT."""
    language: str = ""
    """BCP 47, empty when unknown."""


class ObjectState(StrEnum):
    """State of an object in the ledger (the task statuses of the reference system)."""

    PENDING = "PENDING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    DELETED = "DELETED"
    """No object, but the memory of one that its source said is gone (`index.tombstones`)."""


@dataclass(slots=True)
class ObjectRecord:
    """Our record of one asset in one Bucket: a row of the ledger."""

    id: UUID
    kube_namespace: str
    bucket: str
    connection: str
    asset_id: str
    path: str
    size: int
    modified: float
    fingerprint: str
    version: str
    mime_type: str
    source_metadata: dict[str, JSON] = field(default_factory=dict)
    fields: dict[str, JSON] = field(default_factory=dict)
    """Fields filled by the Sync's schemaMapping."""
    blob_property: str = ""
    """The property of the Bucket's schema that the asset fills."""
    state: ObjectState = ObjectState.PENDING
    recipes: list[str] = field(default_factory=list)
    """Recipe keys (`Recipe.key`) whose documents of the present content are in the index."""
    content_hash: str = ""
    """sha256 of the content last extracted, hexadecimal; empty before the first time."""
    documents: int = 0
    reason: str = ""
    """Why it FAILED, CamelCase."""
    message: str = ""
    attempts: int = 0
    """Failed attempts in a row."""
    retry_at: float = 0.0
    """FAILED: not to be tried before this time, seconds since the epoch."""
    dead_letter: bool = False
    """FAILED and at rest until the source changes or the user requeues it."""
    first_seen: float = 0.0
    failed_at: float = 0.0
    extracted_at: float = 0.0
    syncs: list[str] = field(default_factory=list)
    """Names of the Syncs that select it."""
    run: str = ""
    """The run (`{sync}/{run id}`) that made it PENDING."""
    chunk: int = -1
    """PENDING: which chunk of that run extracts it."""
    replace: bool = False
    """PENDING: documents of an earlier content or recipe may exist and must go afterwards."""
    owner: str = ""


class Recipe(NamedTuple):
    """A feature extractor with its parameters, identified by a digest of all three."""

    name: str
    version: str
    parameters: Mapping[str, JSON]
    digest: str

    @property
    def key(self) -> str:
        return f"{self.name}@{self.version}:{self.digest}"


class Action(StrEnum):
    """What a plan decides about one asset or object."""

    ADD = "add"
    """In the source, matched, not in the ledger."""
    CHANGE = "change"
    """In the ledger, and content, metadata or recipe changed."""
    RETRY = "retry"
    """In the ledger, not extracted yet or failed, and due."""
    KEEP = "keep"
    ADOPT = "adopt"
    """In the ledger by another Sync (or an earlier life of this one): linked, not extracted."""
    UNINDEX = "unindex"
    """This Sync selects it no more; the object goes when no other Sync does."""
    DRIFTED = "drifted"
    """Indexed, no longer matches, and stays because reconcileOnSync is off."""
    DEAD = "dead"
    """Failed and at rest."""
    DEFERRED = "deferred"
    """Would be added, changed or retried, but is beyond maxObjectsPerRun."""
    SKIP = "skip"
    DESCRIBE = "describe"
    """Not decided: the provider must be asked for the asset's whole metadata first."""


class Reason(StrEnum):
    """Why; snake_case, used as keys of the counts in status and JSON."""

    NEW = "new"
    CONTENT_CHANGED = "content_changed"
    METADATA_CHANGED = "metadata_changed"
    RECIPE_CHANGED = "recipe_changed"
    UNFINISHED = "unfinished"
    RETRY_DUE = "retry_due"
    RETRY_LATER = "retry_later"
    DEAD_LETTER = "dead_letter"
    UNCHANGED = "unchanged"
    SELECTED_BY_ANOTHER_SYNC = "selected_by_another_sync"
    GONE = "gone"
    PRUNE_OFF = "prune_off"
    FILTERED = "filtered"
    LIMIT = "max_objects_per_run"


class Decision(NamedTuple):
    """The outcome for one asset or object."""

    action: Action
    reason: str
    """A `Reason`, or for SKIP, UNINDEX and DRIFTED the filter that decided (`below_min_size`,
    `filtered`, ...), or the provider's own (`preparing`)."""
    object_id: UUID
    asset: Asset | None
    record: ObjectRecord | None
    extract: bool = False
    """Whether content must be downloaded and extracted; false for metadata alone."""
    detail: str = ""
    """For people: the field, the value found and the value wanted."""


@dataclass(slots=True)
class Document:
    """What an extractor makes and search returns; the index adds ids and the object's lineage."""

    text: str
    vectors: dict[str, Vector] = field(default_factory=dict)
    """One per named vector of the extractor (`vectors` of its protocol)."""
    properties: dict[str, Any] = field(default_factory=dict)
    """Further outputs, among the extractor's `properties`, such as `start_time` in seconds."""
    texts: dict[str, list[str]] = field(default_factory=dict, repr=False)
    """What is still to be embedded, by named vector; of several texts the mean counts."""
    pictures: list[Any] = field(default_factory=list, repr=False)
    """Pictures still to be embedded, RGB (H, W, 3) uint8; of several the mean counts."""
    written: bool = False
    """Whether it is in the index already, by an earlier attempt at the same content."""


@dataclass(frozen=True, slots=True)
class Property:
    """An output of an extractor as the index stores it."""

    name: str
    type: str
    """`text`, `int`, `number` or `boolean`."""
    searchable: bool = False
    """Whether keyword search looks into it."""

"""A Sync's filters, compiled: does it select an asset, and if not, which rule says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

from telecine.api.bucket import BucketSpec
from telecine.api.sync import MetadataFilter, SyncSpec
from telecine.planning.globs import Matcher, compile_glob
from telecine.planning.mapping import Mapped, Mapper, guess_mime
from telecine.planning.metadata import ABSENT, look_up, matches
from telecine.planning.types import Asset, Recipe


class Outcome(Enum):
    MATCH = "match"
    SKIP = "skip"
    NEEDS_METADATA = "needs_metadata"


class Verdict(NamedTuple):
    """Whether an asset is selected; for SKIP, the rule that decided and what it found."""

    outcome: Outcome
    reason: str = ""
    detail: str = ""


MATCH = Verdict(Outcome.MATCH)
NEEDS = Verdict(Outcome.NEEDS_METADATA)


def skip(reason: str, detail: str = "") -> Verdict:
    return Verdict(Outcome.SKIP, reason, detail)


@dataclass(frozen=True)
class Rules:
    """Everything that decides about an asset, and no I/O."""

    sync_name: str
    connection: str
    reconcile: bool
    prune: bool
    recipes: frozenset[str]
    unversioned: frozenset[str]
    now: float
    include: tuple[Matcher, ...]
    exclude: tuple[tuple[str, Matcher], ...]
    extensions: tuple[str, ...]
    mime_types: tuple[str, ...]
    min_size: int | None
    max_size: int | None
    modified_after: float | None
    modified_before: float | None
    metadata: tuple[MetadataFilter, ...]
    mapper: Mapper

    @classmethod
    def build(
        cls,
        sync: SyncSpec,
        sync_name: str,
        bucket: BucketSpec,
        *,
        connection: str,
        recipes: Sequence[Recipe],
        unversioned: frozenset[str] = frozenset(),
        now: float = 0.0,
    ) -> Rules:
        """Compiles the spec; `now` in seconds since the epoch decides which retries are due."""
        given = sync.filters()
        after, before = given.modified_after, given.modified_before
        return cls(
            sync_name=sync_name,
            connection=connection,
            reconcile=sync.reconcile_on_sync,
            prune=sync.prune,
            recipes=frozenset(recipe.key for recipe in recipes),
            unversioned=unversioned,
            now=now,
            include=tuple(compile_glob(p) for p in given.include_patterns or ()),
            exclude=tuple((p, compile_glob(p)) for p in given.exclude_patterns or ()),
            extensions=tuple("." + e.lower().lstrip(".") for e in given.extensions or ()),
            mime_types=tuple(m.lower() for m in given.mime_types or ()),
            min_size=given.min_size,
            max_size=given.max_size,
            modified_after=after.timestamp() if after else None,
            modified_before=before.timestamp() if before else None,
            metadata=tuple(given.metadata_filters or ()),
            mapper=Mapper(sync.schema_mapping, bucket.properties()),
        )

    @property
    def fields(self) -> frozenset[str]:
        """Metadata fields that filters and mappings read, as they are written."""
        return frozenset(rule.field for rule in self.metadata) | self.mapper.fields_needed()

    @property
    def described_fields(self) -> frozenset[str]:
        """First parts of those fields, for `Provider.describe`."""
        return frozenset(field.partition(".")[0] for field in self.fields)

    @property
    def reads_unversioned(self) -> bool:
        """Whether a field is read that can change without the asset's version changing."""
        return bool(self.described_fields & self.unversioned)

    def judge(self, asset: Asset, metadata: Mapping[str, Any] | None = None) -> Verdict:
        """Whether the Sync selects the asset.

        `metadata` given: all there is to know (the ledger's, for an unchanged asset). Otherwise
        the asset's own, and NEEDS_METADATA when that is not enough to decide.
        """
        if asset.unavailable is not None:
            return skip(asset.unavailable)
        cheap = self._cheap(asset)
        if cheap is not None:
            return cheap
        complete = asset.complete or metadata is not None
        known = metadata if metadata is not None else asset.metadata or {}
        if not complete and not self._answerable(known):
            return NEEDS
        for number, rule in enumerate(self.metadata):
            if not matches(rule, known):
                found = look_up(known, rule.field)
                what = "nothing" if found is ABSENT else repr(found)
                wanted = f"{rule.field} {rule.operator.value} {rule.value!r}"
                return skip("metadata_filters", f"[{number}] {wanted}, found {what}")
        mapped = self.mapper.apply(asset, known)
        if isinstance(mapped, str):
            reason, _, detail = mapped.partition(" ")
            return skip(reason, detail)
        return MATCH

    def map(self, asset: Asset) -> Mapped:
        """The object's property, type and fields, for an asset that is selected."""
        mapped = self.mapper.apply(asset, asset.metadata or {})
        if isinstance(mapped, str):
            raise ValueError(f"{asset.path}: {mapped}")
        return mapped

    def _answerable(self, known: Mapping[str, Any]) -> bool:
        return all(look_up(known, field) is not ABSENT for field in self.fields)

    def _cheap(self, asset: Asset) -> Verdict | None:
        """The filters that every listing can answer. An unknown size or time passes."""
        if self.min_size is not None and 0 <= asset.size < self.min_size:
            return skip("min_size", f"{asset.size} bytes is under {self.min_size}")
        if self.max_size is not None and asset.size > self.max_size:
            return skip("max_size", f"{asset.size} bytes is over {self.max_size}")
        if asset.modified:
            if self.modified_after is not None and asset.modified <= self.modified_after:
                return skip("modified_after")
            if self.modified_before is not None and asset.modified >= self.modified_before:
                return skip("modified_before")
        if self.extensions and not asset.path.lower().endswith(self.extensions):
            return skip("extensions", f"ends in none of {', '.join(self.extensions)}")
        if self.include and not any(match(asset.path) for match in self.include):
            return skip("include_patterns", "matches none")
        for pattern, match in self.exclude:
            if match(asset.path):
                return skip("exclude_patterns", pattern)
        if self.mime_types:
            mime_type = (asset.mime_type or guess_mime(asset.path)).lower()
            if not any(_mime_matches(mime_type, wanted) for wanted in self.mime_types):
                return skip("mime_types", f"is {mime_type}")
        return None


def _mime_matches(mime_type: str, wanted: str) -> bool:
    base = mime_type.partition(";")[0].strip()
    return base.startswith(wanted[:-1]) if wanted.endswith("/*") else base == wanted

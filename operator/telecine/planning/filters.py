"""A Sync's filters, compiled: does it select an asset, and if not, which rule says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from functools import cached_property
from typing import Any, NamedTuple

from telecine.api.bucket import BucketSpec
from telecine.api.sync import MetadataFilter, SyncSpec
from telecine.planning.globs import Matcher, compile_glob
from telecine.planning.mapping import Mapped, Mapper, Misfit
from telecine.planning.metadata import ABSENT, look_up, matches
from telecine.planning.mimes import known_mime, mime_of, told_mime
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
#: Of a value in a detail; metadata may hold whole documents.
_SHOWN = 200


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
            include=tuple(compile_glob(p) for p in given.include_patterns),
            exclude=tuple((p, compile_glob(p)) for p in given.exclude_patterns),
            extensions=tuple("." + e.lower().lstrip(".") for e in given.extensions),
            mime_types=tuple(m.lower() for m in given.mime_types),
            min_size=given.min_size,
            max_size=given.max_size,
            modified_after=after.timestamp() if after else None,
            modified_before=before.timestamp() if before else None,
            metadata=tuple(given.metadata_filters),
            mapper=Mapper(sync.schema_mapping, bucket.properties()),
        )

    @cached_property
    def fields(self) -> frozenset[str]:
        """Metadata fields that filters and mappings read, as they are written."""
        return frozenset(rule.field for rule in self.metadata) | self.mapper.fields_needed

    @cached_property
    def described_fields(self) -> frozenset[str]:
        """First parts of those fields, for `Provider.describe`."""
        return frozenset(field.partition(".")[0] for field in self.fields)

    @cached_property
    def reads_unversioned(self) -> bool:
        """Whether a field is read that can change without the asset's version changing."""
        return bool(self.described_fields & self.unversioned)

    @cached_property
    def type_matters(self) -> bool:
        """Whether the mime type that the source tells can decide about an asset."""
        return bool(self.mime_types) or self.mapper.type_matters()

    @cached_property
    def is_plain(self) -> bool:
        """Whether metadata and type decide nothing but which property an asset fills."""
        return not (self.mime_types or self.metadata or self.mapper.has_fields)

    @cached_property
    def _takes_all(self) -> bool:
        sizes, times = (self.min_size, self.max_size), (self.modified_after, self.modified_before)
        patterns = self.extensions or self.include or self.exclude or self.mime_types
        return not patterns and all(bound is None for bound in (*sizes, *times))

    def plainly_selects(self, asset: Asset, mime_type: str | None) -> bool:
        """With `is_plain`, whether an asset of that type, unless its own is told, is selected.

        False also where `judge` would have to be asked.
        """
        told = asset.mime_type or mime_type
        return (
            told is not None
            and asset.unavailable is None
            and (self._takes_all or self._by_listing(asset, False) is None)
            and self.mapper.fits(told)
        )

    def judge(self, asset: Asset, metadata: Mapping[str, Any] | None = None) -> Verdict:
        """Whether the Sync selects the asset.

        `metadata` given: all there is to know. Otherwise the asset's own, and NEEDS_METADATA when
        that is not enough to decide; what it tells already can leave the asset out at once. Where
        the type matters and neither source nor name tells it, the metadata are needed as well.
        """
        if asset.unavailable is not None:
            return skip(asset.unavailable)
        complete = asset.complete or metadata is not None
        typeless = not complete and self.type_matters and _is_typeless(asset)
        verdict = self._by_listing(asset, typeless)
        if verdict is not None:
            return verdict
        known = metadata if metadata is not None else asset.metadata or {}
        undecided = typeless
        for number, rule in enumerate(self.metadata):
            if not complete and look_up(known, rule.field) is ABSENT:
                undecided = True
            elif not matches(rule, known):
                return skip("filtered", _mismatch(number, rule, known))
        if undecided or not (complete or self._maps_from(known)):
            return NEEDS
        mapped = self.mapper.apply(asset, known)
        return Verdict(Outcome.SKIP, *mapped) if isinstance(mapped, Misfit) else MATCH

    def map(self, asset: Asset) -> Mapped:
        """The object's property, type and fields, for an asset that is selected.

        Raises:
            ValueError: it does not fit the Bucket.
        """
        mapped = self.mapper.apply(asset, asset.metadata or {})
        if isinstance(mapped, Misfit):
            raise ValueError(f"{asset.path!r}: {mapped.reason}: {mapped.detail}")
        return mapped

    def _maps_from(self, known: Mapping[str, Any]) -> bool:
        return all(look_up(known, field) is not ABSENT for field in self.mapper.fields_needed)

    def _by_listing(self, asset: Asset, typeless: bool) -> Verdict | None:
        """The filters that a listing can answer; None when all hold.

        A size or time that the listing does not tell passes.
        """
        if self.min_size is not None and 0 <= asset.size < self.min_size:
            return skip("below_min_size", f"{asset.size} bytes is under {self.min_size}")
        if self.max_size is not None and asset.size > self.max_size:
            return skip("above_max_size", f"{asset.size} bytes is over {self.max_size}")
        if asset.modified:
            if self.modified_after is not None and asset.modified <= self.modified_after:
                return skip("modified_after", f"{_time(asset.modified)} is too early")
            if self.modified_before is not None and asset.modified >= self.modified_before:
                return skip("modified_before", f"{_time(asset.modified)} is too late")
        if self.extensions and not asset.path.lower().endswith(self.extensions):
            return skip("extensions", f"ends in none of {', '.join(self.extensions)}")
        if self.include and not any(match(asset.path) for match in self.include):
            return skip("include_patterns", "matches none")
        for pattern, match in self.exclude:
            if match(asset.path):
                return skip("exclude_patterns", f"matches {pattern}")
        if self.mime_types and not typeless:
            mime_type = mime_of(asset)
            if not any(_mime_matches(mime_type, wanted) for wanted in self.mime_types):
                return skip("mime_types", f"is {mime_type}")
        return None


def _is_typeless(asset: Asset) -> bool:
    return told_mime(asset) is None and known_mime(asset.path) is None


def _mismatch(number: int, rule: MetadataFilter, known: Mapping[str, Any]) -> str:
    found = look_up(known, rule.field)
    shown = "nothing" if found is ABSENT else repr(found)
    if len(shown) > _SHOWN:
        shown = f"{shown[:_SHOWN]}..."
    return f"[{number}] {rule.field} {rule.operator.value} {rule.value!r}, found {shown}"


def _time(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat()
    except (OverflowError, ValueError, OSError):
        return f"{seconds} s"  # file systems can hold years that a calendar cannot


def _mime_matches(mime_type: str, wanted: str) -> bool:
    if wanted == "*/*":
        return True
    base = mime_type.partition(";")[0].strip()
    return base.startswith(wanted[:-1]) if wanted.endswith("/*") else base == wanted

"""schemaMapping: which blob property an asset fills, and the fields of its object."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from telecine.api.bucket import BlobType, SchemaProperty
from telecine.api.sync import MappingSource, MappingTarget, MappingTransform, SchemaMapping
from telecine.planning.metadata import ABSENT, look_up
from telecine.planning.mimes import UNKNOWN, blob_type, guess_mime, mime_of
from telecine.planning.types import Asset

__all__ = ["Mapped", "Mapper", "Misfit", "blob_type", "guess_mime"]

#: Characters of a file name that a pattern sees. Python's `re` has no bound of time: a pattern
#: with nested repetition can still be slow, and slows only the runs of the Sync that has it.
_REGEX_INPUT = 1024


class Mapped(NamedTuple):
    """What an asset becomes in its Bucket."""

    blob_property: str
    mime_type: str
    fields: dict[str, Any]


class Misfit(NamedTuple):
    """Why an asset does not fit its Bucket: `schema_mismatch` or `required_mapping`."""

    reason: str
    detail: str


class _Blob(NamedTuple):
    """One mapping with `targetType: blob`."""

    property: str
    mime_type: str | None


def accepted(kind: BlobType) -> tuple[BlobType, ...]:
    """Types of property that take such a blob, the best first."""
    wider = (BlobType.TEXT,) if kind is BlobType.JSON else ()
    return tuple(dict.fromkeys((kind, *wider, BlobType.BINARY)))


class Mapper:
    """A Sync's schemaMapping, compiled."""

    def __init__(
        self,
        mapping: Mapping[str, SchemaMapping] | None,
        properties: Mapping[str, SchemaProperty],
    ) -> None:
        given = mapping or {}
        self._properties = dict(properties)
        self._fields = {
            name: one for name, one in given.items() if one.target_type is MappingTarget.FIELD
        }
        self._blobs = [
            _Blob(one.blob_property or name, one.mime_type_override)
            for name, one in given.items()
            if one.target_type is MappingTarget.BLOB
        ]
        self._patterns = {
            name: re.compile(one.pattern)
            for name, one in self._fields.items()
            if one.source is MappingSource.FILENAME_REGEX and one.pattern
        }
        self._sources: dict[MappingSource, Callable[..., Any]] = {
            MappingSource.FILE: lambda name, one, asset, metadata: asset.path,
            MappingSource.TAG: _tag,
            MappingSource.METADATA: lambda name, one, asset, metadata: look_up(
                metadata, one.key or ""
            ),
            MappingSource.FILENAME_REGEX: self._filename_regex,
            MappingSource.FOLDER_PATH: _folder_path,
            MappingSource.CONSTANT: lambda name, one, asset, metadata: one.value,
        }
        # Types are the source's own words, so there may be any number of them.
        self._place = lru_cache(1024)(self._placed)
        self.fields_needed = frozenset(_fields_needed(self._fields.values()))
        """Metadata fields that the mapping reads, as they are written."""
        self.decides_type = bool(self._blobs) and all(blob.mime_type for blob in self._blobs)
        """Whether the mapping says what every asset is, whatever the source tells."""
        self.overrides_type = any(blob.mime_type for blob in self._blobs)

    @property
    def has_fields(self) -> bool:
        """Whether anything but the blob property is filled."""
        return bool(self._fields)

    def fits(self, mime_type: str) -> bool:
        """Whether an asset of that type fills a property."""
        return not isinstance(self._place(mime_type), Misfit)

    def type_matters(self) -> bool:
        """Whether the type that the source tells can decide about an asset."""
        takes = {prop.type for prop in self._properties.values()}
        return not self.decides_type and (bool(self._blobs) or takes != {BlobType.BINARY})

    def apply(self, asset: Asset, metadata: Mapping[str, Any]) -> Mapped | Misfit:
        """The mapped asset, or why it does not fit the Bucket."""
        place = self._place(mime_of(asset))
        if isinstance(place, Misfit):
            return place
        fields: dict[str, Any] = {}
        for name, one in self._fields.items():
            value = self._value(name, one, asset, metadata)
            if value is not None:
                fields[name] = value
            elif one.required:
                return Misfit("required_mapping", f"{name}: {one.source.value} gives no value")
        return Mapped(*place, fields)

    def _placed(self, mime_type: str) -> tuple[str, str] | Misfit:
        """Which property an asset of that type fills, and as what."""
        if not self._blobs:
            kind = blob_type(mime_type)
            for taken in accepted(kind):
                for name, prop in self._properties.items():
                    if prop.type is taken:
                        return name, mime_type
            wanted = ", ".join(f"{n} ({p.type.value})" for n, p in self._properties.items())
            return Misfit("schema_mismatch", f"{mime_type} fits none of {wanted}")
        refused = []
        for blob in self._blobs:
            told = blob.mime_type or mime_type
            if blob.property not in self._properties:
                refused.append(f"the Bucket has no property {blob.property}")
            elif self._properties[blob.property].type in accepted(blob_type(told)):
                return blob.property, told
            else:
                takes = self._properties[blob.property].type.value
                hint = "" if mime_type != UNKNOWN else ", or give it a mimeTypeOverride"
                refused.append(f"{told} does not fit {blob.property} ({takes}){hint}")
        return Misfit("schema_mismatch", "; ".join(refused))

    def _value(
        self, name: str, one: SchemaMapping, asset: Asset, metadata: Mapping[str, Any]
    ) -> Any:
        """The source's value after its transform, else the default after it, else None."""
        found = self._sources[one.source](name, one, asset, metadata)
        value = None if found is ABSENT else _transformed(found, one.transform)
        if value is not None and value != "":
            return value
        if one.default is None:
            return None
        value = _transformed(one.default, one.transform)
        return one.default if value is None else value

    def _filename_regex(
        self, name: str, one: SchemaMapping, asset: Asset, metadata: Mapping[str, Any]
    ) -> Any:
        found = self._patterns[name].search(asset.path.rpartition("/")[2][:_REGEX_INPUT])
        return None if found is None else found.group(1 if found.re.groups else 0)


def _fields_needed(mappings: Iterable[SchemaMapping]) -> Iterator[str]:
    for one in mappings:
        if one.source is MappingSource.TAG:
            yield "tags"
        elif one.source is MappingSource.METADATA:
            yield one.key or ""


def _tag(name: str, one: SchemaMapping, asset: Asset, metadata: Mapping[str, Any]) -> Any:
    tags = metadata.get("tags")
    return tags.get(one.key) if isinstance(tags, Mapping) else None


def _folder_path(name: str, one: SchemaMapping, asset: Asset, metadata: Mapping[str, Any]) -> Any:
    folder = asset.path.rpartition("/")[0]
    if one.segment is None:
        return folder
    parts = folder.split("/") if folder else []
    return parts[one.segment] if -len(parts) <= one.segment < len(parts) else None


def _transformed(value: Any, transform: MappingTransform | None) -> Any:
    """The value after its transform; what is no text stays as it is, also inside of a list.

    None when `json_parse` cannot read it.
    """
    if isinstance(value, list | tuple):
        return [_transformed(item, transform) for item in value]
    if transform is None or not isinstance(value, str):
        return value
    match transform:
        case MappingTransform.LOWERCASE:
            return value.lower()
        case MappingTransform.UPPERCASE:
            return value.upper()
        case MappingTransform.TRIM:
            return value.strip()
        case MappingTransform.JSON_PARSE:
            try:
                return json.loads(value, parse_constant=_no_constant)
            except (ValueError, RecursionError):
                return None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")

"""Which assets a Sync or Pipeline takes, and what it reads from each."""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    ConfigDict,
    Field,
    JsonValue,
    WithJsonSchema,
    model_validator,
)

from telecine.api.base import ApiModel, rules

Pattern = Annotated[str, Field(min_length=1, max_length=1024)]


class FilterOperator(StrEnum):
    CONTAINS = "contains"
    EQUALS = "equals"
    NOT_EQUALS = "not_equals"
    NOT_CONTAINS = "not_contains"
    GT = "gt"
    LT = "lt"
    GTE = "gte"
    LTE = "lte"
    EXISTS = "exists"


_NUMERIC = (FilterOperator.GT, FilterOperator.LT, FilterOperator.GTE, FilterOperator.LTE)
_NUMBER = r"^-?[0-9]+([.][0-9]+)?([eE][-+]?[0-9]+)?$"

#: A string, number or boolean. A structural schema has no union of types, and CEL does not see a
#: node without one; bounds that only an object or a list can break refuse these, empty or not.
_SCALAR: dict[str, Any] = {
    "x-kubernetes-preserve-unknown-fields": True,
    "minProperties": 1,
    "maxProperties": 0,
    "minItems": 1,
    "maxItems": 0,
    "maxLength": 1024,
}
#: A value of metadata in a manifest.
Scalar = Annotated[
    Annotated[str, Field(max_length=1024)] | int | float | bool,
    WithJsonSchema({**_SCALAR, "description": "A string, number or boolean."}),
]
_COMPARED = {
    **_SCALAR,
    "description": "A string, number or boolean; a number for gt, lt, gte and lte.",
}


def _unless(operators: Iterable[FilterOperator], schema: dict[str, Any]) -> dict[str, Any]:
    """`schema` must hold unless the operator is one of these.

    The API server words its message after the alternative in which most checks succeeded. The
    checks of `field` and `operator` always do: they make that the one which speaks of the value.
    """
    certain = {"field": {"minLength": 1}, "operator": {"minLength": 1}}
    wanted = {**schema, "properties": {**schema.get("properties", {}), **certain}}
    others = {"properties": {"operator": {"enum": [operator.value for operator in operators]}}}
    return {"anyOf": [wanted, others]}


_FILTER_RULES: list[JsonValue] = [
    _unless([FilterOperator.EXISTS], {"required": ["value"]}),
    _unless(
        [o for o in FilterOperator if o not in _NUMERIC],
        {"properties": {"value": {"pattern": _NUMBER, "not": {"enum": [True, False]}}}},
    ),
    _unless(
        [o for o in FilterOperator if o is not FilterOperator.EXISTS],
        {"properties": {"value": {"enum": [True, False]}}},
    ),
]


class MetadataFilter(ApiModel):
    """One rule over an asset's metadata, for example `meta.external_id equals a-1`."""

    model_config = ConfigDict(json_schema_extra={"allOf": _FILTER_RULES})

    field: Annotated[str, Field(min_length=1, max_length=512)]
    operator: FilterOperator
    value: Annotated[Scalar, WithJsonSchema(_COMPARED)] = Field(
        default_factory=lambda: True  # A default in the CRD would hide a missing value.
    )

    @model_validator(mode="after")
    def _value_fits_operator(self) -> Self:
        if self.operator is FilterOperator.EXISTS:
            if not isinstance(self.value, bool):
                raise ValueError("value: `exists` needs true or false, or no value for true")
        elif "value" not in self.model_fields_set:
            raise ValueError(f"value: `{self.operator}` needs one")
        elif self.operator in _NUMERIC and (
            isinstance(self.value, bool) or not re.fullmatch(_NUMBER, str(self.value))
        ):
            raise ValueError(f"value: `{self.operator}` needs a number, not {self.value!r}")
        return self


class FileFilters(ApiModel):
    """All given filters must hold (AND). An absent or empty one accepts everything."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "!has(self.minSize) || !has(self.maxSize) || self.minSize <= self.maxSize",
                "minSize must not be greater than maxSize",
            ),
            (
                "!has(self.modifiedAfter) || !has(self.modifiedBefore) || "
                "self.modifiedAfter < self.modifiedBefore",
                "modifiedAfter must be earlier than modifiedBefore",
            ),
        )
    )

    include_patterns: Annotated[list[Pattern], Field(max_length=256)] = Field(
        default_factory=list,
        description=(
            "Glob patterns; without `/` they match the file name in any folder, with `/` the "
            "path from the Sync's root (`**` crosses folders)."
        ),
    )
    exclude_patterns: Annotated[list[Pattern], Field(max_length=256)] = Field(default_factory=list)
    extensions: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=32)]], Field(max_length=256)
    ] = Field(default_factory=list, description="With or without the dot, in any case.")
    mime_types: Annotated[
        list[Annotated[str, Field(min_length=3, max_length=255)]], Field(max_length=256)
    ] = Field(default_factory=list, description="`image/png` or `image/*`.")
    min_size: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="Bytes, inclusive."
    )
    max_size: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="Bytes, inclusive."
    )
    modified_after: AwareDatetime | None = Field(
        default=None, description="RFC 3339 with a zone, exclusive."
    )
    modified_before: AwareDatetime | None = Field(
        default=None, description="RFC 3339 with a zone, exclusive."
    )
    metadata_filters: Annotated[list[MetadataFilter], Field(max_length=64)] = Field(
        default_factory=list
    )

    @model_validator(mode="after")
    def _bounds_in_order(self) -> Self:
        if (
            self.min_size is not None
            and self.max_size is not None
            and self.min_size > self.max_size
        ):
            raise ValueError("minSize must not be greater than maxSize")
        if (
            self.modified_after is not None
            and self.modified_before is not None
            and self.modified_after >= self.modified_before
        ):
            raise ValueError("modifiedAfter must be earlier than modifiedBefore")
        return self


class MappingSource(StrEnum):
    FILE = "file"
    TAG = "tag"
    METADATA = "metadata"
    FILENAME_REGEX = "filename_regex"
    FOLDER_PATH = "folder_path"
    CONSTANT = "constant"


class MappingTransform(StrEnum):
    LOWERCASE = "lowercase"
    UPPERCASE = "uppercase"
    TRIM = "trim"
    JSON_PARSE = "json_parse"


class MappingTarget(StrEnum):
    FIELD = "field"
    BLOB = "blob"


_MAPPING_NEEDS = (
    (MappingSource.TAG, "key"),
    (MappingSource.METADATA, "key"),
    (MappingSource.FILENAME_REGEX, "pattern"),
    (MappingSource.CONSTANT, "value"),
)


def _needs(source: MappingSource, field: str) -> str:
    return f"`{field}` must be given when source is {source}"


def _compiles(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from error
    return pattern


#: Evaluating an expression that does not parse is an error, and refuses it. Look-around and
#: backreferences are known to Python and not to the API server, which lets them pass unseen.
_REGULAR_EXPRESSION = rules(
    (
        r"self.matches('[(][?]|[\\\\][1-9]') || ''.matches(self) || !''.matches(self)",
        "pattern must be a regular expression",
    )
)


class SchemaMapping(ApiModel):
    """How one target of an object is filled from an asset."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            *(
                (f"self.source != '{source}' || has(self.{field})", _needs(source, field))
                for source, field in _MAPPING_NEEDS
            )
        )
    )

    target_type: MappingTarget = MappingTarget.FIELD
    source: MappingSource
    key: Annotated[str, Field(min_length=1, max_length=512)] | None = Field(
        default=None, description="Name of the tag or metadata field (dotted paths allowed)."
    )
    pattern: (
        Annotated[str, Field(min_length=1, max_length=1024), AfterValidator(_compiles)] | None
    ) = Field(
        default=None,
        description="filename_regex: a regular expression, its first group is the value.",
        json_schema_extra=_REGULAR_EXPRESSION,
    )
    segment: int | None = Field(
        default=None,
        description="folder_path: index of the folder, negative from the end; absent: all.",
    )
    value: Annotated[str, Field(max_length=4096)] | None = Field(
        default=None, description="constant: the value."
    )
    default: Annotated[str, Field(max_length=4096)] | None = Field(
        default=None, description="Used when the source gives nothing."
    )
    transform: MappingTransform | None = None
    required: bool = Field(default=False, description="Without a value the asset is skipped.")
    blob_property: Annotated[str, Field(max_length=253)] | None = Field(
        default=None, description="blob: the Bucket's property; default is the target's name."
    )
    mime_type_override: Annotated[str, Field(max_length=255)] | None = None

    @model_validator(mode="after")
    def _source_has_what_it_needs(self) -> Self:
        for source, field in _MAPPING_NEEDS:
            if self.source is source and getattr(self, field) is None:
                raise ValueError(_needs(source, field))
        return self

"""Bucket: a schema-validated container of objects."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Self

from pydantic import ConfigDict, Field, model_validator

from telecine.api.base import ApiModel, CommonStatus, NameRef, rules
from telecine.api.namespace import DeletionPolicy


class BlobType(StrEnum):
    TEXT = "text"
    IMAGE = "image"
    AUDIO = "audio"
    VIDEO = "video"
    JSON = "json"
    BINARY = "binary"


class SchemaProperty(ApiModel):
    type: BlobType
    required: bool = False


class BucketSchema(ApiModel):
    properties: Annotated[dict[str, SchemaProperty], Field(min_length=1, max_length=64)]


class BucketStorage(ApiModel):
    """Where direct uploads go. Assets of Syncs stay where they are and are never copied."""

    connection_ref: NameRef
    prefix: Annotated[str, Field(max_length=1024)] = ""


_EITHER = "give either `schema` or `blobType`, which is short for a schema of one property"


class BucketSpec(ApiModel):
    model_config = ConfigDict(
        json_schema_extra=rules(("has(self.schema) != has(self.blobType)", _EITHER))
    )

    namespace_ref: NameRef = Field(
        json_schema_extra=rules(
            ("self == oldSelf", "namespaceRef is immutable: create another Bucket")
        )
    )
    description: Annotated[str, Field(max_length=1024)] | None = None
    schema_: BucketSchema | None = Field(default=None, alias="schema")
    blob_type: BlobType | None = None
    storage: BucketStorage | None = None
    deletion_policy: DeletionPolicy = DeletionPolicy.DELETE

    @model_validator(mode="after")
    def _schema_or_blob_type(self) -> Self:
        if (self.schema_ is None) == (self.blob_type is None):
            raise ValueError(_EITHER)
        return self

    def properties(self) -> dict[str, SchemaProperty]:
        """The schema's properties; `blobType: video` is one required property `video`."""
        if self.schema_ is not None:
            return self.schema_.properties
        if self.blob_type is None:
            raise ValueError("spec: give either schema or blobType")
        return {self.blob_type.value: SchemaProperty(type=self.blob_type, required=True)}


class BucketStatus(CommonStatus):
    objects: int | None = None
    failed: int | None = None
    pending: int | None = None
    syncs: int | None = None

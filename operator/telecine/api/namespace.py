"""Namespace: the isolation boundary, one tenant in Weaviate."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import ConfigDict, Field, model_validator

from telecine.api.base import ApiModel, CommonStatus, NameRef, StatusModel, rules


class DeletionPolicy(StrEnum):
    """What happens to the index when the resource goes."""

    DELETE = "Delete"
    ORPHAN = "Orphan"


class NamespaceState(StrEnum):
    ACTIVE = "ACTIVE"
    SUSPENDED = "SUSPENDED"
    ARCHIVED = "ARCHIVED"


class FeatureExtractor(ApiModel):
    """A named and versioned recipe that turns an object into documents."""

    name: Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z][a-z0-9_]*$")]
    version: Annotated[str, Field(min_length=1, max_length=16, pattern=r"^v[0-9]+$")] = "v1"
    parameters: dict[str, Any] = Field(
        default_factory=dict,
        description="Parameters of the extractor, for example `model` of text_extractor.",
        json_schema_extra={"x-kubernetes-preserve-unknown-fields": True},
    )


class WeaviateRef(ApiModel):
    """Which Weaviate holds the tenant. Absent: the operator's own setting."""

    connection_ref: NameRef | None = None


class NamespaceSpec(ApiModel):
    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "has(self.tenant) == has(oldSelf.tenant) && "
                "(!has(self.tenant) || self.tenant == oldSelf.tenant)",
                "tenant is immutable: delete and create the Namespace anew",
            ),
        )
    )

    feature_extractors: Annotated[
        list[FeatureExtractor],
        Field(
            min_length=1,
            max_length=16,
            json_schema_extra={
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"],
            },
        ),
    ]
    state: NamespaceState = Field(
        default=NamespaceState.ACTIVE,
        description="SUSPENDED makes the Weaviate tenant INACTIVE, ARCHIVED makes it OFFLOADED.",
    )
    weaviate: WeaviateRef | None = None
    tenant: (
        Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")] | None
    ) = Field(default=None, description="Overrides the tenant's name in Weaviate. Immutable.")
    deletion_policy: DeletionPolicy = DeletionPolicy.DELETE

    @model_validator(mode="after")
    def _extractor_names_are_unique(self) -> Self:
        names = [extractor.name for extractor in self.feature_extractors]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"featureExtractors: {name} is given more than once")
        return self


class ServingExtractor(StatusModel):
    """Which collection answers searches for an extractor."""

    name: str
    version: str
    recipe: str = Field(description="Digest of name, version and parameters.")
    collection: str
    parameters: dict[str, Any] = Field(
        default_factory=dict, json_schema_extra={"x-kubernetes-preserve-unknown-fields": True}
    )


class NamespaceStatus(CommonStatus):
    tenant: str | None = None
    tenant_state: str | None = Field(default=None, description="As Weaviate calls it.")
    serving: list[ServingExtractor] = Field(default_factory=list)
    features: dict[str, str] = Field(
        default_factory=dict,
        description="What the extractors' workers said: `EXTRACTOR.FEATURE`: `on`, `disabled` "
        "by a parameter, or `off: ` and why. Filled by the first run that extracts.",
    )
    buckets: int | None = None
    objects: int | None = None
    documents: int | None = None

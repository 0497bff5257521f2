"""What the models of all five kinds share: spelling, conditions, status."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic.alias_generators import to_camel

GROUP = "telecine.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

FINALIZER = f"{GROUP}/cleanup"
REQUESTED_AT = f"{GROUP}/requestedAt"
APPROVE_UNINDEX = f"{GROUP}/approve-unindex"

#: A DNS-1123 subdomain, the form of every Kubernetes object's name.
ResourceName = Annotated[
    str,
    Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"),
]


def _as_in_yaml(value: Any) -> str:
    """A date or time that a YAML reader made of a plain scalar, as text again."""
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} is no part of a manifest")


class ApiModel(BaseModel):
    """A part of a custom resource: camelCase in YAML, unknown fields refused."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="forbid",
        use_enum_values=False,
    )

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> Self:
        """Reads a part of a manifest as strictly as the API server does.

        Unlike `model_validate` it takes no text for a number and no snake_case name. Raises
        pydantic.ValidationError, and TypeError for what JSON does not know (a set, bytes).
        """
        text = json.dumps(body, default=_as_in_yaml)
        return cls.model_validate_json(text, strict=True, by_alias=True, by_name=False)

    def dump(self) -> dict[str, Any]:
        """The YAML form: camelCase, no unset fields, JSON types only."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class StatusModel(ApiModel):
    """A part of a status. Unknown fields are ignored: a newer version may have written them."""

    model_config = ConfigDict(extra="ignore")


def rules(*validations: tuple[str, str], **schema: Any) -> dict[str, Any]:
    """`json_schema_extra` with CEL rules, each a pair of expression and message."""
    return {
        "x-kubernetes-validations": [{"rule": r, "message": m} for r, m in validations],
        **schema,
    }


IMMUTABLE = ("self == oldSelf", "the field is immutable: delete and create the resource anew")


class NameRef(ApiModel):
    """A resource in the same Kubernetes namespace, by name."""

    name: ResourceName


class Phase(StrEnum):
    """The task statuses of the reference system, and COMPLETED_WITH_ERRORS."""

    PENDING = "PENDING"
    IN_PROGRESS = "IN_PROGRESS"
    PROCESSING = "PROCESSING"
    COMPLETED = "COMPLETED"
    COMPLETED_WITH_ERRORS = "COMPLETED_WITH_ERRORS"
    FAILED = "FAILED"
    CANCELED = "CANCELED"
    UNKNOWN = "UNKNOWN"
    SKIPPED = "SKIPPED"
    DRAFT = "DRAFT"
    ACTIVE = "ACTIVE"
    ARCHIVED = "ARCHIVED"
    SUSPENDED = "SUSPENDED"


class ConditionStatus(StrEnum):
    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Condition(StatusModel):
    """A condition as in the Kubernetes API conventions; `Ready`, `Reconciling`, `Stalled`."""

    type: str
    status: ConditionStatus
    reason: str = Field(description="CamelCase, for programs.")
    message: str = Field(default="", description="What is so, and what to do next.")
    observed_generation: int | None = None
    last_transition_time: datetime


class CommonStatus(StatusModel):
    """What the status of every kind begins with."""

    phase: Phase | None = None
    observed_generation: int | None = None
    conditions: Annotated[
        list[Condition],
        Field(
            json_schema_extra={
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["type"],
            }
        ),
    ] = Field(default_factory=list)
    last_handled_reconcile_at: str | None = Field(
        default=None,
        description=f"The last value of the annotation {REQUESTED_AT} that was acted on.",
    )


#: The pattern that controller-gen gives resource.Quantity.
_QUANTITY = (
    r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))"
    r"(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$"
)


def _whole_number_as_text(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


#: A quantity as in a Pod: `500m`, `2Gi`, 2.
Quantity = Annotated[
    str,
    BeforeValidator(_whole_number_as_text),
    Field(max_length=64, pattern=_QUANTITY),
    WithJsonSchema({"x-kubernetes-int-or-string": True, "pattern": _QUANTITY, "maxLength": 64}),
]


class JobTemplate(ApiModel):
    """How the Pods of a run are shaped. The process executor ignores it."""

    resources: (
        Annotated[
            dict[str, Annotated[dict[str, Quantity], Field(max_length=16)]], Field(max_length=2)
        ]
        | None
    ) = Field(default=None, description="`requests` and `limits`, as in a container.")
    node_selector: Annotated[dict[str, str], Field(max_length=64)] | None = None
    tolerations: Annotated[list[dict[str, Any]], Field(max_length=64)] | None = Field(
        default=None, description="As in a Pod."
    )
    queue_name: str | None = Field(default=None, max_length=253, description="Kueue's LocalQueue.")
    runtime_class_name: ResourceName | None = None
    priority_class_name: ResourceName | None = None

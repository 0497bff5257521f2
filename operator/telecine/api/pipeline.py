"""Pipeline: the user's own function over assets."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Self

from pydantic import ConfigDict, Field, model_validator

from telecine.api.base import ApiModel, CommonStatus, JobTemplate, NameRef, rules
from telecine.api.connection import SecretRef
from telecine.api.selection import MetadataFilter, Scalar


class GitSource(ApiModel):
    """A Git repository; `path` is one folder with `handler.py` and `config.json`."""

    url: Annotated[
        str,
        Field(
            min_length=1,
            max_length=2048,
            pattern=r"^(https?|ssh)://[^\s]+$|^[^\s@]+@[^\s:]+:[^\s]+$",
        ),
    ]
    ref: Annotated[str, Field(max_length=255)] = "main"
    path: Annotated[str, Field(max_length=1024)] = "."
    secret_ref: SecretRef | None = Field(
        default=None,
        description="https: `token`, or `username` and `password`; ssh: `ssh_private_key` and "
        "`known_hosts`; for webhooks of pushes `webhook_secret`.",
    )
    polling_interval_seconds: Annotated[int, Field(ge=30, le=86_400)] = Field(
        default=300, description="How often the repository is asked whether `ref` moved."
    )


class InlineSource(ApiModel):
    handler: Annotated[str, Field(min_length=1, max_length=65536)]


class PipelineSource(ApiModel):
    """What is absent here is that of `config.json`."""

    connection_ref: NameRef | None = None
    source_path: Annotated[str, Field(max_length=4096)] | None = None
    filters: Annotated[dict[str, Scalar], Field(max_length=64)] = Field(
        default_factory=dict, description="Metadata that must be equal."
    )
    metadata_filters: Annotated[list[MetadataFilter], Field(max_length=64)] = Field(
        default_factory=list,
        description="With `filters`, in place of those of `config.json`.",
    )


class QueryModel(StrEnum):
    TEXT = "text"
    VISUAL = "visual"


class PipelineDestination(ApiModel):
    """What is absent here is that of `config.json`."""

    connection_ref: NameRef | None = None
    collection: Annotated[str, Field(min_length=1, max_length=255)] | None = None
    query_model: QueryModel | None = Field(
        default=None,
        description="Which of Telecine's models `telecine search` embeds a query with, so that it "
        "compares with the handler's vectors.",
    )


class OnChange(StrEnum):
    NEW = "New"
    ALL = "All"


_EITHER = "give either `git` or `inline`"


class PipelineSpec(ApiModel):
    model_config = ConfigDict(
        json_schema_extra=rules(("has(self.git) != has(self.inline)", _EITHER))
    )

    alias: Annotated[str, Field(min_length=1, max_length=253)] | None = None
    git: GitSource | None = None
    inline: InlineSource | None = None
    image: Annotated[str, Field(min_length=1, max_length=1024)] | None = None
    source: PipelineSource | None = None
    destination: PipelineDestination | None = None
    secret_ref: SecretRef | None = Field(
        default=None, description="Its keys become environment variables of the handler."
    )
    on_change: OnChange = OnChange.NEW
    timeout_seconds: Annotated[int, Field(ge=1, le=86_400)] = Field(
        default=600, description="How long the handler may take for one asset."
    )
    job_template: JobTemplate | None = None
    suspend: bool = False

    @model_validator(mode="after")
    def _git_or_inline(self) -> Self:
        if (self.git is None) == (self.inline is None):
            raise ValueError(_EITHER)
        return self


class PipelineStatus(CommonStatus):
    alias: str | None = Field(
        default=None, description="That of the spec, or else of `config.json`; no other has it."
    )
    commit: str | None = Field(default=None, description="Whose code runs on what is new.")
    digest: str | None = Field(default=None, description="Of the files of that code.")
    source_checked_time: datetime | None = Field(
        default=None, description="When the Git repository was last asked."
    )
    source_fault: str | None = Field(
        default=None, description="Why the repository did not answer then: reason and message."
    )
    secret_resource_version: str | None = Field(
        default=None, description="Of the repository's Secret with which it was asked."
    )
    webhook_url: str | None = Field(
        default=None, description="Where the Git server is to send its webhooks of pushes."
    )
    sync: str | None = Field(
        default=None, description="Namespace, Bucket and Sync of this name do the Pipeline's work."
    )
    collection: str | None = Field(default=None, description="Where its documents are.")
    tenant: str | None = None
    objects: int | None = None
    indexed: int | None = Field(default=None, description="Assets whose documents are there.")
    failed: int | None = None
    pending: int | None = None
    last_sync_time: datetime | None = None

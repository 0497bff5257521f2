"""Settings of the operator, its workers and the command line, from the environment."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


def cache_dir() -> Path:
    """Where binaries and development environments are kept: `$TELECINE_CACHE`, else XDG's."""
    import os

    given = os.environ.get("TELECINE_CACHE")
    if given:
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "telecine"


class Settings(BaseSettings):
    """Each field is `TELECINE_` and its name in capitals, as `TELECINE_WEAVIATE_ENDPOINT`."""

    model_config = SettingsConfigDict(env_prefix="TELECINE_", extra="ignore")

    weaviate_endpoint: str = "http://127.0.0.1:8080"
    weaviate_grpc_host: str | None = None
    weaviate_grpc_port: int = 50051
    weaviate_grpc_secure: bool | None = None
    weaviate_api_key: SecretStr | None = None
    weaviate_secret: str | None = Field(
        default=None,
        description="`namespace/name` of a Secret with key `api_key`, read when used.",
    )
    handler_socket: Path | None = Field(
        default=None,
        description="Where the handlers' container of a worker's Pod listens; set in Jobs.",
    )
    tenant_prefix: str = Field(default="", description="When clusters share one Weaviate.")
    kube_namespace: str | None = Field(
        default=None, description="Watch this Kubernetes namespace only; absent: all."
    )
    executor: Literal["process", "kubernetes"] = Field(
        default="process", description="Where workers run: as processes of the operator, or Jobs."
    )
    state_dir: Path | None = Field(default=None, description="The process executor's files.")
    scratch_dir: Path | None = Field(default=None, description="Where workers put content.")
    health_port: int = Field(default=0, ge=0, le=65535, description="0: no health endpoint.")
    metrics_port: int = Field(default=0, ge=0, le=65535, description="0: no metrics.")
    reconcilers: int = Field(default=4, ge=1, description="Resources reconciled at once.")
    max_workers: int = Field(default=2, ge=1, description="Worker processes at once.")
    worker_image: str | None = Field(default=None, description="Of the Jobs' Pods.")
    worker_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    worker_templates: list[dict[str, Any]] = Field(
        default_factory=list,
        description="JSON: merged one after another into the Pod template of every Job.",
    )
    job_retries: int = Field(default=3, ge=0, description="Of each index of a Job.")
    job_ttl_seconds: int = Field(default=3600, ge=0, description="Until an ended Job is removed.")
    job_deadline_seconds: int = Field(
        default=86_400, ge=60, description="A Job that takes longer has failed."
    )
    lease_seconds: int = Field(default=15, ge=2)
    connection_check_seconds: int = Field(default=600, ge=1)
    breaker_failures: int = Field(default=5, ge=1)
    breaker_seconds: int = Field(default=300, ge=1, description="Until a suspended one is tried.")
    retry_base_seconds: float = Field(default=5.0, gt=0)
    retry_cap_seconds: float = Field(default=300.0, gt=0)
    cleanup_seconds: int = Field(
        default=120, ge=1, description="How long a deletion waits for an index out of reach."
    )
    asset_attempts: int = Field(default=5, ge=1, description="Then an asset is a dead letter.")
    asset_retry_seconds: float = Field(default=60.0, ge=0, description="Doubles each time.")
    max_asset_bytes: int = Field(default=8 << 30, ge=1, description="A larger asset FAILs.")
    scratch_bytes: int = Field(
        default=8 << 30,
        ge=1,
        description="Of content that a worker fetches ahead; one asset may have them all.",
    )
    gateway_url: str | None = Field(
        default=None, description="Where the gateway is reached from outside."
    )
    gateway_host: str = Field(default="0.0.0.0", description="Where the gateway listens.")
    gateway_port: int = Field(default=8090, ge=0, le=65535, description="0: any that is free.")
    webhook_tolerance_seconds: int = Field(
        default=300, ge=1, description="How old or early a webhook's signature may be."
    )
    webhook_max_bytes: int = Field(default=1 << 20, ge=1024, description="A larger one is refused.")
    allow_private_endpoints: bool = Field(
        default=True, description="Whether Connections may name private addresses."
    )

    @model_validator(mode="after")
    def _jobs_have_what_they_need(self) -> Self:
        if self.executor == "kubernetes":
            if not self.worker_image:
                raise ValueError(
                    "TELECINE_WORKER_IMAGE must be set with TELECINE_EXECUTOR=kubernetes"
                )
            if self.weaviate_api_key is not None:
                raise ValueError(
                    "TELECINE_WEAVIATE_API_KEY cannot be handed to Jobs: name a Secret with key "
                    "api_key in TELECINE_WEAVIATE_SECRET (namespace/name)"
                )
        return self

    def webhook_url(self, provider: str, connection_id: str) -> str:
        """The address to give to a provider; without `gateway_url` its path alone."""
        return f"{(self.gateway_url or '').rstrip('/')}/v1/webhooks/{provider}/{connection_id}"


def load_settings() -> Settings:
    """The settings of a program; ends it with a line for each variable that is wrong."""
    try:
        return Settings()
    except ValidationError as error:
        for wrong in error.errors():
            name = "".join(f"TELECINE_{part}".upper() for part in wrong["loc"][:1])
            print(f"{name}: {wrong['msg']}" if name else wrong["msg"], file=sys.stderr)
        sys.exit(1)

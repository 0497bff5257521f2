"""Connection: where assets live, or where results go."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Self

from pydantic import ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

from telecine.api.base import ApiModel, CommonStatus, ResourceName, rules

Endpoint = Annotated[str, Field(max_length=2048, pattern=r"^https?://[^\s]+$")]
BucketName = Annotated[str, Field(min_length=1, max_length=255)]


class Provider(StrEnum):
    S3 = "s3"
    GCS = "gcs"
    AZURE_BLOB = "azure_blob"
    R2 = "r2"
    B2 = "b2"
    WASABI = "wasabi"
    TIGRIS = "tigris"
    SUPABASE = "supabase"
    GOOGLE_DRIVE = "google_drive"
    BOX = "box"
    MUX = "mux"
    LOCAL = "local"
    WEAVIATE = "weaviate"


class WithEndpoint(ApiModel):
    endpoint: Endpoint | None = Field(
        default=None, description="URL of the service, when it is not the provider's public one."
    )


class S3Config(WithEndpoint):
    """Amazon S3 and every store that speaks its protocol.

    Secret keys: `access_key_id`, `secret_access_key`, optional `session_token`. Without a
    Secret the ambient credentials are used (workload identity, instance role).
    """

    bucket: BucketName
    region: Annotated[str, Field(max_length=64)] = "us-east-1"
    role_arn: Annotated[str, Field(max_length=2048, pattern=r"^arn:[^\s]+$")] | None = Field(
        default=None, description="IAM role to assume with the credentials at hand."
    )
    external_id: Annotated[str, Field(max_length=1224)] | None = None
    force_path_style: bool | None = Field(
        default=None, description="Default: true with an endpoint, false without."
    )
    request_payer: bool = False


class S3CompatibleConfig(WithEndpoint):
    bucket: BucketName
    region: Annotated[str, Field(max_length=64)] | None = None


class R2Config(S3CompatibleConfig):
    account_id: Annotated[str, Field(max_length=64)] | None = None


class SupabaseConfig(S3CompatibleConfig):
    project_ref: Annotated[str, Field(max_length=64)] | None = None


class GcsConfig(WithEndpoint):
    """Secret key: `service_account_json`; without a Secret, workload identity."""

    bucket: BucketName


class AzureBlobConfig(WithEndpoint):
    """Secret key: `account_key` or `sas_token`; without a Secret, managed identity."""

    account: Annotated[str, Field(min_length=1, max_length=64)]
    container: BucketName


class GoogleDriveConfig(WithEndpoint):
    shared_drive_id: Annotated[str, Field(max_length=255)] | None = None


class BoxConfig(WithEndpoint):
    folder_id: Annotated[str, Field(max_length=255)] | None = None


class MuxConfig(WithEndpoint):
    """Secret keys: `access_token_id`, `access_token_secret`, optional `webhook_secret`, and for
    signed playback ids `signing_key_id` and `signing_private_key`."""

    stream_endpoint: Endpoint | None = Field(
        default=None, description="Where content is read; default https://stream.mux.com."
    )
    thumbnail_endpoint: Endpoint | None = Field(
        default=None,
        description="What `thumbnail_url` begins with; default as streamEndpoint. Mux serves "
        "thumbnails at https://image.mux.com, too.",
    )
    requests_per_second: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=5, description="Calls of Mux's API; Mux allows 5 a second to an environment."
    )


class LocalConfig(WithEndpoint):
    """A directory that the operator and its workers can read."""

    path: Annotated[str, Field(min_length=1, max_length=4096, pattern=r"^/")]
    follow_symlinks: bool = False


class WeaviateConfig(WithEndpoint):
    """Secret key: `api_key`."""

    endpoint: Endpoint
    grpc_host: Annotated[str, Field(max_length=253)] | None = Field(
        default=None, description="Default: the host of `endpoint`."
    )
    grpc_port: Annotated[int, Field(ge=1, le=65535)] = 50051
    grpc_secure: bool | None = Field(default=None, description="Default: as `endpoint`.")


class SecretRef(ApiModel):
    name: ResourceName


#: Providers that are usable without any configuration but a Secret.
_BLOCK_OPTIONAL = frozenset({Provider.GOOGLE_DRIVE, Provider.BOX, Provider.MUX})


_NEEDS_SECRET = "secretRef must be given when provider is mux: it holds the access token"


def _block_rule(provider: Provider) -> str:
    block, chosen = to_camel(provider), f"self.provider == '{provider}'"
    if provider in _BLOCK_OPTIONAL:
        return f"{chosen} || !has(self.{block})"
    return f"({chosen}) == has(self.{block})"


def _block_message(provider: Provider) -> str:
    verb = "may" if provider in _BLOCK_OPTIONAL else "must"
    only = "only when provider is {}" if verb == "may" else "when provider is {}, and only then"
    return f"the block `{to_camel(provider)}` {verb} be given {only.format(provider)}"


class ConnectionSpec(ApiModel):
    model_config = ConfigDict(
        json_schema_extra=rules(
            *((_block_rule(provider), _block_message(provider)) for provider in Provider),
            ("self.provider != 'mux' || has(self.secretRef)", _NEEDS_SECRET),
        )
    )

    provider: Provider = Field(
        json_schema_extra=rules(
            ("self == oldSelf", "provider is immutable: create another Connection")
        )
    )
    s3: S3Config | None = None
    gcs: GcsConfig | None = None
    azure_blob: AzureBlobConfig | None = None
    r2: R2Config | None = None
    b2: S3CompatibleConfig | None = None
    wasabi: S3CompatibleConfig | None = None
    tigris: S3CompatibleConfig | None = None
    supabase: SupabaseConfig | None = None
    google_drive: GoogleDriveConfig | None = None
    box: BoxConfig | None = None
    mux: MuxConfig | None = None
    local: LocalConfig | None = None
    weaviate: WeaviateConfig | None = None
    secret_ref: SecretRef | None = Field(
        default=None, description="A Secret in the same Kubernetes namespace."
    )
    test_before_use: bool = Field(
        default=True, description="ACTIVE only after a live check of the credentials."
    )

    @model_validator(mode="after")
    def _only_the_block_of_the_provider(self) -> Self:
        for provider in Provider:
            given = getattr(self, provider.value) is not None
            chosen = provider is self.provider
            if given != chosen and not (chosen and provider in _BLOCK_OPTIONAL):
                raise ValueError(_block_message(provider))
        if self.provider is Provider.MUX and self.secret_ref is None:
            raise ValueError(_NEEDS_SECRET)
        return self


class ConnectionStatus(CommonStatus):
    connection_id: str | None = None
    webhook_url: str | None = Field(
        default=None, description="Where the provider is to send its webhooks."
    )
    consecutive_failures: int = 0
    last_error: str | None = Field(default=None, description="In the provider's words, redacted.")
    last_checked_time: datetime | None = None
    next_check_time: datetime | None = None
    secret_resource_version: str | None = Field(
        default=None, description="The Secret's version that was checked, never its content."
    )

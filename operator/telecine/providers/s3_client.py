"""Clients of S3: credentials, addresses and patience of one Connection."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, cast
from urllib.parse import urlsplit

from botocore.config import Config
from botocore.credentials import (
    AssumeRoleCredentialFetcher,
    CredentialProvider,
    CredentialResolver,
    Credentials,
    DeferredRefreshableCredentials,
)
from botocore.loaders import Loader, create_loader
from botocore.session import Session

from telecine.api.connection import S3Config
from telecine.providers.addresses import require_public
from telecine.providers.calls import Calls
from telecine.providers.s3_errors import THROTTLED

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

CONNECT_SECONDS, READ_SECONDS = 5, 60
_LISTING_ENDS = re.compile(rb"ListBucketResult\s*>\s*\Z")
_AMAZON = (".amazonaws.com", ".amazonaws.com.cn")


@lru_cache(maxsize=1)
def _loader() -> Loader:
    """Botocore's descriptions of the services, parsed once for all Connections."""
    return create_loader()


class S3Clients:
    """Makes the clients of a Connection, each once; they may be used from several threads."""

    def __init__(
        self,
        config: S3Config,
        secret: Mapping[str, str],
        calls: Calls,
        *,
        allow_private: bool,
        sts_endpoint: str | None,
    ) -> None:
        self._config = config
        self._secret = secret
        self._calls = calls
        self._allow_private = allow_private
        self._sts_endpoint = sts_endpoint or _sts_beside(config.endpoint)
        self._lock = threading.Lock()
        self._session: Session | None = None
        self._made: dict[int, S3Client] = {}

    def s3(self, attempts: int) -> S3Client:
        """A client that tries a request so often, with growing pauses in between."""
        with self._lock:
            if attempts not in self._made:
                if self._session is None:
                    self._session = self._credentialed()
                self._made[attempts] = self._client(self._session, attempts)
            return self._made[attempts]

    def _client(self, session: Session, attempts: int) -> S3Client:
        config = self._config
        made = session.create_client(
            "s3",
            region_name=config.region,
            endpoint_url=config.endpoint,
            config=_patience(attempts).merge(
                Config(
                    signature_version="s3v4",
                    s3={"addressing_style": _addressing(config)},
                    max_pool_connections=32,
                    # Other stores than Amazon's do not all know the newer checksums.
                    response_checksum_validation=(
                        "when_required" if config.endpoint else "when_supported"
                    ),
                    request_checksum_calculation="when_required",
                )
            ),
        )
        # The wildcard comes before botocore's own look into the body (`before-parse.s3.*`).
        made.meta.events.register_first("before-parse.*.ListObjectsV2", _keep_body)
        if config.endpoint is not None:
            made.meta.events.register("before-call.s3", _stay)
        self._guard(made)
        return cast("S3Client", made)

    def _credentialed(self) -> Session:
        session = self._session_of(_given(self._secret))
        if self._config.role_arn is None:
            return session
        source = session.get_credentials()
        if source is None:
            return session  # without credentials the first request tells so
        fetcher = AssumeRoleCredentialFetcher(
            self._sts_client,
            source,
            self._config.role_arn,
            extra_args={"RoleSessionName": "telecine"}
            | ({"ExternalId": self._config.external_id} if self._config.external_id else {}),
        )
        return self._session_of(
            DeferredRefreshableCredentials(fetcher.fetch_credentials, "assume-role")
        )

    def _session_of(self, credentials: Any) -> Session:
        session = Session()
        session.register_component("data_loader", _loader())
        if credentials is not None:
            session.register_component(
                "credential_provider", CredentialResolver([_Fixed(credentials)])
            )
        return session

    def _sts_client(self, service: str, **credentials: Any) -> Any:
        made = self._session_of(None).create_client(
            service,
            region_name=self._config.region,
            endpoint_url=self._sts_endpoint,
            **{**credentials, "config": _patience(3)},
        )
        self._guard(made)
        return made

    def _guard(self, client: Any) -> None:
        """Counts requests, and looks where each goes: a name can lead elsewhere a moment later."""
        self._calls.watch(client, THROTTLED)
        if not self._allow_private:
            client.meta.events.register(
                "before-send", lambda request, **_: require_public(request.url)
            )


class _Fixed(CredentialProvider):
    """The end of a credential chain with one link."""

    METHOD = "telecine"

    def __init__(self, credentials: Any) -> None:
        super().__init__()
        self._credentials = credentials

    def load(self) -> Any:
        return self._credentials


def _given(secret: Mapping[str, str]) -> Credentials | None:
    """The Secret's credentials; None leaves it to the ambient chain."""
    if not secret.get("access_key_id"):
        return None
    values = {key: value.strip() for key, value in secret.items()}
    return Credentials(
        values["access_key_id"],
        values.get("secret_access_key", ""),
        values.get("session_token") or None,
    )


def _addressing(config: S3Config) -> Literal["path", "virtual", "auto"]:
    by_path = config.force_path_style
    if by_path or (by_path is None and config.endpoint is not None):
        return "path"
    return "virtual" if config.endpoint is not None else "auto"


def _sts_beside(endpoint: str | None) -> str | None:
    """Stores of one's own (MinIO, Ceph) serve STS where they serve S3; Amazon does not."""
    if endpoint is None or (urlsplit(endpoint).hostname or "").endswith(_AMAZON):
        return None
    return endpoint


def _patience(attempts: int) -> Config:
    return Config(
        retries={"mode": "standard", "total_max_attempts": attempts},
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        tcp_keepalive=True,
        user_agent_extra="telecine",
    )


def _stay(context: dict[str, Any], **_: Any) -> None:
    """Keeps botocore from looking for the bucket in other regions.

    Only Amazon has them; at a redirect of another store (from http to https, say) botocore asks
    for the region, is redirected, asks for the region, and so on.
    """
    context.setdefault("s3_redirect", {})["redirected"] = True


def _keep_body(
    response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: Any
) -> None:
    """Hands a page of a listing over as it came: botocore parses it twice, and slowly.

    See `telecine.providers.s3_listing`. What is not a whole listing is left to botocore: status
    200 with an error inside, or half an answer, is tried again.
    """
    body = response_dict["body"]
    if response_dict["status_code"] == 200 and _LISTING_ENDS.search(body, len(body) - 64):
        customized_response_dict["Body"] = body
        response_dict["body"] = b""

"""Providers by name, without a network."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from telecine.api.connection import ConnectionSpec
from telecine.providers.base import Provider, ProviderError
from telecine.providers.registry import (
    ProviderNotImplementedError,
    available,
    create,
    secret_keys,
)

S3 = {"provider": "s3", "s3": {"bucket": "shelf", "endpoint": "http://127.0.0.1:9"}}


def spec(body: dict[str, Any]) -> ConnectionSpec:
    return ConnectionSpec.model_validate(body)


def test_a_provider_is_made_from_its_block() -> None:
    provider = create(spec({"provider": "local", "local": {"path": "/srv"}}), {})
    assert isinstance(provider, Provider)
    assert isinstance(create(spec(S3), {}), Provider)


@pytest.mark.parametrize(
    ("secret", "lacking"),
    [
        ({}, "lacks the keys access_key_id and secret_access_key"),
        ({"access_key_id": "me"}, "lacks the key secret_access_key"),
        ({"access_key_id": "me", "secret_access_key": " \n"}, "lacks the key secret_access_key"),
    ],
)
def test_a_missing_key_of_the_secret_is_named(secret: dict[str, str], lacking: str) -> None:
    with pytest.raises(ProviderError) as caught:
        create(spec({**S3, "secretRef": {"name": "media-keys"}}), secret)
    assert str(caught.value) == f"Secret media-keys {lacking}"
    assert caught.value.permanent
    assert caught.value.reason == "SecretKeyMissing"


def test_without_a_secret_none_is_asked_for() -> None:
    assert create(spec(S3), {})
    assert secret_keys("s3").required == ("access_key_id", "secret_access_key")
    assert secret_keys("s3").optional == ("session_token",)
    assert secret_keys("local") == ((), ())


@pytest.mark.parametrize("provider", ["r2", "b2", "wasabi", "tigris", "supabase"])
def test_a_store_that_speaks_s3_is_reached_by_provider_s3(provider: str) -> None:
    with pytest.raises(ProviderNotImplementedError, match="use provider s3 with its endpoint"):
        create(spec({"provider": provider, provider: {"bucket": "b"}}), {})


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"provider": "google_drive"}, "not implemented yet; available: local, mux, s3"),
        ({"provider": "box"}, "not implemented yet"),
        ({"provider": "gcs", "gcs": {"bucket": "b"}}, "not implemented yet"),
        (
            {"provider": "azure_blob", "azureBlob": {"account": "a", "container": "c"}},
            "not implemented yet",
        ),
        (
            {"provider": "weaviate", "weaviate": {"endpoint": "http://127.0.0.1:8080"}},
            "a destination, not a source",
        ),
    ],
)
def test_what_is_to_come_says_so(body: dict[str, Any], message: str) -> None:
    with pytest.raises(ProviderNotImplementedError, match=message) as caught:
        create(spec(body), {})
    assert (caught.value.reason, caught.value.permanent) == ("NotImplemented", True)
    assert body["provider"] not in available()


def test_a_providers_libraries_are_imported_only_when_it_is_used() -> None:
    code = (
        "import sys, telecine.providers.registry\n"
        "assert not {'boto3', 'botocore', 'telecine.providers.local'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

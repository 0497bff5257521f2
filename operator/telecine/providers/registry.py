"""Which providers there are. A module is imported when its provider is first used."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import NamedTuple, cast

from telecine.api.connection import ConnectionSpec
from telecine.api.connection import Provider as Name
from telecine.providers.base import Provider, ProviderError


class SecretKeys(NamedTuple):
    """Keys of a Connection's Secret."""

    required: tuple[str, ...]
    """Needed when the Connection names a Secret at all."""
    optional: tuple[str, ...]


#: `module:Class`; the class is called with the provider's block of the spec, the Secret and
#: `allow_private`.
_AVAILABLE: Mapping[Name, str] = {
    Name.S3: "telecine.providers.s3:S3Provider",
    Name.LOCAL: "telecine.providers.local:LocalProvider",
    Name.MUX: "telecine.providers.mux:MuxProvider",
}
_SECRET_KEYS: Mapping[Name, SecretKeys] = {
    Name.S3: SecretKeys(("access_key_id", "secret_access_key"), ("session_token",)),
    Name.MUX: SecretKeys(
        ("access_token_id", "access_token_secret"),
        ("webhook_secret", "signing_key_id", "signing_private_key"),
    ),
    Name.GCS: SecretKeys((), ("service_account_json",)),
    Name.AZURE_BLOB: SecretKeys((), ("account_key", "sas_token")),
    Name.WEAVIATE: SecretKeys((), ("api_key",)),
}
_SPEAK_S3 = frozenset({Name.R2, Name.B2, Name.WASABI, Name.TIGRIS, Name.SUPABASE})


class ProviderNotImplementedError(ProviderError):
    """The provider is known, and this version of Telecine cannot read from it."""

    def __init__(self, message: str) -> None:
        super().__init__("NotImplemented", message, permanent=True)


def available() -> list[str]:
    """Names of the providers that can be used as a source."""
    return sorted(name.value for name in _AVAILABLE)


def secret_keys(provider: str) -> SecretKeys:
    """The keys that a provider reads from a Secret; a provider without any has two empty tuples."""
    return _SECRET_KEYS.get(Name(provider), SecretKeys((), ()))


def missing_keys(provider: str, secret: Mapping[str, str]) -> list[str]:
    """Required keys that a Secret lacks or leaves empty."""
    return [key for key in secret_keys(provider).required if not secret.get(key, "").strip()]


def create(
    spec: ConnectionSpec, secret: Mapping[str, str], *, allow_private: bool = True
) -> Provider:
    """The provider of a Connection; touches no network.

    `allow_private` tells whether its endpoint may lead to private addresses.

    Raises:
        ProviderNotImplementedError: with what to use instead, where there is something.
        ProviderError: the Secret lacks a key.
    """
    made = _provider_class(spec.provider)
    if spec.secret_ref is not None:
        _require_keys(spec.provider, spec.secret_ref.name, secret)
    config = getattr(spec, spec.provider.value)
    return cast("Provider", made(config, secret, allow_private=allow_private))


def _provider_class(provider: Name) -> type:
    target = _AVAILABLE.get(provider)
    if target is None:
        raise ProviderNotImplementedError(_absent(provider))
    module, _, attribute = target.partition(":")
    return cast("type", getattr(import_module(module), attribute))


def _absent(provider: Name) -> str:
    if provider is Name.WEAVIATE:
        return "weaviate is a destination, not a source: assets cannot be read from it"
    message = f"provider {provider.value} is not implemented yet"
    if provider in _SPEAK_S3:
        return f"{message}; it speaks the S3 protocol: use provider s3 with its endpoint until then"
    return f"{message}; available: {', '.join(available())}"


def _require_keys(provider: Name, name: str, secret: Mapping[str, str]) -> None:
    lacking = missing_keys(provider, secret)
    if lacking:
        keys = "key" if len(lacking) == 1 else "keys"
        raise ProviderError(
            "SecretKeyMissing",
            f"Secret {name} lacks the {keys} {' and '.join(lacking)}",
            permanent=True,
        )

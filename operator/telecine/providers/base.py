"""What a provider is: six methods over the place where assets live."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import BinaryIO, ClassVar, Protocol, runtime_checkable

from telecine.planning.types import Asset, SideCaptions
from telecine.providers.calls import Calls

Secret = Mapping[str, str]
"""The decoded Secret of a Connection; read when used, never kept or logged."""


class ProviderError(Exception):
    """A source failed. `str()` is fit for a status: the provider's words, secrets redacted.

    `reason` is CamelCase for a condition; `permanent` means that only a change of spec, Secret
    or source can help; `asset_only` that the fault is of one asset and not of the source.
    """

    def __init__(
        self, reason: str, message: str, *, permanent: bool = False, asset_only: bool = False
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.permanent = permanent
        self.asset_only = asset_only


class AssetChangedError(ProviderError):
    """The asset is not what the listing said any more: gone, or replaced since."""

    def __init__(self, message: str) -> None:
        super().__init__("AssetChanged", message, asset_only=True)


@runtime_checkable
class Provider(Protocol):
    """A source of assets. Instances are cheap; network is touched only by the methods.

    Methods may be called from several threads at once. All raise `ProviderError`.
    """

    unversioned: ClassVar[frozenset[str]]
    """First parts of metadata fields that can change without `Asset.version` changing (S3's
    `tags`): when a filter or mapping uses one, every candidate is described in every run."""
    calls: Calls
    """What this instance has asked of the source so far."""

    def check(self, source_path: str = "") -> str:
        """Proves live that the credentials can list and read; returns a sentence for the status."""
        ...

    def list(self, source_path: str) -> Iterator[list[Asset]]:
        """Streams pages of assets below `source_path`, in any order, each asset once.

        Raises:
            ProviderError: the listing is incomplete; nothing may be concluded from absence.
        """
        ...

    def describe(self, asset: Asset, fields: frozenset[str] = frozenset()) -> Asset:
        """The asset with `metadata` complete and `mime_type` known.

        `fields` are the first parts of the metadata fields asked for; a field that costs a call
        of its own (`tags`) is fetched only when it is among them.
        """
        ...

    def open(self, asset: Asset) -> AbstractContextManager[BinaryIO]:
        """The content as a readable, unseekable stream of bytes, read from its start.

        Raises:
            AssetChangedError: gone, or its fingerprint is another one now.
        """
        ...

    def link(self, asset: Asset) -> str | None:
        """A URL at which a browser of the user's can play or show the asset now; None where the
        provider has none. It may carry a signature, and be short-lived: for the user alone."""
        ...

    def captions(self, asset: Asset) -> SideCaptions | None:
        """Captions that the source keeps beside the asset; None where there are none."""
        ...

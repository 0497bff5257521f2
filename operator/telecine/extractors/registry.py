"""Which feature extractors there are. A class is imported when it is first asked for."""

from __future__ import annotations

from importlib import import_module
from typing import cast

from telecine.extractors.base import Extractor

_AVAILABLE = {
    ("text_extractor", "v1"): "telecine.extractors.text_extractor:TextExtractor",
    ("image_extractor", "v1"): "telecine.extractors.image_extractor:ImageExtractor",
    ("handler", "v1"): "telecine.pipelines.extractor:HandlerExtractor",
    ("multimodal_extractor", "v1"): "telecine.extractors.multimodal_extractor:MultimodalExtractor",
}


_MADE_BY_PIPELINES = ("handler", "v1")
"""Not for Namespaces of a user's own: a Pipeline makes the one that has it."""


class UnknownExtractorError(LookupError):
    """No extractor has that name and version; `str()` lists those that exist."""


def available() -> list[str]:
    """Names and versions, as `text_extractor v1`."""
    own = (key for key in _AVAILABLE if key != _MADE_BY_PIPELINES)
    return sorted(f"{name} {version}" for name, version in own)


def extractor_class(name: str, version: str) -> type[Extractor]:
    """The class of an extractor; importing it loads no model and no decoder.

    Raises:
        UnknownExtractorError: there is none of that name and version.
    """
    target = _AVAILABLE.get((name, version))
    if target is not None:
        module, _, attribute = target.partition(":")
        return cast("type[Extractor]", getattr(import_module(module), attribute))
    existing = ", ".join(available())
    raise UnknownExtractorError(
        f"there is no feature extractor {name} {version}; available: {existing}"
    )

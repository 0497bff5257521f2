"""The registry: what exists, and that asking loads nothing heavy."""

from __future__ import annotations

import subprocess
import sys

import pytest
from telecine.extractors.base import Extractor
from telecine.extractors.registry import (
    ExtractorNotImplementedError,
    UnknownExtractorError,
    available,
    extractor_class,
)


def test_text_extractor_v1_is_found_and_keeps_the_protocol() -> None:
    extractor = extractor_class("text_extractor", "v1")
    assert (extractor.name, extractor.version) == ("text_extractor", "v1")
    assert isinstance(extractor({}), Extractor)
    assert available() == ["text_extractor v1"]


@pytest.mark.parametrize(("name", "version"), [("nothing", "v1"), ("text_extractor", "v9")])
def test_an_unknown_extractor_is_refused_with_those_that_exist(name: str, version: str) -> None:
    with pytest.raises(UnknownExtractorError, match=r"available: text_extractor v1") as caught:
        extractor_class(name, version)
    assert f"{name} {version}" in str(caught.value)


@pytest.mark.parametrize("name", ["image_extractor", "multimodal_extractor"])
def test_an_extractor_to_come_is_said_to_be_not_implemented(name: str) -> None:
    with pytest.raises(ExtractorNotImplementedError, match="not implemented yet"):
        extractor_class(name, "v1")


def test_asking_for_a_class_imports_no_model_library() -> None:
    """The operator checks parameters and schemas and must stay small."""
    code = (
        "import sys\n"
        "from telecine.extractors.registry import extractor_class\n"
        "extractor = extractor_class('text_extractor', 'v1')\n"
        "extractor.validate({'chunk_size': 400})\n"
        "assert extractor.model_key({}) == '' and extractor.properties and extractor.vectors\n"
        "extractor({})\n"
        "heavy = {'torch', 'sentence_transformers', 'transformers', 'numpy'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"

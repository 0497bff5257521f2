"""The registry: what exists, and that asking loads nothing heavy."""

from __future__ import annotations

import subprocess
import sys

import pytest
from telecine.extractors.base import Extractor
from telecine.extractors.registry import UnknownExtractorError, available, extractor_class

NAMES = ["image_extractor", "multimodal_extractor", "text_extractor"]


@pytest.mark.parametrize("name", NAMES)
def test_an_extractor_is_found_and_keeps_the_protocol(name: str) -> None:
    extractor = extractor_class(name, "v1")
    assert (extractor.name, extractor.version) == (name, "v1")
    assert isinstance(extractor({}), Extractor)
    assert available() == [f"{one} v1" for one in NAMES]
    assert {leg.vector for leg in extractor.legs} - {""} == set(extractor.vectors)
    stored = {p.name for p in extractor.properties if p.searchable} | {"text"}
    assert all(word in stored for leg in extractor.legs for word in leg.words)
    assert len({p.name for p in extractor.properties}) == len(extractor.properties)


@pytest.mark.parametrize(("name", "version"), [("nothing", "v1"), ("text_extractor", "v9")])
def test_an_unknown_extractor_is_refused_with_those_that_exist(name: str, version: str) -> None:
    with pytest.raises(UnknownExtractorError, match=r"available: .*text_extractor v1") as caught:
        extractor_class(name, version)
    assert f"{name} {version}" in str(caught.value)


@pytest.mark.parametrize("name", NAMES)
def test_asking_for_a_class_imports_no_model_library(name: str) -> None:
    """The operator checks parameters and schemas and must stay small."""
    code = (
        "import sys\n"
        "from telecine.extractors.registry import extractor_class\n"
        f"extractor = extractor_class({name!r}, 'v1')\n"
        "extractor.validate({'batch_size': 16})\n"
        "assert extractor.model_key({}) == '' and extractor.properties and extractor.vectors\n"
        "extractor({})\n"
        "heavy = {'torch', 'sentence_transformers', 'transformers', 'numpy', 'av', 'PIL'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"

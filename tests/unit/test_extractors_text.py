"""text_extractor v1 without its model: parameters and the documents of one object."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from telecine.api.bucket import BlobType
from telecine.extractors.base import Content, ExtractionError
from telecine.extractors.models import DEFAULT_MODEL
from telecine.extractors.text_extractor import TextExtractor


def content(path: Path, data: bytes, name: str) -> Content:
    path.write_bytes(data)
    return Content(path, len(data), "", BlobType.TEXT, name)


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"chunksize": 5}, "parameters.chunksize: unknown; text_extractor v1 has model, device"),
        ({"chunk_size": 99}, "parameters.chunk_size: Input should be greater than or equal to 100"),
        ({"chunk_size": 8001}, "parameters.chunk_size: "),
        ({"chunk_size": "800"}, "parameters.chunk_size: Input should be a valid integer"),
        ({"chunk_size": True}, "parameters.chunk_size: "),
        ({"chunk_overlap": 400}, "parameters.chunk_overlap (400) must be less than half"),
        ({"chunk_overlap": -1}, "parameters.chunk_overlap: "),
        ({"device": "tpu"}, "parameters.device: "),
        ({"model": ""}, "parameters.model: "),
        ({"json_fields": []}, "parameters.json_fields: "),
        ({"batch_size": 0}, "parameters.batch_size: "),
    ],
)
def test_a_bad_parameter_is_refused_by_its_name(parameters: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=r"^parameters\.") as caught:
        TextExtractor.validate(parameters)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_parameter_can_be_given() -> None:
    TextExtractor.validate(
        {
            "model": "intfloat/e5-small-v2",
            "device": "cpu",
            "chunk_size": 1000,
            "chunk_overlap": 0,
            "batch_size": 8,
            "json_fields": ["title", "body.text"],
            "query_prefix": "query: ",
            "document_prefix": "passage: ",
        }
    )


def test_the_model_key_is_empty_for_the_default_model_only() -> None:
    assert TextExtractor.model_key({}) == ""
    assert TextExtractor.model_key({"model": None}) == ""
    assert TextExtractor.model_key({"model": DEFAULT_MODEL, "chunk_size": 400}) == ""
    assert TextExtractor.model_key({"model": "intfloat/e5-small-v2"}) == "intfloat/e5-small-v2"
    assert TextExtractor.model_key({"model": "/models/own"}) == "/models/own"


def test_a_text_becomes_numbered_chunks_with_true_offsets(tmp_path: Path) -> None:
    text = "# Bees\n\n" + " ".join(f"Sentence number {n} is about bees." for n in range(40))
    extractor = TextExtractor({"chunk_size": 200, "chunk_overlap": 40})
    documents = list(extractor.split(content(tmp_path / "x", text.encode(), "bees.md")))
    assert len(documents) > 5
    declared = {prop.name for prop in TextExtractor.properties}
    for number, document in enumerate(documents):
        properties = document.properties
        assert properties.keys() == declared
        assert properties["chunk"] == number
        assert text[properties["start_char"] : properties["end_char"]] == document.text
        assert properties["title"] == "Bees"
        assert document.vectors == {}


def test_a_text_without_a_title_has_no_title_property(tmp_path: Path) -> None:
    (document,) = TextExtractor({}).split(content(tmp_path / "x", b"Plain.", "a.txt"))
    assert document.properties == {"chunk": 0, "start_char": 0, "end_char": 6}


def test_json_fields_reach_the_reader(tmp_path: Path) -> None:
    data = b'{"a": "yes", "b": "no"}'
    (document,) = TextExtractor({"json_fields": ["a"]}).split(
        content(tmp_path / "x", data, "a.json")
    )
    assert document.text == "a: yes"


def test_an_unreadable_object_fails_when_split(tmp_path: Path) -> None:
    with pytest.raises(ExtractionError, match="empty") as caught:
        next(TextExtractor({}).split(content(tmp_path / "x", b"", "a.txt")))
    assert (caught.value.reason, caught.value.permanent) == ("EmptyContent", True)

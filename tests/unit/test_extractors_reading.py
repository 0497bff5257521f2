"""Bytes to text: encodings, markup, JSON, and what is said when there is no text."""

from __future__ import annotations

import codecs
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from telecine.api.bucket import BlobType
from telecine.extractors.base import Content, ExtractionError
from telecine.extractors.text_reading import Reading, read

FRENCH = "Café à la carte, s'il vous plaît. Où est la bibliothèque ? Très près d'ici. "


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    return tmp_path / "content"


def reading(
    scratch: Path,
    data: bytes,
    name: str = "a.txt",
    *,
    mime_type: str = "",
    blob_type: BlobType = BlobType.TEXT,
    fields: list[str] | None = None,
) -> Reading:
    scratch.write_bytes(data)
    return read(Content(scratch, len(data), mime_type, blob_type, name), fields)


def failure(scratch: Path, data: bytes, name: str = "a.txt", **options: object) -> ExtractionError:
    with pytest.raises(ExtractionError) as caught:
        reading(scratch, data, name, **options)  # type: ignore[arg-type]
    assert caught.value.permanent
    assert name in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("mark", "encoding"),
    [
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
        (codecs.BOM_UTF32_LE, "utf-32-le"),
        (codecs.BOM_UTF32_BE, "utf-32-be"),
        (b"", "utf-8"),
        (b"", "utf-16-le"),
        (b"", "utf-16-be"),
        (b"", "cp1252"),
    ],
)
def test_a_text_is_read_in_the_encoding_it_is_in(scratch: Path, mark: bytes, encoding: str) -> None:
    assert reading(scratch, mark + FRENCH.encode(encoding)).text == FRENCH


def test_cyrillic_of_an_older_encoding_is_told_by_its_looks(scratch: Path) -> None:
    text = "Съешь же ещё этих мягких французских булок, да выпей чаю. " * 3
    assert reading(scratch, text.encode("koi8-r")).text == text


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_unicode_comes_back_as_it_was(scratch: Path, text: str) -> None:
    data = f"x{text}".encode()
    assert reading(scratch, data).text == f"x{text}"


@pytest.mark.parametrize("data", [b"", b" \n\t\r\n ", codecs.BOM_UTF8 + b"  "])
def test_a_file_without_content_is_empty_content(scratch: Path, data: bytes) -> None:
    assert failure(scratch, data).reason == "EmptyContent"


def test_damaged_utf8_is_named_with_byte_offset_and_line(scratch: Path) -> None:
    data = "Grüße aus Köln\nund Düsseldorf\n".encode()
    error = failure(scratch, data + b"\xff" + data)
    assert error.reason == "WrongEncoding"
    assert f"byte 0xff at offset {len(data)} (line 3)" in str(error)
    assert "damaged" in str(error)


def test_too_little_text_to_tell_an_encoding_is_not_guessed(scratch: Path) -> None:
    error = failure(scratch, b"Caf\xe9")
    assert error.reason == "WrongEncoding"
    assert "0xe9 at offset 3" in str(error)
    assert "iconv" in str(error)


def test_a_torn_utf16_text_is_a_wrong_encoding(scratch: Path) -> None:
    error = failure(scratch, codecs.BOM_UTF16_LE + "Hello".encode("utf-16-le") + b"x")
    assert error.reason == "WrongEncoding"
    assert "utf-16-le" in str(error)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"text with a \x00 in it", "zero byte at offset 12"),
        (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n\x00\x01obj", "a PDF document"),
        (b"PK\x03\x04\x14\x00\x00", "a ZIP archive"),
        (b"\x01\x02\x03ab\x04\x05\x06", "0x01 at offset 0"),
        (codecs.BOM_UTF16_LE + b"a\0\0\0b\0", "zero character at offset 1"),
    ],
)
def test_binary_content_is_not_text_and_says_where_it_shows(
    scratch: Path, data: bytes, said: str
) -> None:
    error = failure(scratch, data)
    assert error.reason == "NotText"
    assert said in str(error)
    assert "fileFilters" in str(error)


def test_random_bytes_never_become_a_text(scratch: Path) -> None:
    source = random.Random(7)
    for size in (16, 100, 1_000, 10_000):
        for _ in range(10):
            data = bytes(source.randrange(256) for _ in range(size))
            assert failure(scratch, data).reason in {"NotText", "WrongEncoding"}


def test_a_text_that_begins_like_another_format_stays_a_text(scratch: Path) -> None:
    assert reading(scratch, b"ID3 is a way of tagging sounds.").text.startswith("ID3")


PAGE = b"""<!DOCTYPE html><html><head><title>Tea &amp; cake</title>
<style>p { color: red }</style><script>if (a < b) alert("no")</script></head>
<body><h1>Tea</h1><p>Some <b>good</b>
tea.</p><ul><li>One<li>Two</ul><pre>a
  b</pre><script src="x"/></script><p>1 &lt; 2</p></body></html>"""


@pytest.mark.parametrize(
    ("name", "mime_type"), [("a.html", ""), ("a", "text/html; charset=utf-8"), ("a.txt", "")]
)
def test_a_page_is_its_title_and_what_a_reader_sees(
    scratch: Path, name: str, mime_type: str
) -> None:
    result = reading(scratch, PAGE, name, mime_type=mime_type)
    assert result.title == "Tea & cake"
    assert result.text.split("\n\n") == [
        "Tea & cake",
        "Tea",
        "Some good tea.",
        "One",
        "Two",
        "a\n  b",
        "1 < 2",
    ]


def test_a_page_is_read_in_the_encoding_it_declares(scratch: Path) -> None:
    data = b'<meta charset="iso-8859-2"><p>' + "Zażółć".encode("iso-8859-2")
    assert reading(scratch, data, "a.html").text == "Zażółć"


def test_xml_keeps_the_text_of_elements_apart(scratch: Path) -> None:
    data = b"<r><label>One</label><time>Two</time><script/><c><![CDATA[a < b]]></c></r>"
    assert reading(scratch, data, "a.xml").text == "One\n\nTwo\n\na < b"


def test_a_page_of_scripts_alone_is_empty_content(scratch: Path) -> None:
    assert failure(scratch, b"<html><script>1</script></html>").reason == "EmptyContent"


def test_the_first_heading_of_markdown_is_its_title(scratch: Path) -> None:
    data = b"```\n# not this\n```\n# The *one* #\n\nText"
    result = reading(scratch, data, "a.md")
    assert (result.title, result.text) == ("The *one*", data.decode())


def test_json_becomes_a_line_for_each_string(scratch: Path) -> None:
    data = b'{"title": "Tea", "n": 1, "by": [{"name": "Ada"}, {"name": "Bob"}], "e": "", "x": NaN}'
    assert reading(scratch, data, "a.json").text == "title: Tea\nby.name: Ada\nby.name: Bob"


def test_json_fields_choose_what_is_taken_numbers_included(scratch: Path) -> None:
    data = b'{"a": {"b": [1.50, true, "x"], "c": "no"}, "ab": "no", "d.e": "dotted"}'
    result = reading(scratch, data, "a.json", fields=["a.b", "d.e"])
    assert result.text == "a.b: 1.50\na.b: true\na.b: x\nd.e: dotted"


@pytest.mark.parametrize("separator", [b"\n", b"\r\n\r\n", b" "])
def test_several_json_documents_are_read_one_after_the_other(
    scratch: Path, separator: bytes
) -> None:
    data = separator.join([b'{"a": "one"}', b'"two"', b'["three"]'])
    result = reading(scratch, data, "a.jsonl")
    assert result.text == "a: one\n\ntwo\n\nthree"


def test_a_blob_of_type_json_is_json_whatever_its_name(scratch: Path) -> None:
    assert reading(scratch, b'["x"]', "a.bin", blob_type=BlobType.JSON).text == "x"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b'{"a": "x",\n "b": }', "line 2, column 7"),
        (b'{"a": "x"} rest', "line 1, column 12"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[" * 100_000 + b'"x"' + b"]" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
    ],
    ids=["missing value", "trailing text", "open lists", "closed lists", "open objects"],
)
def test_invalid_json_is_named_with_line_and_column(scratch: Path, data: bytes, said: str) -> None:
    error = failure(scratch, data, "a.json")
    assert error.reason == "InvalidJson"
    assert said in str(error)


def test_numbers_of_any_length_are_read(scratch: Path) -> None:
    number = b"9" * 5000
    result = reading(scratch, b'{"n": ' + number + b"}", "a.json", fields=["n"])
    assert result.text == f"n: {number.decode()}"


def test_json_without_strings_is_empty_content(scratch: Path) -> None:
    assert failure(scratch, b'{"n": [1, 2, null]}', "a.json").reason == "EmptyContent"
    error = failure(scratch, b'{"a": "x"}', "a.json", fields=["body.text"])
    assert "body.text" in str(error)


def test_escapes_that_name_no_character_are_replaced(scratch: Path) -> None:
    result = reading(scratch, rb'{"a": "x\ud800y\u0000z", "b": "\ud83d\ude00"}', "a.json")
    assert result.text == "a: x\ufffdy\ufffdz\nb: \U0001f600"
    assert result.text.encode()

"""Nothing secret is left in a text that is going to be seen."""

from __future__ import annotations

import base64
import json
import re
from urllib.parse import quote, quote_plus
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st
from telecine.providers.redact import LIMIT, redact

VALUE = 'wJalr/XUtn+FEMI&K7=MD"EN é'


@pytest.mark.parametrize(
    "form",
    [
        VALUE,
        quote(VALUE, safe=""),
        quote(VALUE),
        re.sub("%..", lambda found: found[0].lower(), quote(VALUE, safe="")),
        quote_plus(VALUE),
        base64.b64encode(VALUE.encode()).decode(),
        base64.b64encode(VALUE.encode()).decode().rstrip("="),
        base64.urlsafe_b64encode(VALUE.encode()).decode(),
        json.dumps(VALUE)[1:-1],
        escape(VALUE),
    ],
)
def test_a_secret_value_goes_in_every_spelling(form: str) -> None:
    told = redact(f"the key ({form}) was refused", {"secret_access_key": VALUE})
    assert told == "the key ([redacted]) was refused"


@given(st.text(min_size=4, max_size=60), st.text(max_size=40), st.text(max_size=40))
def test_no_value_of_four_characters_survives(value: str, before: str, after: str) -> None:
    told = redact(f"{before}{value}{after}", {"a": value})
    assert value not in told.replace("[redacted]", "") or not value.strip()
    assert len(told) <= LIMIT


def test_a_value_that_white_space_hid_goes_too() -> None:
    assert redact("it was correct\nhorse", {"password": "correct horse"}) == "it was [redacted]"


def test_the_longer_of_two_values_goes_first() -> None:
    assert redact("abcdef", {"a": "abcd", "b": "abcdef"}) == "[redacted]"


def test_a_line_of_a_document_is_a_secret_too() -> None:
    document = '{\n  "private_key_id": "0123456789"\n}'
    assert "0123456789" not in redact('got "private_key_id": "0123456789"', {"json": document})


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("key AKIAIOSFODNN7EXAMPLE is unknown", "AKIAIOSFODNN7EXAMPLE"),
        ("Authorization: AWS4-HMAC-SHA256 Credential=me/2026, Signature=abc123", "abc123"),
        ("{'Authorization': 'Basic dXNlcjpwYXNz'}", "dXNlcjpwYXNz"),
        ("sent Bearer eyJhbGciOi.J9 to it", "eyJhbGciOi.J9"),
        ("GET /a?X-Amz-Credential=me%2F2026&X-Amz-Signature=deadbeef&x=1", "deadbeef"),
        ("GET /a?X-Amz-Credential=me%2F2026&X-Amz-Signature=deadbeef&x=1", "me%2F2026"),
        ("GET /a?AWSAccessKeyId=me&Signature=dead%3D&Expires=1", "dead%3D"),
        ("x-amz-security-token: FwoGZXIvYXdzE", "FwoGZXIvYXdzE"),
        ("https://x.blob.core.windows.net/c?sv=2024&sig=dead%2Bbeef", "dead%2Bbeef"),
        ("https://user:hunter2@example.com/", "hunter2"),
        ("secret_access_key=hunter2hunter2", "hunter2"),
        ('{"access_token": "hunter2"}', "hunter2"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----", "MIIEow"),
    ],
)
def test_what_looks_like_a_credential_goes_without_being_known(text: str, hidden: str) -> None:
    told = redact(text, {})
    assert hidden not in told
    assert "[redacted]" in told


@pytest.mark.parametrize(
    "text",
    [
        "NoSuchBucket: The specified bucket does not exist",
        "check access_key_id, secret_access_key (and session_token) of the Secret",
        "SignatureDoesNotMatch: The request signature we calculated does not match the signature",
        "Could not connect to the endpoint URL: 'http://127.0.0.1:9000/shelf?list-type=2'",
        "films/映画.mp4: gone",
    ],
)
def test_plain_words_stay(text: str) -> None:
    assert (
        redact(text, {"access_key_id": "AKIAIOSFODNN7EXAMPLE", "empty": "", "short": "the"}) == text
    )


def test_the_text_is_one_line_of_limited_length() -> None:
    assert redact("a\x00b\r\n\tc\x1b[31m\u2028\ud800d", {}) == "a b c [31m d"
    told = redact("word " * 1_000_000, {})
    assert len(told) <= LIMIT
    assert told.endswith("…")


def test_a_secret_across_the_limit_is_not_cut_but_removed() -> None:
    told = redact("x" * (LIMIT - 5) + VALUE, {"key": VALUE})
    assert VALUE[:4] not in told

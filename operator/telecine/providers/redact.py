"""Takes secrets out of text that is going to be seen: a status, an Event, a log line."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import quote, quote_plus

REDACTED = "[redacted]"
LIMIT = 512
"""Longest text returned, in characters."""

_SHORTEST = 4
#: Enough for any sentence and its neighbourhood; bounds the work on a page of HTML.
_SCANNED = 64 * 1024

_TOKEN = r"[^\s\"'<>&,;]+"
_PATTERNS = tuple(
    re.compile(pattern, re.IGNORECASE | re.DOTALL)
    for pattern in (
        # `Authorization: AWS4-HMAC-SHA256 Credential=..., SignedHeaders=..., Signature=...`
        r"(?P<kept>\b(?:proxy-)?authorization[\"']?\s*[:=]\s*[\"']?)[^\r\n\"'<>]+",
        rf"(?P<kept>\bbearer\s+){_TOKEN}",
        # Query parameters and headers of signed requests: S3 (both signature versions), GCS, SAS.
        r"(?P<kept>\b(?:x-(?:amz|goog)-(?:signature|credential|security-token)|signature|"
        rf"awsaccesskeyid|googleaccessid|sig|(?:access_|session_|security)?token|api_?key)"
        rf"[\"']?\s*[:=]\s*[\"']?){_TOKEN}",
        # Anything that says of itself that it is secret.
        rf"(?P<kept>\b(?:aws_?)?(?:secret_?access_?key|secret_?key|client_?secret|password|passwd)"
        rf"[\"']?\s*[:=]\s*[\"']?){_TOKEN}",
        # Credentials in a URL.
        r"(?P<kept>\b[a-z][a-z0-9+.-]*://)[^\s/@]+(?=@)",
        # Ids of AWS keys have their kind as prefix (IAM User Guide, "unique identifiers").
        r"(?P<kept>)\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{12,}\b",
        r"(?P<kept>)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
    )
)
#: Control characters, and lone surrogates, which neither JSON nor a terminal can show.
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")


def redact(text: str, secret: Mapping[str, str]) -> str:
    """The text on one line of at most 512 characters, without any value of the secret.

    Values of four characters and more go in every form in which an error may quote them: as they
    are, URL-encoded, in base64, escaped for JSON or XML. So does what looks like a credential of
    its own accord: AWS key ids, `Authorization` headers, signatures of presigned URLs.
    """
    spelled = sorted(forms(secret), key=len, reverse=True)
    text = _without(text[:_SCANNED], spelled)
    for pattern in _PATTERNS:
        text = pattern.sub(lambda found: f"{found['kept']}{REDACTED}", text)
    # Once more: with other white space it may be a value only now.
    text = _without(" ".join(_UNPRINTABLE.sub(" ", text).split()), spelled)
    return text if len(text) <= LIMIT else f"{text[: LIMIT - 1]}…"


def _without(text: str, spelled: Iterable[str]) -> str:
    for form in spelled:
        text = text.replace(form, REDACTED)
    return text


def forms(secret: Mapping[str, str]) -> set[str]:
    """Every form in which the values of a secret may be quoted, four characters and longer."""
    values = [value for value in secret.values() if value]
    found = {form for value in values for form in _spellings(value)}
    # A JSON document as a value (a service account) is quoted in parts.
    found |= {line.strip() for value in values for line in value.splitlines()}
    return {form for form in found if len(form) >= _SHORTEST}


def _spellings(value: str) -> Iterator[str]:
    raw = value.encode("utf-8", "surrogatepass")
    yield from (value, value.strip(), quote_plus(value, errors="replace"))
    for encoded in (quote(value, safe="", errors="replace"), quote(value, errors="replace")):
        yield encoded
        yield re.sub(r"%[0-9A-F]{2}", lambda hexed: hexed[0].lower(), encoded)
    if len(value) >= _SHORTEST:
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            encoded = encode(raw).decode()
            yield from (encoded, encoded.rstrip("="))
    yield from (json.dumps(value)[1:-1], html.escape(value), html.escape(value, quote=False))

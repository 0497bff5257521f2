"""Push webhooks of GitHub, GitLab, Gitea and Forgejo: whether one is genuine, and what moved.

GitHub: "Validating webhook deliveries"; GitLab: "Webhooks", secret token; Gitea and Forgejo:
"Webhooks". A push only says that there is something to fetch: nothing of it is trusted further.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

_SIGNATURES = ("x-hub-signature-256", "x-forgejo-signature", "x-gitea-signature")
_TOKEN = "x-gitlab-token"
_EVENTS = ("x-forgejo-event", "x-gitea-event", "x-gitlab-event", "x-github-event")
_PUSHES = frozenset({"push", "push hook", "tag push hook"})
#: Where the kinds of hosts tell the addresses of a repository.
_URLS = (
    "clone_url", "ssh_url", "html_url", "git_http_url", "git_ssh_url", "web_url", "http_url",
    "homepage",
)  # fmt: skip
_PORTS = {"http": 80, "https": 443, "ssh": 22, "git": 9418}
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_SCP = re.compile(r"(?:[^@/\s]+@)?(?P<host>\[[^\]\s]+\]|[^:/\s]+):(?P<path>(?!//)\S+)")

REASONS = ("missing", "wrong", "malformed")


class WebhookError(Exception):
    """`reason` is one of REASONS; `str()` says more, and nothing of the secret."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class PushEvent:
    """A ref of a repository moved."""

    repositories: frozenset[str]
    """Addresses of one repository, normalized: host, port when it is not the usual one, path."""
    ref: str
    """In full: `refs/heads/main`, `refs/tags/v1`."""
    commit: str | None
    """What it points to now; None when the ref was deleted."""


def verify(headers: Mapping[str, str], raw_body: bytes, secret: str) -> PushEvent | None:
    """The push that a request tells of; None for a genuine one that is no push (a ping).

    Raises:
        WebhookError: it has no signature, a wrong one, or is no push that can be read.
    """
    given = {name.lower(): value for name, value in headers.items()}
    _require_genuine(given, raw_body, secret)
    event = next((given[name].lower() for name in _EVENTS if given.get(name)), "")
    if event not in _PUSHES:
        return None
    body = _body(given, raw_body)
    ref = body.get("ref")
    repositories = frozenset(_repositories(body))
    if not isinstance(ref, str) or not ref or not repositories:
        raise WebhookError("malformed", "the push has no ref, or no address of its repository")
    commit = body.get("after")
    moved = isinstance(commit, str) and _COMMIT.fullmatch(commit) and commit.strip("0")
    return PushEvent(repositories, ref, str(commit) if moved else None)


def same_repository(url: str, event: PushEvent) -> bool:
    """Whether a Pipeline's `git.url` is an address of the repository that was pushed to."""
    return normalized(url) in event.repositories


def normalized(url: str) -> str | None:
    """The same for https, ssh and scp-like addresses of one repository; None for none of these.

    Without scheme, user, the scheme's own port and `.git`, in lower case: taking two repositories
    for one costs a look at Git, no more.
    """
    url = url.strip()
    scp = None if "://" in url else _SCP.fullmatch(url)
    if scp:
        host, port, path = scp["host"].strip("[]"), None, scp["path"]
    else:
        try:
            parts = urlsplit(url)
            host, port, path = parts.hostname or "", parts.port, parts.path
        except ValueError:
            return None
        if parts.scheme not in _PORTS:
            return None
        port = None if port == _PORTS[parts.scheme] else port
    path = unquote(path).strip("/").lower().removesuffix(".git").rstrip("/")
    if not host or not path:
        return None
    return f"{host.lower()}{f':{port}' if port else ''}/{path}"


def _require_genuine(given: Mapping[str, str], raw_body: bytes, secret: str) -> None:
    if not secret:
        raise WebhookError("missing", "there is no secret to verify a webhook with")
    signature = next((given[name] for name in _SIGNATURES if given.get(name)), None)
    if signature is not None:
        wanted = hmac.new(secret.encode(), raw_body, hashlib.sha256).hexdigest()
        genuine = _equal(signature.strip().lower().removeprefix("sha256="), wanted)
    elif given.get(_TOKEN):
        genuine = _equal(given[_TOKEN], secret)
    else:
        names = ", ".join((*_SIGNATURES, _TOKEN))
        raise WebhookError("missing", f"the request has none of the headers {names}")
    if not genuine:
        raise WebhookError("wrong", "the signature is not that of this body under the secret")


def _equal(left: str, right: str) -> bool:
    """In a time that does not depend on what is equal."""
    return hmac.compare_digest(
        left.encode("utf-8", "surrogateescape"), right.encode("utf-8", "surrogateescape")
    )


def _body(given: Mapping[str, str], raw_body: bytes) -> dict[str, Any]:
    try:
        text = raw_body.decode()
        if given.get("content-type", "").partition(";")[0].strip() == (
            "application/x-www-form-urlencoded"
        ):
            text = parse_qs(text, strict_parsing=True, max_num_fields=16)["payload"][0]
        body = json.loads(text)
    except (ValueError, KeyError, RecursionError) as error:
        raise WebhookError("malformed", "the body is no JSON") from error
    if not isinstance(body, dict):
        raise WebhookError("malformed", "the body is no JSON object")
    return body


def _repositories(body: Mapping[str, Any]) -> Iterable[str]:
    for part in (body.get("repository"), body.get("project")):
        if not isinstance(part, dict):
            continue
        for name in _URLS:
            found = normalized(part[name]) if isinstance(part.get(name), str) else None
            if found:
                yield found

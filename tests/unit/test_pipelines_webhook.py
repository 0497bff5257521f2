"""Push webhooks: only a genuine one counts, and it names its repository in every spelling."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from telecine.pipelines.webhook import PushEvent, WebhookError, normalized, same_repository, verify

SECRET = "It's a Secret to Everybody"
COMMIT = "a10867b14bb761a232cd80139fbd4c0d33264240"
GITHUB = {
    "ref": "refs/heads/main",
    "after": COMMIT,
    "repository": {
        "full_name": "Films/pipelines",
        "html_url": "https://github.com/Films/pipelines",
        "clone_url": "https://github.com/Films/pipelines.git",
        "ssh_url": "git@github.com:Films/pipelines.git",
        "git_url": "git://github.com/Films/pipelines.git",
    },
}
GITLAB = {
    "object_kind": "push",
    "ref": "refs/heads/main",
    "after": COMMIT,
    "project": {
        "web_url": "https://gitlab.test:8443/films/sub/pipelines",
        "git_http_url": "https://gitlab.test:8443/films/sub/pipelines.git",
        "git_ssh_url": "ssh://git@gitlab.test:2222/films/sub/pipelines.git",
    },
}


def hashed(body: bytes, secret: str = SECRET) -> str:
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def github(value: Any, event: str = "push", **headers: str) -> PushEvent | None:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    signed = {"X-GitHub-Event": event, "X-Hub-Signature-256": f"sha256={hashed(body)}"}
    return verify({**signed, **headers}, body, SECRET)


def gitlab(value: Any, event: str = "Push Hook", token: str = SECRET) -> PushEvent | None:
    headers = {"X-Gitlab-Event": event, "X-Gitlab-Token": token}
    return verify(headers, json.dumps(value).encode(), SECRET)


def test_githubs_own_vector_holds() -> None:
    signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    headers = {"X-Hub-Signature-256": signature, "X-GitHub-Event": "ping"}
    assert verify(headers, b"Hello, World!", SECRET) is None


def test_a_push_to_github_names_repository_ref_and_commit() -> None:
    event = github(GITHUB)
    assert event == PushEvent(frozenset({"github.com/films/pipelines"}), "refs/heads/main", COMMIT)


def test_a_push_to_gitlab_names_all_addresses() -> None:
    event = gitlab(GITLAB)
    assert event is not None
    assert same_repository("https://gitlab.test:8443/films/sub/pipelines", event)
    assert same_repository("ssh://git@gitlab.test:2222/films/sub/pipelines.git", event)
    assert not same_repository("https://gitlab.test/films/sub/pipelines", event)
    assert gitlab({**GITLAB, "ref": "refs/tags/v1"}, "Tag Push Hook") is not None


@pytest.mark.parametrize("host", ["Gitea", "Forgejo"])
def test_a_push_to_gitea_or_forgejo_is_read(host: str) -> None:
    body = json.dumps(GITHUB).encode()
    headers = {f"X-{host}-Event": "push", f"X-{host}-Signature": hashed(body)}
    assert verify(headers, body, SECRET) == github(GITHUB)
    with pytest.raises(WebhookError, match="not that of this body"):
        verify(headers, body + b" ", SECRET)


def test_a_push_as_a_form_is_read() -> None:
    body = urlencode({"payload": json.dumps(GITHUB)}).encode()
    assert github(body, **{"content-type": "application/x-www-form-urlencoded"}) == github(GITHUB)


@pytest.mark.parametrize(
    "url",
    [
        "https://github.com/films/pipelines", "https://github.com/Films/Pipelines.git/",
        "https://x-token@github.com:443/films/pipelines.git", "git@github.com:films/pipelines.git",
        "ssh://git@github.com/films/pipelines", "ssh://git@github.com:22/films/pipelines.git",
        "http://GitHub.com/films/pipelines", "git@github.com:/films/pipelines",
        "https://github.com/films/%70ipelines",
    ],
)  # fmt: skip
def test_every_spelling_is_the_same_repository(url: str) -> None:
    event = github(GITHUB)
    assert event is not None
    assert same_repository(url, event)


@pytest.mark.parametrize(
    "url",
    [
        "https://github.com/films/pipelines2", "https://github.com/films", "https://github.com",
        "https://github.com.evil.test/films/pipelines", "https://github.com:8443/films/pipelines",
        "file:///films/pipelines", "/films/pipelines", "", "https://[::1/films/pipelines",
        "https://github.com:x/films/pipelines",
    ],
)  # fmt: skip
def test_another_repository_is_another(url: str) -> None:
    event = github(GITHUB)
    assert event is not None
    assert not same_repository(url, event)


@pytest.mark.parametrize("event", ["ping", "issues", "", "System Hook"])
def test_what_is_no_push_is_harmless(event: str) -> None:
    assert github({"zen": "Keep it logically awesome."}, event) is None
    assert gitlab({}, event) is None


def test_a_deleted_branch_points_to_nothing() -> None:
    event = github({**GITHUB, "after": "0" * 40, "deleted": True})
    assert event is not None
    assert event.commit is None


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({}, "missing"), ({"X-Hub-Signature-256": ""}, "missing"),
        ({"X-Hub-Signature": "sha1=0"}, "missing"), ({"X-Hub-Signature-256": "sha256="}, "wrong"),
        ({"X-Hub-Signature-256": "0" * 64}, "wrong"), ({"X-Gitea-Signature": "é"}, "wrong"),
        ({"X-Gitlab-Token": SECRET + "x"}, "wrong"), ({"X-Gitlab-Token": SECRET[:-1]}, "wrong"),
        ({"X-Gitlab-Token": SECRET, "X-Hub-Signature-256": "0"}, "wrong"),
    ],
)  # fmt: skip
def test_what_is_not_genuine_is_refused(headers: dict[str, str], reason: str) -> None:
    with pytest.raises(WebhookError) as caught:
        verify({"X-GitHub-Event": "push", **headers}, json.dumps(GITHUB).encode(), SECRET)
    assert caught.value.reason == reason
    assert SECRET not in str(caught.value)


def test_without_a_secret_nothing_is_genuine() -> None:
    body = json.dumps(GITHUB).encode()
    for headers in ({"X-Hub-Signature-256": hashed(body, "")}, {"X-Gitlab-Token": ""}):
        with pytest.raises(WebhookError):
            verify({"X-GitHub-Event": "push", **headers}, body, "")


@pytest.mark.parametrize(
    "body",
    [
        b"", b"[]", b"\xff", b"[" * 100_000, {}, {**GITHUB, "ref": None}, {**GITHUB, "ref": ""},
        {**GITHUB, "repository": None}, {**GITHUB, "repository": {"clone_url": 7}},
        {**GITHUB, "repository": {"clone_url": "/etc"}},
    ],
)  # fmt: skip
def test_a_genuine_push_that_cannot_be_read_is_told(body: Any) -> None:
    with pytest.raises(WebhookError) as caught:
        github(body)
    assert caught.value.reason == "malformed"


def test_a_form_without_a_payload_is_told() -> None:
    with pytest.raises(WebhookError, match="no JSON"):
        github(b"a=b", **{"Content-Type": "application/x-www-form-urlencoded"})


@given(st.text())
def test_any_text_is_an_address_or_none(text: str) -> None:
    found = normalized(text)
    assert found is None or "/" in found

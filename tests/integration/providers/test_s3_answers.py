"""What an S3 endpoint may answer, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from scripted_s3 import (
    ROLE,
    Reply,
    Request,
    ScriptedS3,
    broken_after,
    failure,
    listing,
    only,
    refusal,
)
from telecine.api.connection import S3Config
from telecine.providers.base import AssetChangedError, ProviderError
from telecine.providers.s3 import S3Provider

KEYS = {"access_key_id": "me", "secret_access_key": "mine"}


def test_keys_with_control_characters_come_back_exactly(scripted: ScriptedS3) -> None:
    keys = ["new\nline", "\x01\x02", "a b+c%", "ends in space ", "null\0byte", "\ufffe"]
    scripted.answer = lambda _: Reply(body=listing(keys))
    assert [asset.id for page in scripted.provider().list("") for asset in page] == keys


def test_a_key_that_is_not_text_is_listed_as_unavailable(scripted: ScriptedS3) -> None:
    body = listing(["PLACE"]).replace("PLACE", "caf%E9.txt")
    scripted.answer = lambda _: Reply(body=body)
    assert only(scripted.provider()).unavailable == "undecodable_key"


@pytest.mark.parametrize("storage", ["GLACIER", "DEEP_ARCHIVE"])
def test_an_archived_object_is_listed_as_unavailable(scripted: ScriptedS3, storage: str) -> None:
    scripted.answer = lambda _: Reply(body=listing(["a"], storage=storage))
    asset = only(scripted.provider())
    assert asset.unavailable == "archived_storage_class"
    assert asset.metadata is not None
    assert asset.metadata["storage_class"] == storage


WHOLE = listing([f"key-{number}" for number in range(50)])


@pytest.mark.parametrize(
    "reply",
    [
        Reply(500, "<Error><Code>InternalError</Code></Error>"),
        Reply(200, "<Error><Code>InternalError</Code></Error>"),
        Reply(200, WHOLE, cut=True),
        Reply(200, WHOLE[: len(WHOLE) // 2]),
        Reply(200, WHOLE.replace("<IsTruncated>false</IsTruncated>", "")),
        Reply(200, WHOLE.replace("<IsTruncated>false", "<IsTruncated>true")),
        Reply(200, WHOLE.replace("<Size>2</Size>", "<Size>two</Size>")),
        Reply(200, WHOLE.replace("<Key>key-7</Key>", "")),
        Reply(200, "<html><body>Sign in to the guest network</body></html>"),
        Reply(200, ""),
        Reply(200, listing(["c"], following="2")),
        Reply(403, "not even XML"),
        Reply(404, "<Error><Code>NoSuchBucket</Code></Error>"),
    ],
    ids=[
        "500", "error-as-200", "connection-cut", "half-a-page", "no-is-truncated", "no-token",
        "no-number", "no-key", "portal", "empty", "same-page-again", "403", "bucket-deleted",
    ],
)  # fmt: skip
def test_a_second_page_that_is_no_page_is_an_error(scripted: ScriptedS3, reply: Reply) -> None:
    scripted.answer = broken_after(reply)
    pages = scripted.provider().list("")
    assert [asset.id for asset in next(pages)] == ["a", "b"]
    with pytest.raises(ProviderError) as caught:
        list(pages)
    assert not caught.value.asset_only


def test_a_passing_fault_of_a_page_is_tried_again(scripted: ScriptedS3) -> None:
    replies = iter([Reply(503, ""), Reply(200, WHOLE, cut=True), Reply(200, WHOLE)])
    scripted.answer = lambda _: next(replies)
    pages = list(scripted.provider(attempts=3).list(""))
    assert [len(page) for page in pages] == [50]


@pytest.mark.parametrize(
    ("status", "code", "reason", "permanent"),
    [
        (403, "InvalidAccessKeyId", "Unauthorized", True),
        (403, "AccessDenied", "Unauthorized", True),
        (400, "ExpiredToken", "Unauthorized", True),
        (401, "Whatever", "Unauthorized", True),
        (404, "NoSuchBucket", "BucketNotFound", True),
        (301, "PermanentRedirect", "WrongRegion", True),
        (400, "AuthorizationHeaderMalformed", "WrongRegion", True),
        (501, "NotImplemented", "SourceRefused", True),
        (403, "RequestTimeTooSkewed", "ClockSkewed", False),
        (503, "SlowDown", "Throttled", False),
        (429, "TooManyRequests", "Throttled", False),
        (500, "InternalError", "SourceUnavailable", False),
    ],
)
def test_refusals_are_told_apart(
    scripted: ScriptedS3, status: int, code: str, reason: str, permanent: bool
) -> None:
    scripted.answer = lambda _: refusal(status, code, "The words of the store.")
    provider = scripted.provider()
    with pytest.raises(ProviderError) as caught:
        provider.check()
    for error in (failure(provider), caught.value):
        assert (error.reason, error.permanent, error.asset_only) == (reason, permanent, False)
        assert "The words of the store." in str(error)


def test_the_right_region_is_named(scripted: ScriptedS3) -> None:
    scripted.answer = lambda _: refusal(
        301, "PermanentRedirect", "Elsewhere.", x_amz_bucket_region="eu-west-1"
    )
    assert "eu-west-1" in str(failure(scripted.provider()))


def served(request: Request) -> Reply:
    """A listing of one object, and that object, to whomever asks; If-Match is ignored."""
    if "list-type" in request.query:
        return Reply(body=listing(["a.txt"], size=6))
    return Reply(
        body=b"abcdef",
        headers={"ETag": '"etag"', "Last-Modified": "Sun, 01 Mar 2026 10:00:00 GMT"},
    )


def test_a_store_that_ignores_if_match_is_seen_through(scripted: ScriptedS3) -> None:
    scripted.answer = served
    provider = scripted.provider()
    asset = only(provider)
    with provider.open(asset) as stream:
        assert stream.read() == b"abcdef"
    assert scripted.requests[-1].headers["if-match"] == '"etag"'

    def replaced(request: Request) -> Reply:
        return Reply(served(request).status, b"abcdef", {"ETag": '"other"'})

    scripted.answer = replaced
    with pytest.raises(AssetChangedError), provider.open(asset):
        pass


def test_a_download_that_breaks_off_is_an_error_of_that_asset(scripted: ScriptedS3) -> None:
    def cut(request: Request) -> Reply:
        reply = served(request)
        reply.cut = "list-type" not in request.query
        return reply

    scripted.answer = cut
    provider = scripted.provider()
    with provider.open(only(provider)) as stream, pytest.raises(ProviderError) as caught:
        stream.read()
    assert (caught.value.reason, caught.value.asset_only) == ("ReadInterrupted", True)
    assert not caught.value.permanent


def refused(code: str, status: int = 403) -> Callable[[Request], Reply]:
    def answer(request: Request) -> Reply:
        if "list-type" in request.query:
            return served(request)
        # HEAD has no body: only the status.
        return refusal(status, code) if request.method == "GET" else Reply(status)

    return answer


@pytest.mark.parametrize(
    ("status", "code", "reason", "asset_only"),
    [
        (403, "AccessDenied", "AccessDenied", True),
        (403, "InvalidObjectState", "Archived", True),
        (403, "InvalidAccessKeyId", "Unauthorized", False),
        (404, "NoSuchKey", "AssetChanged", True),
        (404, "NoSuchBucket", "BucketNotFound", False),
    ],
)
def test_a_refused_object_is_told_from_a_refused_source(
    scripted: ScriptedS3, status: int, code: str, reason: str, asset_only: bool
) -> None:
    scripted.answer = refused(code, status)
    provider = scripted.provider()
    asset = only(provider)
    with pytest.raises(ProviderError) as opened, provider.open(asset):
        pass
    with pytest.raises(ProviderError) as described:
        provider.describe(asset)
    for error in (opened.value, described.value):
        assert (error.reason, error.asset_only) == (reason, asset_only)


def test_metadata_written_during_a_run_has_its_own_version(scripted: ScriptedS3) -> None:
    scripted.answer = served
    provider = scripted.provider()
    asset = only(provider)
    assert provider.describe(asset).version == asset.version

    def touched(request: Request) -> Reply:
        later = {"ETag": '"etag"', "Last-Modified": "Mon, 02 Mar 2026 10:00:00 GMT"}
        return Reply(body=b"abcdef", headers=later)

    scripted.answer = touched
    described = provider.describe(asset)
    assert described.version != asset.version
    assert described.fingerprint == asset.fingerprint
    assert described.modified == asset.modified + 86400


def test_credentials_and_requester_pays_are_in_every_request(scripted: ScriptedS3) -> None:
    secret = {"access_key_id": "me\n", "secret_access_key": "mine", "session_token": "for-now"}
    scripted.answer = served
    provider = scripted.provider(secret, request_payer=True)
    provider.check()
    asset = only(provider)
    provider.describe(asset)
    with provider.open(asset) as stream:
        stream.read()
    assert len(scripted.requests) == 4
    for request in scripted.requests:
        assert "Credential=me/" in request.headers["authorization"]
        assert request.headers["x-amz-security-token"] == "for-now"
        assert request.headers["x-amz-request-payer"] == "requester"
        assert request.path.startswith("/shelf")


def test_without_a_secret_the_ambient_credentials_are_used(
    scripted: ScriptedS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ambient")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "ambient-secret")
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    scripted.provider({}).check()
    assert "Credential=ambient/" in scripted.requests[0].headers["authorization"]


def test_without_any_credentials_the_message_says_what_to_give(
    scripted: ScriptedS3, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    error = failure(scripted.provider({}))
    assert (error.reason, error.permanent) == ("Unauthorized", True)
    assert "secretRef" in str(error)


def granting(*lifetimes: timedelta) -> Callable[[Request], Reply]:
    """STS and S3 in one; each AssumeRole gives credentials of the next lifetime."""
    remaining = iter(enumerate(lifetimes, 1))

    def answer(request: Request) -> Reply:
        if request.method != "POST":
            return Reply(body=listing(["a"]))
        number, lifetime = next(remaining)
        until = (datetime.now(UTC) + lifetime).strftime("%Y-%m-%dT%H:%M:%SZ")
        return Reply(
            body='<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">'
            f"<AssumeRoleResult><Credentials><AccessKeyId>ROLE{number}</AccessKeyId>"
            f"<SecretAccessKey>s</SecretAccessKey><SessionToken>token{number}</SessionToken>"
            f"<Expiration>{until}</Expiration></Credentials></AssumeRoleResult>"
            "</AssumeRoleResponse>"
        )

    return answer


def test_a_role_is_assumed_with_the_credentials_at_hand_and_renewed(scripted: ScriptedS3) -> None:
    # Botocore renews credentials that end within ten minutes.
    scripted.answer = granting(timedelta(minutes=5), timedelta(hours=1))
    provider = scripted.provider(role_arn=ROLE, external_id="telecine-7")
    for _ in range(3):
        assert only(provider).id == "a"
    asked = [r for r in scripted.requests if r.method == "POST"]
    assert len(asked) == 2
    assert all("Credential=me/" in r.headers["authorization"] for r in asked)
    assert "RoleArn=arn" in asked[0].body
    assert "ExternalId=telecine-7" in asked[0].body
    listed = [r.headers for r in scripted.requests if r.method == "GET"]
    assert all("Credential=ROLE" in headers["authorization"] for headers in listed)
    assert listed[-1]["x-amz-security-token"] == "token2"


def test_credentials_that_come_expired_are_an_error_that_may_pass(scripted: ScriptedS3) -> None:
    scripted.answer = granting(timedelta(hours=-1))
    error = failure(scripted.provider(role_arn=ROLE))
    assert (error.reason, error.permanent) == ("CredentialsUnavailable", False)


def test_a_redirect_is_not_followed_round_and_round(scripted: ScriptedS3) -> None:
    scripted.answer = lambda _: Reply(301, "", {"Location": "https://127.0.0.1/"})
    assert failure(scripted.provider()).reason == "WrongRegion"
    assert len(scripted.requests) == 1


def test_a_role_that_cannot_be_assumed_is_named_as_the_reason(scripted: ScriptedS3) -> None:
    scripted.answer = lambda _: refusal(403, "AccessDenied", "Not yours.")
    error = failure(scripted.provider(role_arn=ROLE))
    assert (error.reason, error.permanent) == ("Unauthorized", True)
    assert "roleArn" in str(error)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "169.254.169.254", "10.0.0.1"])
def test_private_endpoints_can_be_forbidden(scripted: ScriptedS3, host: str) -> None:
    port = scripted.endpoint.rpartition(":")[2]
    config = S3Config(bucket="shelf", endpoint=f"http://{host}:{port}")
    provider = S3Provider(config, KEYS, allow_private=False, attempts=1)
    with pytest.raises(ProviderError) as caught:
        provider.check()
    for error in (failure(provider), caught.value):
        assert (error.reason, error.permanent) == ("EndpointRefused", True)
    assert scripted.requests == []


def test_a_listing_that_is_given_up_stops_asking(scripted: ScriptedS3) -> None:
    def endless(request: Request) -> Reply:
        token = int(request.query.get("continuation-token", "0"))
        return Reply(body=listing([f"{token}"], following=str(token + 1)))

    scripted.answer = endless
    pages = scripted.provider().list("")
    next(pages)
    pages.close()  # type: ignore[attr-defined]
    assert len(scripted.requests) <= 3

"""What is counted of the requests that a client of boto3 sends."""

from __future__ import annotations

import pytest
from scripted_s3 import ROLE, Reply, ScriptedS3, listing, only, refusal
from telecine.api.sync import ProviderCalls
from telecine.providers.base import ProviderError


def counts(total: int, errors: int = 0, throttled: int = 0) -> ProviderCalls:
    return ProviderCalls(total=total, errors=errors, throttled=throttled)


def test_each_page_is_a_call(scripted: ScriptedS3) -> None:
    scripted.answer = lambda _: Reply(body=listing(["a"]))
    provider = scripted.provider()
    only(provider)
    only(provider)
    assert provider.calls.told() == counts(2)
    assert len(scripted.requests) == 2


@pytest.mark.parametrize(
    ("reply", "throttled"),
    [
        (refusal(403, "AccessDenied"), 0),
        (refusal(500, "InternalError"), 0),
        (refusal(200, "InternalError"), 0),
        (refusal(301, "PermanentRedirect"), 0),
        (refusal(503, "SlowDown"), 1),
        (refusal(429, "TooManyRequests"), 1),
        (refusal(400, "RequestLimitExceeded"), 1),
    ],
    ids=lambda value: str(value.body)[13:30] if isinstance(value, Reply) else str(value),
)
def test_refusals_are_errors_and_some_are_throttles(
    scripted: ScriptedS3, reply: Reply, throttled: int
) -> None:
    scripted.answer = lambda _: reply
    provider = scripted.provider()
    with pytest.raises(ProviderError):
        only(provider)
    assert provider.calls.told() == counts(1, 1, throttled)


def test_every_attempt_counts(scripted: ScriptedS3) -> None:
    scripted.answer = lambda _: refusal(503, "SlowDown")
    provider = scripted.provider(attempts=3)
    with pytest.raises(ProviderError):
        only(provider)
    assert provider.calls.told() == counts(3, 3, 3)


def test_a_connection_that_breaks_is_an_error(scripted: ScriptedS3) -> None:
    scripted.answer = lambda _: Reply(body=listing(["a"]), cut=True)
    provider = scripted.provider()
    with pytest.raises(ProviderError):
        only(provider)
    assert provider.calls.told() == counts(1, 1)


def test_content_that_breaks_off_is_an_error(scripted: ScriptedS3) -> None:
    scripted.answer = lambda _: Reply(body=listing(["a"]))
    provider = scripted.provider()
    asset = only(provider)
    scripted.answer = lambda _: Reply(body="ab", cut=True, headers={"ETag": '"etag"'})
    with pytest.raises(ProviderError), provider.open(asset) as stream:
        stream.read()
    assert provider.calls.told() == counts(2, 1)


def test_a_role_is_asked_for_with_a_call(scripted: ScriptedS3) -> None:
    scripted.answer = lambda _: refusal(403, "AccessDenied")
    provider = scripted.provider(role_arn=ROLE, sts_endpoint=scripted.endpoint)
    with pytest.raises(ProviderError):
        only(provider)
    assert provider.calls.told() == counts(1, 1)


def test_what_may_not_be_reached_is_a_call_that_failed(scripted: ScriptedS3) -> None:
    provider = scripted.provider(allow_private=False)
    with pytest.raises(ProviderError):
        only(provider)
    assert provider.calls.told() == counts(1, 1)

"""Requests to a source are counted as they go out."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest
from telecine.api.connection import MuxConfig
from telecine.api.sync import ProviderCalls
from telecine.providers.base import ProviderError
from telecine.providers.calls import Calls
from telecine.providers.mux_api import MuxApi


def counts(total: int, errors: int = 0, throttled: int = 0) -> ProviderCalls:
    return ProviderCalls(total=total, errors=errors, throttled=throttled)


def api(*answers: int | Exception) -> MuxApi:
    """One that is answered so, one after another; the last answer stays."""
    made = MuxApi(MuxConfig(requests_per_second=1000), {}, attempts=3)
    left = list(answers)

    def answer(request: httpx2.Request) -> httpx2.Response:
        told = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(told, Exception):
            raise told
        headers = {"retry-after": "0.05", "location": "https://b.test/"}
        return httpx2.Response(told, json={}, headers=headers)

    made._client = httpx2.Client(
        transport=httpx2.MockTransport(answer), event_hooks=made.calls.hooks()
    )
    return made


def test_nothing_lost_between_threads() -> None:
    calls = Calls()

    def call(number: int) -> None:
        calls.began()
        if number % 2:
            calls.failed(throttled=number % 4 == 1)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(call, range(4000)))
    assert calls.told() == counts(4000, 2000, 1000)


def test_counts_add_up() -> None:
    assert counts(3, 2, 1) + counts(4) == counts(7, 2, 1)


def test_a_request_that_is_tried_again_is_two_and_a_pause_is_a_throttle() -> None:
    made = api(200, 429, 503, 200)
    made.get("/a")
    assert made.calls.told() == counts(1)
    made.get("/a")
    assert made.calls.told() == counts(4, 2, 1)


@pytest.mark.parametrize("answer", [httpx2.ConnectError("no"), httpx2.ReadTimeout("no")])
def test_no_answer_is_an_error(answer: Exception) -> None:
    made = api(answer)
    with pytest.raises(ProviderError):
        made.get("/a")
    assert made.calls.told() == counts(3, 3)


def test_hops_of_a_redirect_are_calls_and_no_errors() -> None:
    made = api(302, 200)
    with made.stream("https://a.test/", "a"):
        pass
    assert made.calls.told() == counts(2)


def test_a_download_that_breaks_is_one_error() -> None:
    made = api(httpx2.ConnectError("no"))
    with pytest.raises(ProviderError), made.stream("https://a.test/", "a"):
        pass
    assert made.calls.told() == counts(1, 1)


def test_what_goes_wrong_with_whoever_reads_a_download_is_no_error_of_the_source() -> None:
    made = api(200)
    with pytest.raises(ZeroDivisionError), made.stream("https://a.test/", "a"):
        raise ZeroDivisionError
    assert made.calls.told() == counts(1)

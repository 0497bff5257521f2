"""Which addresses a user's endpoint may lead to."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from telecine.providers.addresses import require_public
from telecine.providers.base import ProviderError


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "169.254.169.254",
        "0.0.0.0",
        "224.0.0.1",
        "2130706433",
        "[::1]",
        "[fd00:ec2::254]",
        "[fe80::1]",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::169.254.169.254]",
        "[2002:7f00:1::]",
    ],
)
def test_an_address_that_is_not_public_is_refused(host: str) -> None:
    with pytest.raises(ProviderError) as caught:
        require_public(f"http://{host}:9000/bucket")
    assert (caught.value.reason, caught.value.permanent) == ("EndpointRefused", True)


@pytest.mark.parametrize("host", ["8.8.8.8", "[2001:4860:4860::8888]"])
def test_a_public_address_passes(host: str) -> None:
    require_public(f"https://{host}/bucket")


def test_one_private_address_among_public_ones_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    def both(*_: Any, **__: Any) -> list[Any]:
        return [(0, 0, 0, "", ("8.8.8.8", 0)), (0, 0, 0, "", ("10.0.0.1", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", both)
    with pytest.raises(ProviderError, match="example"):
        require_public("https://example.com")


def test_a_name_without_an_address_may_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: Any, **__: Any) -> list[Any]:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(ProviderError) as caught:
        require_public("https://example.invalid")
    assert (caught.value.reason, caught.value.permanent) == ("Unreachable", False)

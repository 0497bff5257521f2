"""Which network addresses a user's endpoint may lead to."""

from __future__ import annotations

import ipaddress
import socket
from typing import TypeAlias
from urllib.parse import urlsplit

from telecine.providers.base import ProviderError

_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
#: NAT64 (RFC 6052): the last four bytes are the IPv4 address that is really meant.
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def require_public(url: str) -> None:
    """Lets a URL pass whose host has public addresses only.

    Private, loopback, link-local (cloud metadata services) and otherwise reserved addresses are
    refused, also when they are one of several or wrapped in IPv6.

    Raises:
        ProviderError: `EndpointRefused`, or `Unreachable` when the name has no address.
    """
    public_addresses(urlsplit(url).hostname or "")


def public_addresses(host: str) -> list[str]:
    """All addresses of a host, for a connection to one of these and no other.

    Raises:
        ProviderError: as `require_public`.
    """
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise ProviderError("Unreachable", f"the name {host} has no address: {error}") from error
    addresses = list(dict.fromkeys(str(where[0]).partition("%")[0] for *_, where in found))
    for address in addresses:
        if not _is_public(ipaddress.ip_address(address)):
            raise ProviderError(
                "EndpointRefused",
                f"{host} leads to an address that is not public; the operator's setting "
                "TELECINE_ALLOW_PRIVATE_ENDPOINTS forbids that",
                permanent=True,
            )
    return addresses


def _is_public(address: _Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            inner = ipaddress.IPv4Address(address.packed[-4:])
        if inner is not None:
            return _is_public(inner)
    return address.is_global and not address.is_multicast

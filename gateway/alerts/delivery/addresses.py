"""Validate the URLs of webhooks and their addresses: only public ones, unless configured."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final
from urllib.parse import SplitResult, urlsplit

URL_MAX_CHARS: Final = 2000
# IPv4 inside IPv6, by which a translator in between reaches the embedded address.
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
# Where clouds hand out credentials to any client; no private network uses these.
_METADATA: Final = frozenset({ipaddress.ip_address("fd00:ec2::254")})


@dataclass(frozen=True, slots=True)
class Reach:
    """What this installation lets webhooks reach beyond the public internet."""

    loopback: bool = False
    private: bool = False


def fault_of_url(url: str, reach: Reach) -> str | None:
    """Return what is wrong with a webhook's URL, as a sentence, or None. Does not query DNS."""
    if len(url) > URL_MAX_CHARS:
        return f"The URL must have at most {URL_MAX_CHARS} characters."
    if not url.isascii() or not url.isprintable() or " " in url:
        return "The URL must contain only printable ASCII characters and no spaces."
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "Not a valid URL."
    if parts.scheme not in ("https", "http") or not host:
        return "The URL must start with https://."
    if parts.username is not None or parts.password is not None:
        return "The URL must not contain a user or password; verify the signature instead."
    if parts.fragment:
        return "The URL must not contain a fragment (#)."
    if parts.scheme == "http" and not _may_be_plain(parts, reach):
        return "The URL must start with https://; plain http can be read and changed in transit."
    literal = literal_address(host)
    return None if literal is None else fault_of_address(literal, reach)


def literal_address(host: str) -> IPv4Address | IPv6Address | None:
    """Return the address that a host is written as, or None for a name."""
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None


def fault_of_address(address: IPv4Address | IPv6Address, reach: Reach) -> str | None:
    """Return why nothing is sent to an address, as a sentence, or None."""
    embedded = _embedded(address)
    if embedded.is_loopback:
        return None if reach.loopback else _inside(address)
    if (
        embedded.is_link_local
        or embedded in _METADATA
        or embedded.is_multicast
        or embedded.is_unspecified
    ):
        return _inside(address)
    if embedded.is_global:
        return None
    return (
        None
        if reach.private and embedded.is_private and not embedded.is_reserved
        else _inside(address)
    )


def _embedded(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Return the IPv4 address that an IPv6 address carries, else the address itself."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    teredo = address.teredo[1] if address.teredo else None
    return address.ipv4_mapped or address.sixtofour or teredo or address


def _may_be_plain(parts: SplitResult, reach: Reach) -> bool:
    if reach.private:
        return True
    literal = literal_address(parts.hostname or "")
    is_loopback = literal.is_loopback if literal else parts.hostname == "localhost"
    return reach.loopback and is_loopback


def _inside(address: IPv4Address | IPv6Address) -> str:
    return f"{address} is not a public address; webhooks must go to public addresses."

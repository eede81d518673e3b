"""Validate the URLs of webhooks and their addresses: only public ones, unless configured."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final
from urllib.parse import SplitResult, urlsplit

URL_MAX_CHARS: Final = 2000
IpAddress = IPv4Address | IPv6Address


def _networks(*texts: str) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(map(ipaddress.ip_network, texts))


# Python's `is_global` differs between its versions, and knows neither clouds nor translators. So
# the lists are ours: of IPv6 only what is assigned for global use counts, less its special parts.
# https://www.iana.org/assignments/iana-ipv6-special-registry
_GLOBAL_V6: Final = ipaddress.IPv6Network("2000::/3")
_SPECIAL: Final = _networks(
    *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
    *("172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16"),
    *("198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
    "2001::/23",  # Teredo and other protocols
    "2002::/16",  # 6to4
    *("2001:db8::/32", "3ffe::/16", "3fff::/20"),
)
_LOOPBACK: Final = _networks("127.0.0.0/8", "::1/128")
# What PULSE_ALERTS_PRIVATE_HOSTS allows.
_PRIVATE: Final = _networks("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
# Where clouds hand out credentials to any client; those that are link-local are refused anyway.
_METADATA: Final = _networks(
    *("fd00:ec2::254/128", "fd20:ce::254/128", "fd00:42::42/128"),  # AWS, Google, Scaleway
    *("168.63.129.16/32", "100.100.100.200/32", "192.0.0.192/32"),  # Azure, Alibaba, Oracle
)
# IPv4 inside IPv6 that a translator on the way (NAT64, RFC 6052) or this machine's own system
# (IPv4-mapped) turns into the IPv4 address: that one counts. All other ways to write IPv4 in
# IPv6 (::a.b.c.d, ::ffff:0:a.b.c.d, 6to4, Teredo, local NAT64) are outside of what is allowed.
_CARRIERS: Final = _networks("::ffff:0:0/96", "64:ff9b::/96")
# An interface id of ISATAP: `0000:5efe` or `0200:5efe`, then an IPv4 address.
_ISATAP: Final = frozenset({0x0000_5EFE, 0x0200_5EFE})


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


def literal_address(host: str) -> IpAddress | None:
    """Return the address that a host is written as, or None for a name."""
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None


def fault_of_address(address: IpAddress, reach: Reach) -> str | None:
    """Return why nothing is sent to an address, as a sentence, or None."""
    reached = _reached(address)
    if _is_in(reached, _METADATA) or (reached.version == 6 and _interface(reached) in _ISATAP):
        is_allowed = False
    elif _is_in(reached, _LOOPBACK):
        is_allowed = reach.loopback
    elif _is_in(reached, _PRIVATE):
        is_allowed = reach.private
    else:
        is_allowed = not _is_in(reached, _SPECIAL) and (
            reached.version == 4 or reached in _GLOBAL_V6
        )
    return None if is_allowed else _inside(address)


def _reached(address: IpAddress) -> IpAddress:
    """Return the address that is reached, without its scope: an IPv4 address that it carries."""
    if isinstance(address, IPv4Address):
        return address
    plain = IPv6Address(int(address))
    if _is_in(plain, _CARRIERS):
        return IPv4Address(int(plain) & 0xFFFF_FFFF)
    return plain


def _interface(address: IpAddress) -> int:
    """Return the first half of an IPv6 address's interface id."""
    return int(address) >> 32 & 0xFFFF_FFFF


def _is_in(address: IpAddress, networks: Iterable[IPv4Network | IPv6Network]) -> bool:
    return any(address in network for network in networks)


def _may_be_plain(parts: SplitResult, reach: Reach) -> bool:
    if reach.private:
        return True
    literal = literal_address(parts.hostname or "")
    is_loopback = literal.is_loopback if literal else parts.hostname == "localhost"
    return reach.loopback and is_loopback


def _inside(address: IpAddress) -> str:
    return f"{address} is not a public address; webhooks must go to public addresses."

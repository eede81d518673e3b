"""Which URLs and addresses may be called that users configure: only public ones, unless allowed.

For webhooks and rows of providers. The URL is parsed by the library that sends the request, and a
name is resolved once, by `CheckedResolver`: the address that was checked is the one connected to.
"""

from __future__ import annotations

import errno
import ipaddress
import re
import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

from aiohttp import ThreadedResolver
from aiohttp.abc import ResolveResult
from yarl import URL

from gateway.core.providers import Reach

URL_MAX_CHARS: Final = 2000
NOT_VALID: Final = "Not a valid URL."
IpAddress = IPv4Address | IPv6Address

# The last label of a name is no number. Programs read such hosts as addresses, each in its own way:
# 127.1, 0x7f.0.0.1, 0177.0.0.1 and 2130706433 can all be 127.0.0.1.
# https://url.spec.whatwg.org/#ends-in-a-number-checker
_NAME: Final = re.compile(r"(?!(?:.*\.)?(?:\d+|0[xX][\dA-Fa-f]*)\.*$)[A-Za-z0-9._-]+")


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
# What a Reach with `private` allows.
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


class AddressRefused(OSError):
    """A name resolves to an address that may not be reached. The message names both."""

    def __init__(self, message: str) -> None:
        # With a number: aiohttp shows the text of those alone.
        super().__init__(errno.EACCES, message)


def fault_of_url(text: str, reach: Reach) -> str | None:
    """Return what is wrong with a URL, as a sentence, or None. Does not query DNS."""
    if len(text) > URL_MAX_CHARS:
        return f"The URL must have at most {URL_MAX_CHARS} characters."
    if not text.isascii() or not text.isprintable() or " " in text:
        return "The URL must contain only printable ASCII characters and no spaces."
    try:
        url = URL(text, encoded=True)
        host, _ = url.raw_host, url.port
    except ValueError:
        return NOT_VALID
    if url.scheme not in ("https", "http") or not host:
        return "The URL must start with https://."
    if "@" in url.raw_authority:
        return "The URL must not contain a user or password."
    if "#" in text:  # also of nothing: what is appended would be in it
        return "The URL must not contain a fragment (#)."
    return fault_of_target(url, reach)


def fault_of_target(url: URL, reach: Reach) -> str | None:
    """Return why no request is sent to the host of an http or https URL, as a sentence, or None.

    A name is only checked when it is resolved.
    """
    host = url.raw_host or ""
    address = address_of(host)
    if not url.port or (address is None and not _NAME.fullmatch(host)):
        return NOT_VALID
    if url.scheme == "http" and not _may_be_plain(address, reach):
        return "The URL must start with https://; plain http can be read and changed in transit."
    return None if address is None else fault_of_address(address, reach)


def address_of(host: str) -> IpAddress | None:
    """Return the address that a host is without DNS, or None for a name.

    `localhost` and names under it are loopback addresses: https://www.rfc-editor.org/rfc/rfc6761
    """
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return IPv4Address("127.0.0.1")
    try:
        return ipaddress.ip_address(name)
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
    return None if is_allowed else f"{address} is not a public address."


class CheckedResolver(ThreadedResolver):
    """Resolve names by the system's resolver and refuse addresses that may not be reached.

    The connection goes to the addresses that were checked here: a name that is changed in between
    is of no use. Where one of several is refused, all are. Raises AddressRefused.
    """

    def __init__(self, reach: Reach) -> None:
        super().__init__()
        self._reach = reach

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of a name."""
        found = await super().resolve(host, port, family)
        for each in found:
            address = address_of(each["host"])
            if address is None:
                raise AddressRefused(f"{host} does not resolve to a valid address.")
            if fault := fault_of_address(address, self._reach):
                raise AddressRefused(f"{host} resolves to a blocked address: {fault}")
        return found


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


def _may_be_plain(address: IpAddress | None, reach: Reach) -> bool:
    if reach.private:
        return True
    return reach.loopback and address is not None and _is_in(_reached(address), _LOOPBACK)

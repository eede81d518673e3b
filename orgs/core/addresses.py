"""Network addresses: as kept, as counted by limits, and whether they are in networks."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def network_address(remote_address: str | None) -> str:
    """Return a client's address as it is kept, empty if unknown; IPv4 without `::ffff:`."""
    parsed = _parsed(remote_address or "")
    return "" if parsed is None else str(parsed)


def counted_address(address: str) -> str:
    """Return the address under which limits count a client: an IPv6 client's whole /64."""
    parsed = _parsed(address)
    if parsed is None or parsed.version == 4:
        return str(parsed or address)
    return str(ipaddress.ip_network((int(parsed), 64), strict=False))


def is_among(address: str, networks: Iterable[Network]) -> bool:
    """Return whether the address is in one of the networks."""
    parsed = _parsed(address)
    return parsed is not None and any(parsed in network for network in networks)


def _parsed(address: str) -> Address | None:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return None
    # A socket for both versions shows IPv4 addresses as ::ffff:…
    return getattr(parsed, "ipv4_mapped", None) or parsed

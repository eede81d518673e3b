"""The address under which a client is counted."""

from __future__ import annotations

import ipaddress

import pytest

from orgs.core.addresses import counted_address, is_among


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("a socket", "a socket"),
        ("", ""),
    ],
)
def test_ipv6_client_counts_as_its_whole_network(address: str, counted: str) -> None:
    assert counted_address(address) == counted


@pytest.mark.parametrize(
    ("address", "is_inside"),
    [
        ("10.1.2.3", True),
        ("::ffff:10.1.2.3", True),
        ("10.1.3.3", False),
        ("2001:db8::1", True),
        ("2001:db9::1", False),
        ("a socket", False),
    ],
)
def test_membership_in_networks(address: str, is_inside: bool) -> None:
    networks = [ipaddress.ip_network(name) for name in ("10.1.2.0/24", "2001:db8::/32")]
    assert is_among(address, networks) is is_inside

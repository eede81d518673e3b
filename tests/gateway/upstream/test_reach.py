"""Which URLs and addresses may be reached: public ones only, however they are written."""

from __future__ import annotations

import ipaddress

import pytest

from gateway.core.providers import Reach
from gateway.upstream.reach import address_of, fault_of_address, fault_of_url

EVERYTHING = Reach(loopback=True, private=True)
PUBLIC = (
    *("93.184.216.34", "1.1.1.1", "2606:4700:4700::1111", "2a00:1450:4001:81b::200e"),
    *("64:ff9b::5db8:d822", "::ffff:93.184.216.34"),
)
# What private hosts may have, where the installation allows them.
PRIVATE = (
    *("10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "fd12:3456::1", "fc00::1"),
    *("::ffff:10.0.0.1", "64:ff9b::a00:1"),
)
LOOPBACK = ("127.0.0.1", "127.255.255.254", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1")
# Never, whatever the installation allows.
NEVER = (
    *("169.254.169.254", "169.254.170.2", "fe80::a9fe:a9fe", "fe80::1%1"),  # link-local
    *("168.63.129.16", "100.100.100.200", "192.0.0.192"),  # metadata: Azure, Alibaba, Oracle
    *("fd00:ec2::254", "fd20:ce::254", "fd00:42::42", "fd00:ec2::254%1"),  # AWS, Google, Scaleway
    *("::ffff:168.63.129.16", "64:ff9b::a83f:8110", "64:ff9b::a9fe:a9fe", "::ffff:169.254.169.254"),
    *("::127.0.0.1", "::10.0.0.1", "::93.184.216.34", "::169.254.169.254"),  # IPv4-compatible
    *("::ffff:0:127.0.0.1", "::ffff:0:10.0.0.1"),  # IPv4-translated (SIIT)
    *("2002:7f00:1::", "2002:a00:1::", "2002:5db8:d822::1"),  # 6to4
    *("2001:0:4136:e378:8000:63bf:80ff:fffe", "2001:0:a00:1::"),  # Teredo
    *("64:ff9b:1::7f00:1", "64:ff9b:1::a9fe:a9fe"),  # local NAT64
    *("2606:4700::5efe:7f00:1", "2606:4700::200:5efe:a00:1", "fd12::5efe:a9fe:a9fe"),  # ISATAP
    *("fec0::1", "feff::1"),  # site-local
    *("0.0.0.0", "0.1.2.3", "::", "100.64.0.1", "192.0.0.9", "192.0.2.1", "192.88.99.1"),  # noqa: S104
    *("198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.1.1.1", "240.0.0.1"),
    *("255.255.255.255", "ff02::1", "ff0e::1", "100::1", "2001:db8::1", "3fff::1", "5f00::1"),
    *("2001:20::1", "2001:2::1", "3ffe::1", "4000::1"),
)


def fault(text: str, reach: Reach) -> str | None:
    """The fault of an address, which is that of a URL with it."""
    found = fault_of_address(ipaddress.ip_address(text), reach)
    host = f"[{text}]" if ":" in text else text
    assert fault_of_url(f"https://{host}/", reach) == found
    return found


@pytest.mark.parametrize("text", PUBLIC)
def test_public_address_is_reached(text: str) -> None:
    assert fault(text, Reach()) is None


@pytest.mark.parametrize("text", PRIVATE)
def test_private_address_is_reached_by_setting_only(text: str) -> None:
    assert "is not a public address" in (fault(text, Reach(loopback=True)) or "")
    assert fault(text, EVERYTHING) is None


@pytest.mark.parametrize("text", LOOPBACK)
def test_loopback_address_is_reached_by_setting_only(text: str) -> None:
    assert "is not a public address" in (fault(text, Reach(private=True)) or "")
    assert fault(text, Reach(loopback=True)) is None


@pytest.mark.parametrize("text", NEVER)
def test_special_address_is_never_reached(text: str) -> None:
    assert "is not a public address" in (fault(text, EVERYTHING) or "")


@pytest.mark.parametrize(
    ("host", "address"),
    [
        *(("127.0.0.1", "127.0.0.1"), ("127.0.0.1.", "127.0.0.1"), ("1.1.1.1", "1.1.1.1")),
        *(("localhost", "127.0.0.1"), ("LocalHost.", "127.0.0.1"), ("a.localhost", "127.0.0.1")),
        *(("::1", "::1"), ("fe80::1%1", "fe80::1%1")),
    ],
)
def test_address_is_read_without_dns(host: str, address: str) -> None:
    assert address_of(host) == ipaddress.ip_address(address)


@pytest.mark.parametrize("host", ["example.org", "localhost.example.org", "notlocalhost", "1.a"])
def test_other_host_is_name(host: str) -> None:
    assert address_of(host) is None


@pytest.mark.parametrize(
    "url",
    [
        *("http://example.org/", "ftp://example.org/", "example.org", "https://", "//example.org"),
        *(
            "https://user:secret@example.org/",
            "https://@example.org/",
            "https://example.org/#part",
            "https://example.org/v1#",
        ),
        *("https://exa mple.org/", "https://exa%20mple.org/", "https://127.0.0%2e1/"),
        *("https://example.org/\r\nHost: other", "https://[::1", "https://[::1%]/"),
        *("https://example.org:port/", "https://example.org:0/", "https://1.1.1.1;127.0.0.1/"),
        *("https://2130706433/", "https://0x7f000001/", "https://0x7f.1/", "https://0177.0.0.1/"),
        *("https://127.1/", "https://16843009/", "https://0/", "https://0xA9FEA9FE/"),
        *("https://4294967297/", "https://0x/", "https://1.2.3.4.5./", "https://a.08/"),
        *("https://1.1.1.1\\@127.0.0.1/", "https://exämple.org/", "javascript:alert(1)"),
        "https://example.org/" + "x" * 2000,
    ],
)
def test_invalid_or_unsafe_url_is_refused(url: str) -> None:
    assert fault_of_url(url, Reach())
    assert url.startswith("http://") or fault_of_url(url, EVERYTHING)


@pytest.mark.parametrize(
    ("url", "reach", "is_fine"),
    [
        ("https://hooks.slack.com/services/T0/B0/x", Reach(), True),
        ("https://my_row.example.org:8443/v1?a={b}", Reach(), True),
        ("https://3host/", Reach(), True),
        ("https://127.0.0.1.example.org./", Reach(), True),
        ("http://127.0.0.1:9000/", Reach(loopback=True), True),
        ("http://[::ffff:127.0.0.1]:9000/", Reach(loopback=True), True),
        ("http://localhost:9000/", Reach(loopback=True), True),
        ("http://alerts.intern/", Reach(loopback=True), False),
        ("http://10.0.0.1/", Reach(loopback=True), False),
        ("http://10.0.0.1/", Reach(loopback=True, private=True), True),
        ("http://alerts.intern/", Reach(loopback=True, private=True), True),
        ("http://127.0.0.1/", Reach(private=True), False),
    ],
)
def test_plain_http_needs_loopback_or_private(url: str, reach: Reach, is_fine: bool) -> None:
    assert (fault_of_url(url, reach) is None) is is_fine

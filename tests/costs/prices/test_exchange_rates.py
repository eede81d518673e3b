"""`rates show`, `rates refresh`, `rates set` and the admin's form: the ways to add a rate."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import date, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError
from django.db import connection, transaction
from django.test import Client
from django.urls import reverse
from django.utils.timezone import now

from costs.core.calendar.target_days import working_days_since
from costs.core.exchange_rates import DatedRate
from costs.models import ExchangeRate
from costs.prices.book import load_price_book, price_list_version
from costs.prices.exchange_rates import rate_in_force, set_rate, utc_day
from orgs.core.errors import Invalid
from tests.commands import output_of
from tests.costs.price_list import prices
from tests.factories import ExchangeRateFactory, UserFactory

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]

Way = Callable[[date, str], str]
DAY = timedelta(days=1)


def today() -> date:
    return utc_day(now())


rates = partial(output_of, "rates")


def kept() -> dict[date, Decimal]:
    return dict(ExchangeRate.objects.values_list("on_date", "usd_per_eur"))


def a_rate(days_ago: int, usd_per_eur: str, source: str = "the ECB") -> None:
    ExchangeRateFactory.create(
        on_date=today() - days_ago * DAY, usd_per_eur=Decimal(usd_per_eur), source=source
    )


# --- show ---------------------------------------------------------------------------------------


def test_show_prints_rate_in_force_with_age_and_history() -> None:
    for days_ago, usd in ((40, "1.05"), (30, "1.1000"), (20, "1.12")):
        a_rate(days_ago, usd)
    printed = rates("show")
    age = working_days_since(today() - 20 * DAY, today())
    assert printed.startswith(
        f"1 EUR = 1.12 USD (the ECB, {today() - 20 * DAY}), {age} working days old\n"
        f"The exchange rate, 1.12 USD per EUR of {today() - 20 * DAY}, is more than 3 working days"
    )
    assert "1.05 " in printed
    shown = json.loads(rates("show", "--at", f"{today() - 25 * DAY}", "--format", "json"))
    assert shown == {
        "date": f"{today() - 30 * DAY}",
        "usd_per_eur": "1.1",
        "source": "the ECB",
        "working_days": working_days_since(today() - 30 * DAY, today() - 25 * DAY),
        "is_stale": working_days_since(today() - 30 * DAY, today() - 25 * DAY) > 3,
        "stale_after_working_days": 3,
        "history": [
            {"date": f"{today() - 30 * DAY}", "usd_per_eur": "1.1", "source": "the ECB"},
            {"date": f"{today() - 40 * DAY}", "usd_per_eur": "1.05", "source": "the ECB"},
        ],
    }


def test_current_rate_is_not_stale_and_history_is_limited() -> None:
    for days_ago in range(30):
        a_rate(days_ago, "1.1")
    assert "must update it" not in rates("show")
    shown = json.loads(rates("show", "--format", "json"))
    assert (shown["working_days"], shown["is_stale"], len(shown["history"])) == (0, False, 20)


def test_show_without_rate_is_error() -> None:
    a_rate(0, "1.1")
    with pytest.raises(CommandError, match="There is no exchange rate of 2020-01-01 or before"):
        rates("show", "--at", "2020-01-01")
    with pytest.raises(CommandError, match="must be a date such as 2026-01-31, not 'soon'"):
        rates("show", "--at", "soon")


# --- every way to add a rate --------------------------------------------------------------------


def by_command(on_date: date, usd_per_eur: str) -> str:
    try:
        return rates("set", usd_per_eur, "--date", f"{on_date}")
    except CommandError as exc:
        return str(exc)


def by_list(*command: str, folder: Path) -> Way:
    def add(on_date: date, usd_per_eur: str) -> str:
        path = folder / "list.csv"
        path.write_text(f"Date,USD\n{on_date},{usd_per_eur}\n")
        try:
            output_of(*command, str(path))
        except CommandError as exc:
            return str(exc)
        return ""

    return add


def by_page(on_date: date, usd_per_eur: str) -> str:
    client = Client()
    client.force_login(UserFactory.create(is_staff=True, is_superuser=True))
    typed = {"on_date": f"{on_date}", "usd_per_eur": usd_per_eur, "source": "a letter"}
    answer: Any = client.post(reverse("admin:costs_exchangerate_add"), typed)
    if answer.status_code == 302:
        return ""
    return str(answer.context["adminform"].form.errors.as_text())


@pytest.fixture(params=["set", "refresh", "load", "page"])
def add(request: pytest.FixtureRequest, tmp_path: Path) -> Way:
    ways: dict[str, Way] = {
        "set": by_command,
        "refresh": by_list("rates", "refresh", "--file", folder=tmp_path),
        "load": by_list("prices", "load", "--ecb-file", folder=tmp_path),
        "page": by_page,
    }
    return ways[request.param]


def test_rate_within_fifth_is_added(add: Way) -> None:
    a_rate(5, "1.00")
    add(today() - 3 * DAY, "1.2")
    add(today() - 2 * DAY, "0.96")
    assert list(kept().values()) == [Decimal("1.00"), Decimal("1.2"), Decimal("0.96")][::-1]


@pytest.mark.parametrize(("days_ago", "usd"), [(3, "1.2001"), (3, "0.7999"), (7, "0.8333")])
def test_rate_that_differs_by_more_than_fifth_is_refused(add: Way, days_ago: int, usd: str) -> None:
    a_rate(5, "1.00")
    before = kept()
    refusal = add(today() - days_ago * DAY, usd)
    assert "differs by more than a fifth from" in refusal
    assert "manage.py rates and --force" in refusal
    assert kept() == before


def test_rate_of_future_is_refused(add: Way) -> None:
    assert "must not be in the future" in add(today() + DAY, "1.1")
    assert kept() == {}


@pytest.mark.parametrize("usd", ["0", "-1.1", "NaN", "Infinity", "1.1234567", "1000", "much"])
def test_invalid_rate_is_refused(add: Way, usd: str) -> None:
    assert add(today(), usd)
    assert kept() == {}


def test_new_rate_reaches_running_processes(add: Way) -> None:
    prices("load")
    version, price = price_list_version(), ("openai", "gpt-4o")
    latest = rate_in_force(today())
    assert latest is not None
    ExchangeRate.objects.filter(on_date=today()).delete()
    add(today(), "1.1003")
    assert price_list_version() > version
    rates_now = load_price_book().rates_for([price[1]], price[0], now())
    assert rates_now is not None
    assert (rates_now.exchange_rate_date, rates_now.usd_per_eur) == (today(), Decimal("1.1003"))


# --- set ----------------------------------------------------------------------------------------


def test_set_adds_rate_of_today_with_source() -> None:
    assert rates("set", "1.0842", "--source", "our bank") == f"1 EUR = 1.0842 USD from {today()}.\n"
    row = ExchangeRate.objects.get()
    assert (row.on_date, row.usd_per_eur, row.source) == (today(), Decimal("1.0842"), "our bank")


@pytest.mark.parametrize("add_again", [by_command, by_page])
def test_date_with_rate_is_refused(add_again: Way) -> None:
    a_rate(0, "1.1")
    assert f"There is already a rate: 1.1 USD per EUR of {today()}" in add_again(today(), "1.11")
    assert kept() == {today(): Decimal("1.1")}


def test_forced_rate_replaces_that_of_its_date() -> None:
    a_rate(0, "1.1")
    version = price_list_version()
    rates("set", "2", "--force", "--source", "our bank")
    assert kept() == {today(): Decimal(2)}
    assert ExchangeRate.objects.get().source == "our bank"
    assert price_list_version() > version


@pytest.mark.parametrize("source", ["", " ", "a\nb", "x" * 301])
def test_source_must_be_one_line(source: str) -> None:
    with pytest.raises(CommandError, match="The source must"):
        rates("set", "1.1", "--source", source)


@pytest.mark.parametrize("force", [(), ("--force",)])
def test_force_does_not_allow_invalid_rate(force: tuple[str, ...]) -> None:
    for given in (("0",), ("1.1", "--date", f"{today() + DAY}"), ("1.1", "--date", "1998-12-31")):
        with pytest.raises(CommandError, match="must "):
            rates("set", *given, *force)
    assert kept() == {}


# --- refresh ------------------------------------------------------------------------------------


def a_list(folder: Path, *usd: str) -> str:
    """Write a list of the days until today."""
    path = folder / "list.csv"
    days = [f"{today() - n * DAY},{each}" for n, each in enumerate(reversed(usd))]
    path.write_text("\n".join(["Date,USD", *days]))
    return str(path)


def test_rates_of_one_list_are_compared_with_each_other(tmp_path: Path) -> None:
    path = a_list(tmp_path, "1.1", "1.4", "1.1")
    for command in (("rates", "refresh", "--file"), ("prices", "load", "--ecb-file")):
        with pytest.raises(CommandError, match=r"1\.4 USD per EUR of .* differs by more than a"):
            output_of(*command, path)
    assert kept() == {}
    assert rates("refresh", "--file", path, "--force") == (
        f"Added 3 exchange rates (until {today()}).\n"
    )


def test_forced_load_adds_rates_that_differ(tmp_path: Path) -> None:
    path = a_list(tmp_path, "1.1", "1.4")
    prices("load", "--ecb-file", path, "--force")
    assert list(kept().values()) == [Decimal("1.4"), Decimal("1.1")]


@pytest.mark.parametrize("force", [(), ("--force",)])
def test_refresh_keeps_existing_rates_and_names_those_that_differ(
    tmp_path: Path, force: tuple[str, ...]
) -> None:
    a_rate(1, "1.12", source="our bank")
    path = a_list(tmp_path, "1.1", "1.11", "1.1")
    assert rates("refresh", "--file", path, *force) == (
        f"Added 2 exchange rates (until {today()}).\n"
        f"Kept a rate that differs from the list: {today() - DAY}.\n"
    )
    assert rates("refresh", "--file", path, *force).startswith("Added 0 exchange rates")
    assert kept()[today() - DAY] == Decimal("1.12")


# --- at the same time ---------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_rate_is_compared_with_one_that_is_being_added() -> None:
    a_rate(9, "1.3")

    def set_other() -> None:
        try:
            set_rate(DatedRate(today(), Decimal("1.5")), source="b", today=today(), is_forced=False)
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as threads:
        with transaction.atomic():
            first = DatedRate(today() - DAY, Decimal("1.1"))
            set_rate(first, source="a", today=today(), is_forced=False)
            other = threads.submit(set_other)
            assert not wait([other], timeout=0.5).done
        with pytest.raises(Invalid, match="differs by more than a fifth"):
            other.result(timeout=120)
    assert today() not in kept()

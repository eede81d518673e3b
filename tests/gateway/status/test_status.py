"""What `/status` shows, and who can see it."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils.timezone import now
from pytest_django import Settings

from costs.models import Hold
from costs.prices.exchange_rates import utc_day
from gateway.alerts import lease
from gateway.alerts.rounds import JOB, LEASE_LASTS
from gateway.call.runtime import Gateway, current
from gateway.providers.registry import providers_from_settings
from orgs.fields import new_id
from orgs.models import Organization, User
from tests.factories import ExchangeRateFactory, RateCardFactory, RateFactory, UserFactory

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]

Clients = Callable[[User], Client]


@pytest.fixture
def today() -> date:
    return utc_day(now())


@pytest.fixture(autouse=True)
def nothing_read() -> None:
    """Let no result of another test be kept."""
    current().checks = None


def page(client: Client) -> str:
    response = client.get("/status")
    assert response.status_code == 200
    return " ".join(response.content.decode().split())


def rates(*words: str) -> str:
    """Run `manage.py rates` and return what it prints."""
    out = io.StringIO()
    call_command("rates", *words, stdout=out)
    return out.getvalue()


def exchange_rate_of(operator: Client) -> dict[str, Any]:
    """Return the exchange rate of the JSON."""
    found: dict[str, Any] = operator.get("/status.json").json()["exchangeRate"]
    return found


def fact(text: str, name: str) -> str:
    return text.partition(f"<dt>{name}</dt><dd>")[2].partition("</dd>")[0]


def test_member_and_auditor_see_status(
    client_for: Clients, acme: Organization, member_user: User, auditor_user: User, today: date
) -> None:
    RateFactory.create()
    RateFactory.create(service_tier="priority")
    RateFactory.create(model="announced", starts_at=now() + timedelta(days=1))
    ExchangeRateFactory.create(on_date=today, usd_per_eur=Decimal("1.0842"), source="our bank")
    for user in (member_user, auditor_user):
        text = page(client_for(user))
        assert "</span> ready</span>" in text
        assert fact(text, "Database").startswith("ok, answers in ")
        assert [fact(text, name) for name in ("Migrations", "Ledger")] == ["applied", "ok"]
        assert fact(text, "Oldest call in flight") == "none"
        assert fact(text, "Price list").startswith("1 model, newest price from <time")
        assert "last changed <time" in fact(text, "Price list")
        assert fact(text, "Exchange rate") == (
            f"1.0842 USD per EUR of {today}, 0 working days old (our bank)"
        )
        assert fact(text, "Version") == settings.VERSION
        assert "rates refresh" not in text
        assert not any(fact(text, name) for name in ("Alerts", "Email"))


def test_stale_exchange_rate_is_shown_everywhere_until_it_is_set(
    client_for: Clients, member_user: User, operator: Client, today: date
) -> None:
    on_date = today - timedelta(days=20)
    ExchangeRateFactory.create(on_date=on_date, usd_per_eur=Decimal("1.1"), source="our bank")
    warning = (
        f"The exchange rate, 1.1 USD per EUR of {on_date}, is more than 3 working days old; an "
        "operator must update it with manage.py rates refresh."
    )
    member = client_for(member_user)
    text = page(member)
    assert warning in text
    assert "</span> ready</span>" in text
    assert warning in rates("show")
    command, found = json.loads(rates("show", "--format", "json")), exchange_rate_of(operator)
    assert command["is_stale"] is found["isStale"] is True
    assert command["working_days"] == found["workingDays"] > 3
    assert command["stale_after_working_days"] == found["staleAfterWorkingDays"] == 3
    assert command["source"] == found["source"] == "our bank"
    rates("set", "1.12")
    current().checks = None
    assert "must update it" not in page(member) + rates("show")
    assert exchange_rate_of(operator)["isStale"] is False


def test_missing_exchange_rate_is_shown(client_for: Clients, member_user: User) -> None:
    text = page(client_for(member_user))
    assert "There is no exchange rate, so no model has a price in EUR." in text
    assert fact(text, "Exchange rate") == "none"


def test_oldest_call_in_flight_is_shown_without_its_organization(
    client_for: Clients, acme: Organization, stranger: User
) -> None:
    Hold.objects.create(
        org=acme,
        request_id=new_id(),
        state=Hold.State.HELD,
        amount_nanoeur=1,
        held_at=now() - timedelta(seconds=300),
        deadline_at=now() - timedelta(seconds=100),
        instance_id=new_id(),
        charge_to={},
        rate_card=RateCardFactory.create(),
    )
    text = page(client_for(stranger))
    assert int(fact(text, "Oldest call in flight").removesuffix(" s")) >= 300
    assert fact(text, "Overdue holds") == "1"
    assert "Acme" not in text


def test_providers_are_named_without_their_secrets(
    client_for: Clients, member_user: User, gateway: Gateway, settings: Settings
) -> None:
    secrets = ("sk-of-a-test", "https://models.example.com/of-a-test")
    settings.PROVIDERS["openai"] = secrets
    gateway.providers = providers_from_settings()
    text = page(client_for(member_user))
    assert [name for name in gateway.providers.vendors if f'scope="row">{name}' in text] == [
        "openai",
        "sandbox",
    ]
    assert not any(secret in text for secret in (*secrets, settings.SECRET_KEY))


def test_pending_migration_is_not_ready(client_for: Clients, member_user: User) -> None:
    client = client_for(member_user)
    MigrationRecorder.Migration.objects.filter(app="costs").delete()
    text = page(client)
    assert "</span> not ready</span>" in text
    assert fact(text, "Migrations") == "pending"
    assert "Price list" not in text


def test_database_is_read_once_for_many_pages(
    client_for: Clients, member_user: User, today: date
) -> None:
    client = client_for(member_user)
    ExchangeRateFactory.create(on_date=today)
    with CaptureQueriesContext(connection) as captured:
        for _ in range(3):
            page(client)
    for table in ("exchange_rate", "django_migrations"):
        assert len([each for each in captured if f'FROM "{table}"' in each["sql"]]) == 1


@pytest.mark.parametrize(
    ("every_s", "ago_s", "shown"),
    [
        (60, None, "no round yet"),
        (60, 0, "last round <time"),
        (60, 239, "last round <time"),
        (60, 241, "<strong>late:</strong> last round <time"),
        (0, 241, "off: PULSE_ALERTS_EVERY_S is 0"),
    ],
)
def test_operator_sees_last_round_of_alerts(
    operator: Client, settings: Settings, every_s: float, ago_s: float | None, shown: str
) -> None:
    settings.ALERTS_EVERY_S = every_s
    if ago_s is not None:
        began_at = now() - timedelta(seconds=ago_s)
        lease.take(JOB, holder_id=new_id(), now=began_at, lasts=LEASE_LASTS)
    assert fact(page(operator), "Alerts").startswith(shown)


@pytest.mark.parametrize(
    ("sends", "shown"), [(True, "configured"), (False, "not configured: EMAIL_URL is not set")]
)
def test_operator_sees_whether_email_is_sent(
    operator: Client, settings: Settings, sends: bool, shown: str
) -> None:
    settings.SENDS_EMAIL = sends
    text = page(operator)
    assert fact(text, "Email") == shown
    assert connection.display_name in fact(text, "Database")


def test_status_requires_membership(client_for: Clients, client: Client, db: None) -> None:
    assert client.get("/status")["Location"].startswith("/login")
    for is_staff in (False, True):
        person = client_for(UserFactory.create(is_staff=is_staff))
        assert person.get("/status").status_code == 403

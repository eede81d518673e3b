"""A change of time zone on the page, by an operator or in SQL: today's costs stay on today."""

from __future__ import annotations

import csv
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from asgiref.sync import async_to_sync
from django.db import connection, transaction
from django.test import Client
from django.urls import reverse
from django.utils.timezone import now

from costs.core.calendar.periods import BudgetWindow, local_day
from gateway.budgets.operations import BudgetTerms, create_budget
from gateway.budgets.status import statuses
from gateway.call.runtime import Gateway
from gateway.policies.reports import spend_today
from orgs.database import kept_id
from orgs.locking import locked
from orgs.models import Organization, User
from orgs.settings.operations import change_organization
from tests.answers import text_of
from tests.costs.books import check_the_books
from tests.factories import OrganizationFactory, PolicyFactory
from tests.gateway.conftest import Asking

EUR = 10**9
HELLO: dict[str, Any] = {"model": "sandbox-small", "prompt": "Hello", "maxTokens": 10}
# Never of the same date; those of UTC and Paris are between them.
LAST, FIRST = "Pacific/Pago_Pago", "Pacific/Kiritimati"

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]


def by_operator(org: Organization, zone: str) -> None:
    client = Client()
    client.force_login(User.objects.create_superuser("root@example.org", "pw"))
    data = {"name": org.name, "slug": org.slug, "timezone": zone, "on_disconnect": "close"}
    address = reverse("admin:orgs_organization_change", args=[org.pk])
    assert client.post(address, data | {"ai_gateway_enabled": "on"}).status_code == 302


def by_operation(org: Organization, zone: str) -> None:
    change_organization(org=org, timezone=zone)


@pytest.mark.parametrize("change", [by_operation, by_operator])
@pytest.mark.parametrize(("zone", "other"), [(LAST, FIRST), (FIRST, LAST)])
def test_todays_costs_stay_on_today(  # noqa: PLR0913  fixtures and the changes
    ask: Asking,
    acme: Organization,
    client_for: Callable[[User], Client],
    admin_user: User,
    change: Callable[[Organization, str], None],
    zone: str,
    other: str,
) -> None:
    change_organization(org=acme, timezone=zone)
    terms = BudgetTerms(name="All", span=BudgetWindow.DAY, limit_nanoeur=EUR)
    budget = create_budget(organization_id=acme.pk, terms=terms)
    spent = round(ask(HELLO).json["estimatedCostEur"] * EUR)
    needed = round(ask(HELLO, path="/api/ai/quote").json["boundEur"] * EUR)
    PolicyFactory.create(org=acme, max_cost_per_day_nanoeur=spent + needed - 1)
    change(acme, other)
    acme.refresh_from_db()
    today = local_day(now(), ZoneInfo(other))
    file = text_of(client_for(admin_user), f"/costs.csv?groupBy=day&from={today}&to={today}")
    rows = list(csv.DictReader(file.splitlines()))
    assert [(row["day"], int(row["amount_nanoeur"])) for row in rows] == [(f"{today}", spent)]
    assert spend_today(organization_id=acme.pk, moment=now()).charged_nanoeur == spent
    (status,) = statuses(acme, now(), [budget])
    assert (status.charged_nanoeur, dict(status.by_day)) == (spent, {today: spent})
    assert ask(HELLO).json["code"] == "daily_cost_limit"
    check_the_books()


def by_hand(org: Organization, zone: str) -> None:
    with connection.cursor() as cursor:
        statement = "UPDATE organization SET timezone = %s WHERE id = %s"
        cursor.execute(statement, [zone, kept_id(org.pk)])


def test_change_in_sql_counts_at_next_request(ask: Asking, acme: Organization) -> None:
    change_organization(org=acme, timezone=LAST)
    spent = round(ask(HELLO).json["estimatedCostEur"] * EUR)
    by_hand(acme, FIRST)
    PolicyFactory.create(org=acme, max_cost_per_day_nanoeur=spent)
    assert ask(HELLO).json["code"] == "daily_cost_limit"
    today = BudgetTerms(name="All", span=BudgetWindow.DAY, limit_nanoeur=EUR)
    budget = create_budget(organization_id=acme.pk, terms=today)
    acme.refresh_from_db()
    (status,) = statuses(acme, now(), [budget])
    assert status.charged_nanoeur == spent
    check_the_books()


def test_change_in_sql_of_locked_organization_delays_no_other(
    gateway: Gateway, acme: Organization
) -> None:
    read = async_to_sync(gateway.directory.organization)
    other = OrganizationFactory.create()
    read(acme.pk)
    by_hand(acme, FIRST)
    acme.refresh_from_db()
    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            locked(acme.pk)
            reading = pool.submit(read, acme.pk, version=acme.config_version)
            assert not wait([reading], timeout=0.3).done
            assert read(other.pk).name == other.name
        assert reading.result().timezone == FIRST
    assert read(acme.pk).timezone == FIRST

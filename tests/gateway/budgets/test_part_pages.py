"""The page of a budget that limits each member, key or other value; its form, files, command."""

from __future__ import annotations

import csv
import json
from datetime import date, timedelta
from functools import partial
from zoneinfo import ZoneInfo

import pytest
from django.core.management import CommandError
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils.timezone import now
from pytest_django import DjangoAssertNumQueries

from costs.core.calendar.periods import BudgetWindow, local_day
from gateway.budgets.part_pages import SHOWN_MAX
from gateway.budgets.parts.raises import RaiseTerms, set_raise
from gateway.guards.budgets import EACH, part_of
from gateway.models import Budget, BudgetRaise
from orgs.models import Organization, User
from tests.answers import text_of
from tests.cast import CLIENTS
from tests.commands import output_of
from tests.factories import ApiKeyFactory, BudgetFactory, DailyCostFactory, PeriodFactory

pytestmark = pytest.mark.django_db

BUDGETS = "/costs/budgets"
EUR = 10**9
QUERIES_MAX = 16
LONG = "Воронцова-Преображенская Анастасия Константиновна, отдел исследований"

budgets = partial(output_of, "budgets")


def today(org: Organization) -> date:
    return local_day(now(), ZoneInfo(org.timezone))


def spent(budget: Budget, value: str, eur: float, held: float = 0) -> None:
    """Charge the part of a value today."""
    on = today(budget.org)
    nanoeur = round(eur * EUR)
    if nanoeur:
        DailyCostFactory.create(
            org=budget.org, day=on, amount_nanoeur=nanoeur, **{budget.each: value}
        )
    PeriodFactory.create(
        org=budget.org,
        scope=f"{budget.scope}:{part_of(value)}",
        starts_on=on,
        starts_at=now() - timedelta(hours=1),
        ends_at=now() + timedelta(hours=1),
        settled_nanoeur=nanoeur,
        held_nanoeur=round(held * EUR),
    )


@pytest.fixture
def daily(acme: Organization) -> Budget:
    """30 EUR a day for each member."""
    return BudgetFactory.create(
        org=acme, name="Daily", span="day", each="user_id", limit_nanoeur=30 * EUR
    )


def page_of(client: Client, budget: Budget, query: str = "") -> str:
    response = client.get(f"{BUDGETS}/{budget.pk}{query}")
    assert response.status_code == 200
    return response.content.decode()


def raised(budget: Budget, value: str, eur: int, *, days: int = 0) -> None:
    until = today(budget.org) + timedelta(days=days)
    terms = RaiseTerms(value=value, limit_nanoeur=eur * EUR, until=until)
    set_raise(organization_id=budget.org_id, budget_id=budget.pk, terms=terms)


# --- what it shows ------------------------------------------------------------------------------


def test_page_shows_fullest_with_name_bar_and_costs(
    admin: Client, daily: Budget, member_user: User
) -> None:
    spent(daily, str(member_user.pk), 28.1, held=1)
    spent(daily, LONG, 31)
    for n in range(SHOWN_MAX):
        spent(daily, f"u-{n}", n)
    page = page_of(admin, daily)
    assert f"12 members, the fullest {SHOWN_MAX}" in page
    assert "1 at the limit" in page
    assert "limit 30.00 EUR per day for each member" in page
    assert page.index(LONG) < page.index(f"<bdi>{member_user.email}</bdi>") < page.index("u-9")
    assert "<bdi>u-1</bdi>" not in page  # of 12, the two least full are not shown
    assert "93.7 % of" in page
    assert f"userId={member_user.pk}&amp;groupBy=model" in page
    assert "Spent against the limit, day by day" not in page


def test_unused_budget_says_so(admin: Client, daily: Budget) -> None:
    page = page_of(admin, daily)
    assert "0 members" in page
    assert "No call has counted here yet today." in page
    assert "not used yet" in page


def test_part_whose_first_calls_run_has_no_name_yet(admin: Client, daily: Budget) -> None:
    spent(daily, "u", 0, held=2)
    page = page_of(admin, daily)
    assert "first calls are running" in page
    assert "<bdi>u</bdi>" not in page


def test_one_part_is_found_by_name(admin: Client, daily: Budget, member_user: User) -> None:
    for n in range(SHOWN_MAX):
        spent(daily, f"u-{n}", 10)
    spent(daily, str(member_user.pk), 1)
    assert f"<bdi>{member_user.email}</bdi>" not in page_of(admin, daily)
    page = page_of(admin, daily, f"?value={member_user.email}")
    assert f"<bdi>{member_user.email}</bdi>" in page
    assert f'value="{member_user.email}"' in page
    assert "<bdi>somebody-new</bdi>" in page_of(
        admin, daily, "?value=somebody-new"
    )  # who has spent nothing
    page = page_of(admin, daily, "?value=gone@acme.example")
    assert "No user of this organization has the email address gone@acme.example." in page


def test_members_and_auditors_see_parts_and_change_nothing(
    daily: Budget, member_user: User, auditor_user: User, client_for: CLIENTS
) -> None:
    spent(daily, "u", 1)
    raised(daily, "u", 40)
    for user in (member_user, auditor_user):
        page = page_of(client_for(user), daily)
        assert "<bdi>u</bdi>" in page
        assert "Raised limits" in page
        assert "Raise one limit" not in page
        assert "Remove" not in page


@pytest.mark.parametrize("count", [1, 100])
def test_page_takes_constant_queries(
    admin: Client,
    daily: Budget,
    count: int,
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    for n in range(count):
        spent(daily, f"{LONG} {n}", n % 31)
    raised(daily, f"{LONG} 0", 40)
    with django_assert_max_num_queries(QUERIES_MAX) as found:
        page_of(admin, daily, "?value=somebody")
    assert isinstance(found, CaptureQueriesContext)


def test_keys_that_leave_user_open_are_counted(
    admin: Client, acme: Organization, daily: Budget, member_user: User
) -> None:
    ApiKeyFactory.create(org=acme, owner=member_user)
    assert "callers name another" not in page_of(admin, daily)
    ApiKeyFactory.create(org=acme)
    page = page_of(admin, daily)
    assert (
        "1 active key lets callers name another user, which has a limit of its own, or none" in page
    )
    Budget.objects.update(team_id="x")  # of both keys the team is open, too
    page = page_of(admin, daily)
    assert "2 active keys leave a dimension of this budget open" in page
    assert "1 active key lets callers name another user" in page
    Budget.objects.update(each="key_id")
    assert "callers name another" not in page_of(admin, daily)


def test_list_and_files_have_parts(admin: Client, acme: Organization, daily: Budget) -> None:
    BudgetFactory.create(org=acme, name="All")
    spent(daily, "ann", 30)
    spent(daily, "bob", 3)
    page = admin.get(BUDGETS).content.decode()
    assert "All calls, each member for itself" in page
    assert "2 members, the fullest 100.0 % of" in page
    assert "1 at the limit" in page
    row, other = csv.DictReader(text_of(admin, f"{BUDGETS}.csv").splitlines())
    assert (row["each"], row["parts"], row["partsFull"]) == ("member", "2", "1")
    assert (row["limitEur"], row["spentEur"], row["leftEur"]) == ("30.00", "33.00", "")
    assert (other["each"], other["parts"], other["leftEur"]) == ("", "", "100.00")
    first, _ = json.loads(text_of(admin, f"{BUDGETS}.json"))
    assert (first["each"], first["parts"], first["partsFull"]) == ("member", 2, 1)


# --- forms --------------------------------------------------------------------------------------


def test_form_makes_budget_for_each(admin: Client, acme: Organization) -> None:
    typed = {"name": "Keys", "limit_eur": "5", "span": "day", "when_full": "hard"}
    admin.post(f"{BUDGETS}/create", typed | {"each": "key_id", "hold": "slices", "team_id": "x"})
    budget = Budget.objects.get()
    assert (budget.each, budget.hold, budget.team_id) == ("key_id", "slices", "x")
    page = page_of(admin, budget)
    assert "Calls of team x: limit 5.00 EUR per day for each key" in page
    assert '<option value="key_id" selected>Each key for itself</option>' in page
    for field in ("each", "hold"):
        response = admin.post(f"{BUDGETS}/create", typed | {"name": "Other", field: "model"})
        assert list(response.context["form"].errors) == [field]


def test_admin_raises_and_lowers_limit_of_one(
    admin: Client, acme: Organization, daily: Budget, member_user: User
) -> None:
    until = today(acme) + timedelta(days=3)
    typed = {"value": member_user.email, "limit_eur": "45.5", "until": f"{until}"}
    response = admin.post(f"{BUDGETS}/{daily.pk}/raise", typed, follow=True)
    row = BudgetRaise.objects.get()
    assert (row.value, row.limit_nanoeur, row.until) == (str(member_user.pk), 45_500_000_000, until)
    page = response.content.decode()
    assert f"{member_user.email} has 45.50 EUR until {until:%-d %B %Y}." in page
    assert f"{until:%-d %b %Y}" in page
    assert f"<bdi>{member_user.email}</bdi>" in page
    admin.post(f"{BUDGETS}/{daily.pk}/lower", {"value": row.value})
    assert not BudgetRaise.objects.exists()
    gone = admin.post(f"{BUDGETS}/{daily.pk}/lower", {"value": row.value})
    assert gone.status_code == 404


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("value", ""),
        ("value", "gone@acme.example"),
        ("value", "x" * 129),
        ("limit_eur", "30"),
        ("limit_eur", ""),
        ("until", "2020-01-01"),
        ("until", "9999-12-31"),
        ("until", "tomorrow"),
    ],
)
def test_faulty_raise_is_error_at_its_field(
    admin: Client, acme: Organization, daily: Budget, field: str, text: str
) -> None:
    typed = {"value": "u", "limit_eur": "31", "until": f"{today(acme)}"}
    response = admin.post(f"{BUDGETS}/{daily.pk}/raise", typed | {field: text})
    assert response.status_code == 200
    assert list(response.context["raising"].errors) == [field]
    assert "Not raised." in response.content.decode()
    assert not BudgetRaise.objects.exists()


def test_only_admins_of_organization_raise_limits(
    acme: Organization, daily: Budget, member_user: User, stranger: User, client_for: CLIENTS
) -> None:
    typed = {"value": "u", "limit_eur": "31", "until": f"{today(acme)}"}
    for user, status in ((member_user, 403), (stranger, 404)):
        for what in ("raise", "lower"):
            response = client_for(user).post(f"{BUDGETS}/{daily.pk}/{what}", typed)
            assert response.status_code == status
    assert not BudgetRaise.objects.exists()


def test_limit_of_all_calls_cannot_be_raised_for_one(admin: Client, acme: Organization) -> None:
    whole = BudgetFactory.create(org=acme)
    assert "Raise one limit" not in page_of(admin, whole)
    assert admin.get(f"{BUDGETS}/{whole.pk}/raise").status_code == 404


# --- the command --------------------------------------------------------------------------------


@pytest.mark.parametrize("column", EACH)
def test_command_makes_budget_for_each(acme: Organization, column: str) -> None:
    name = EACH[column].replace(" ", "-")
    budgets("create", "acme", "B", "--limit", "30", "--per", "day", "--each", name)
    assert Budget.objects.get().each == column
    (row,) = json.loads(budgets("list", "acme", "--format", "json"))
    assert (row["each"], row["left_eur"]) == (EACH[column], None)
    assert f"per day for each {EACH[column]};" in budgets("show", "acme", "B")
    budgets("update", "acme", "B", "--limit", "20", "--hold", "slices")
    assert (Budget.objects.get().each, Budget.objects.get().hold) == (column, "slices")
    budgets("update", "acme", "B", "--no-each")
    assert Budget.objects.get().each == ""


def test_command_shows_fullest_and_raised(daily: Budget, member_user: User) -> None:
    spent(daily, str(member_user.pk), 28.5, held=1)
    raised(daily, "u", 40)
    (row,) = json.loads(budgets("show", "acme", "Daily", "--format", "json"))
    assert row["fullest"] == [
        {
            "member": member_user.email,
            "limit_eur": "30.00",
            "spent_eur": "28.50",
            "held_eur": "1.00",
            "left_eur": "0.50",
        }
    ]
    until = f"{today(daily.org)}"
    assert row["raised"] == [{"member": "u", "limit_eur": "40.00", "until": until}]
    printed = budgets("show", "acme", "Daily")
    assert member_user.email in printed
    assert until in printed


def test_command_refuses_unknown_dimension(acme: Organization) -> None:
    with pytest.raises(CommandError, match="--each"):
        budgets("create", "acme", "B", "--limit", "1", "--per", "day", "--each", "model")


def test_command_raises_and_lowers_limit(
    acme: Organization, daily: Budget, member_user: User
) -> None:
    until = today(acme)
    options = ("--for", member_user.email, "--to", "50", "--until", f"{until}")
    printed = budgets("raise", "acme", "daily", *options)
    assert printed.strip() == (
        f'{member_user.email} has 50.00 EUR until {until} in budget "Daily".'
    )
    assert BudgetRaise.objects.get().limit_nanoeur == 50 * EUR
    printed = budgets("lower", "acme", "daily", "--for", member_user.email)
    assert "has 30.00 EUR" in printed
    assert not BudgetRaise.objects.exists()
    with pytest.raises(CommandError, match="not raised"):
        budgets("lower", "acme", "daily", "--for", member_user.email)
    with pytest.raises(CommandError, match=r"must be above the 30\.00 EUR of each member"):
        budgets("raise", "acme", "daily", "--for", "u", "--to", "30", "--until", f"{until}")
    BudgetFactory.create(org=acme, name="All")
    with pytest.raises(CommandError, match="limits all its calls together"):
        budgets("raise", "acme", "All", "--for", "u", "--to", "50", "--until", f"{until}")


# --- for operators ------------------------------------------------------------------------------


def test_operator_makes_budget_for_each(acme: Organization) -> None:
    operator = Client()
    operator.force_login(User.objects.create_superuser("root@example.org", "pw"))
    DailyCostFactory.create(org=acme, day=today(acme), team_id="blue", amount_nanoeur=7)
    typed = {
        "org": str(acme.pk),
        "name": "Teams",
        "enabled": "on",
        "span": BudgetWindow.DAY.value,
        "limit_nanoeur": "5",
        "is_hard": "on",
        "hold": "whole",
        "each": "team_id",
        "models": "",
    }
    assert operator.post(reverse("admin:gateway_budget_add"), typed).status_code == 302
    budget = Budget.objects.get()
    assert budget.each == "team_id"
    (line,) = json.loads(budgets("list", "acme", "--format", "json"))
    assert (line["spent_eur"], line["outlook"]) == ("0.000000007", "1 at the limit")

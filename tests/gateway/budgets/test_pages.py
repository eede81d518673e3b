"""The pages of budgets: admins change them, all members can view them."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from django.http import StreamingHttpResponse
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils.timezone import now

from costs.core.calendar.periods import BudgetWindow, day_around
from costs.models import Period
from gateway.budgets.operations import BUDGETS_MAX
from gateway.budgets.views import BUDGETS_PER_PAGE
from gateway.models import Budget
from orgs.fields import new_id
from orgs.models import Organization, User
from tests.factories import AiRequestLogFactory, BudgetFactory, DailyCostFactory, PeriodFactory

pytestmark = pytest.mark.django_db

CLIENTS = Callable[[User], Client]
BUDGETS = "/costs/budgets"
CREATE = "/costs/budgets/create"
EUR = 10**9
QUERIES_MAX = 12
TYPED = {
    "name": "Support, monthly",
    "limit_eur": "200.000000001",
    "span": "month",
    "when_full": "hard",
    "team_id": "support",
    "models": "gpt-4o*\n Claude-3-5-Sonnet ,\r\n\r\ngpt-4o*",
}


@pytest.fixture
def utc(acme: Organization) -> Organization:
    """Acme, in UTC."""
    acme.timezone = "UTC"
    acme.save()
    return acme


@pytest.fixture
def admin(client_for: CLIENTS, admin_user: User) -> Client:
    return client_for(admin_user)


def spend(org: Organization, nanoeur: int, *, days: int = 20, **fields: Any) -> None:
    """Charge an amount on each day before today."""
    for back in range(1, days + 1):
        day = now().date() - timedelta(days=back)
        DailyCostFactory.create(org=org, day=day, amount_nanoeur=nanoeur, **fields)


def count(budget: Budget, charged: int, held: int = 0, **terms: Any) -> Period:
    """Set the amount that the budget has counted in its current period."""
    first, _ = BudgetWindow(budget.span).days_around(now().date())
    return PeriodFactory.create(
        org=budget.org,
        scope=budget.scope,
        **{
            "starts_on": first,
            "starts_at": now() - timedelta(hours=1),
            "ends_at": now() + timedelta(hours=1),
            "settled_nanoeur": charged,
            "held_nanoeur": held,
            **terms,
        },
    )


def text_of(response: Any) -> str:
    assert isinstance(response, StreamingHttpResponse)
    content: Iterator[bytes] = response.streaming_content  # type: ignore[assignment]  # not async here
    return b"".join(content).decode()


# --- making and changing them -------------------------------------------------------------------


def test_admin_creates_budget_as_typed(acme: Organization, admin: Client) -> None:
    response = admin.post(CREATE, TYPED, follow=True)
    budget = Budget.objects.get(org=acme)
    assert (budget.enabled, budget.is_hard, budget.span) == (True, True, "month")
    assert budget.limit_nanoeur == 200_000_000_001
    assert (budget.team_id, budget.user_id, budget.task_type) == ("support", None, None)
    assert budget.models == ["gpt-4o*", "Claude-3-5-Sonnet"]
    assert Period.objects.filter(scope=budget.scope).exists()
    page = response.content.decode()
    assert (
        "Calls of team support to gpt-4o* and Claude-3-5-Sonnet: limit 200.00 EUR per month; "
        "calls that could exceed it are blocked."
    ) in page


def test_form_has_documented_labels(admin: Client) -> None:
    assert "Create budget" in admin.get(BUDGETS).content.decode()
    page = admin.get(CREATE).content.decode()
    for label in ("Budget name", "Limit (EUR)", "Per", "At the limit", "Models"):
        assert f">{label}</label>" in page
    for label in ("Team", "Project", "App", "Client", "User", "Task type"):
        assert f">{label}</label>" in page
    assert ">Save</button>" in page


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("name", ""),
        ("name", "x" * 101),
        ("name", "a\x07b"),
        ("limit_eur", ""),
        ("limit_eur", "-0.01"),
        ("limit_eur", "0.0000000001"),
        ("limit_eur", "1e30"),
        ("limit_eur", "NaN"),
        ("limit_eur", "fifty"),
        ("span", "year"),
        ("span", ""),
        ("when_full", "maybe"),
        ("team_id", "x" * 129),
        ("app_id", "a\x07b"),
        ("models", "gpt 4"),
        ("models", "x" * 201),
        ("models", "\n".join(f"m{n}" for n in range(201))),
    ],
)
def test_invalid_value_is_error_at_its_field_and_input_is_kept(
    acme: Organization, admin: Client, field: str, text: str
) -> None:
    kept = BudgetFactory.create(org=acme, name="Kept")
    for address in (CREATE, f"{BUDGETS}/{kept.pk}"):
        response = admin.post(address, TYPED | {field: text})
        assert response.status_code == 200
        assert list(response.context["form"].errors) == [field]
        page = response.content.decode()
        assert f'id="id_{field}_error"' in page
        if field != "team_id":
            assert 'value="support"' in page
    kept.refresh_from_db()
    assert (kept.name, Budget.objects.count()) == ("Kept", 1)


@pytest.mark.parametrize("amount", ["0.00", "0.000000001", "9223372036.854775807"])
def test_boundary_amounts_are_accepted(admin: Client, amount: str) -> None:
    admin.post(CREATE, TYPED | {"limit_eur": amount})
    budget = Budget.objects.get()
    page = admin.get(f"{BUDGETS}/{budget.pk}").content.decode()
    assert f'value="{amount}"' in page


def test_name_is_unique_ignoring_case(acme: Organization, admin: Client) -> None:
    BudgetFactory.create(org=acme, name="support, MONTHLY")
    other = BudgetFactory.create(org=acme, name="Other")
    for address in (CREATE, f"{BUDGETS}/{other.pk}"):
        assert "already exists" in admin.post(address, TYPED).content.decode()


def test_number_of_budgets_is_limited(acme: Organization, admin: Client) -> None:
    Budget.objects.bulk_create(
        BudgetFactory.build_batch(BUDGETS_MAX, org=acme), batch_size=BUDGETS_MAX
    )
    assert "can have at most" in admin.post(CREATE, TYPED).content.decode()


def test_unknown_models_are_warning(admin: Client) -> None:
    page = admin.post(CREATE, TYPED | {"models": "gpt-4\ngpt-44"}, follow=True).content.decode()
    assert "Unknown model: gpt-44." in page
    assert Budget.objects.exists()


def test_member_is_shown_by_email_and_stored_by_id(admin: Client, member_user: User) -> None:
    admin.post(CREATE, TYPED | {"user_id": member_user.email.upper()})
    budget = Budget.objects.get()
    assert budget.user_id == str(member_user.pk)
    page = admin.get(f"{BUDGETS}/{budget.pk}").content.decode()
    assert f'value="{member_user.email}"' in page
    assert f"user {member_user.email}" in admin.get(BUDGETS).content.decode()
    admin.post(f"{BUDGETS}/{budget.pk}", TYPED | {"user_id": "a free text"})
    budget.refresh_from_db()
    assert budget.user_id == "a free text"


def test_budget_of_unknown_address_is_refused_but_stored_one_can_be_changed(
    acme: Organization, admin: Client, stranger: User
) -> None:
    for address in (stranger.email, "unknown@example.com"):
        page = admin.post(CREATE, TYPED | {"user_id": address}).content.decode()
        assert f"No user of this organization has the email address {address}" in page
    assert not Budget.objects.exists()
    budget = BudgetFactory.create(org=acme, user_id="unknown@example.com")
    admin.post(f"{BUDGETS}/{budget.pk}", TYPED | {"user_id": "unknown@example.com"})
    budget.refresh_from_db()
    assert (budget.user_id, budget.name) == ("unknown@example.com", TYPED["name"])
    for path in (CREATE, f"{BUDGETS}/{BudgetFactory.create(org=acme, name='other').pk}"):
        page = admin.post(path, TYPED | {"user_id": "unknown@example.com"}).content.decode()
        assert "No user of this organization" in page


def test_user_who_is_no_address_is_not_looked_up(admin: Client) -> None:
    long = admin.post(CREATE, TYPED | {"user_id": "x" * 129}).content.decode()
    assert "A user id must have at most 128 characters." in long
    with CaptureQueriesContext(connection) as captured:
        admin.post(CREATE, TYPED | {"user_id": "x" * 128})
    assert Budget.objects.get().user_id == "x" * 128
    assert not [each for each in captured if "monthly_cost" in each["sql"]]


def test_admin_changes_budget_with_or_without_recount(acme: Organization, admin: Client) -> None:
    admin.post(CREATE, TYPED)
    budget = Budget.objects.get()
    admin.post(f"{BUDGETS}/{budget.pk}", TYPED | {"limit_eur": "5", "when_full": "warning"})
    budget.refresh_from_db()
    assert (budget.limit_nanoeur, budget.is_hard, budget.revision) == (5 * EUR, False, 1)
    admin.post(f"{BUDGETS}/{budget.pk}", TYPED | {"team_id": "", "models": ""})
    budget.refresh_from_db()
    assert (budget.team_id, budget.models, budget.revision) == (None, [], 2)


def test_toggle_sets_state_of_its_button(acme: Organization, admin: Client) -> None:
    budget = BudgetFactory.create(org=acme)
    for enabled in (False, False, True):
        admin.post(f"{BUDGETS}/{budget.pk}/toggle", {"enabled": "on" if enabled else "off"})
        budget.refresh_from_db()
        assert budget.enabled is enabled


def test_deleting_asks_first(acme: Organization, admin: Client) -> None:
    budget = BudgetFactory.create(org=acme, name="Old")
    assert "Delete “Old”?" in admin.get(f"{BUDGETS}/{budget.pk}/delete").content.decode()
    assert Budget.objects.exists()
    admin.post(f"{BUDGETS}/{budget.pk}/delete")
    assert not Budget.objects.exists()


def test_form_suggests_values_of_recent_calls(utc: Organization, admin: Client) -> None:
    spend(utc, EUR, days=1, team_id="support")
    long_ago = now().date() - timedelta(days=60)
    DailyCostFactory.create(org=utc, day=long_ago, team_id="dissolved")
    page = admin.get(CREATE).content.decode()
    assert '<option value="support">' in page
    assert "dissolved" not in page


# --- who sees what ------------------------------------------------------------------------------


def test_members_and_auditors_can_only_view(
    acme: Organization, client_for: CLIENTS, member_user: User, auditor_user: User
) -> None:
    budget = BudgetFactory.create(org=acme, name="Kept")
    for user in (member_user, auditor_user):
        client = client_for(user)
        assert "Kept" in client.get(BUDGETS).content.decode()
        assert "Create budget" not in client.get(BUDGETS).content.decode()
        page = client.get(f"{BUDGETS}/{budget.pk}")
        assert page.status_code == 200
        assert ">Save</button>" not in page.content.decode()
        for address in (CREATE, f"{BUDGETS}/{budget.pk}/delete"):
            assert client.get(address).status_code == 403
        for address in (CREATE, f"{BUDGETS}/{budget.pk}", f"{BUDGETS}/{budget.pk}/delete"):
            assert client.post(address, TYPED).status_code == 403
        toggled = client.post(f"{BUDGETS}/{budget.pk}/toggle", {"enabled": "off"})
        assert toggled.status_code == 403
    budget.refresh_from_db()
    assert (budget.name, budget.enabled) == ("Kept", True)


def test_foreign_budget_is_404(globex: Organization, admin: Client) -> None:
    foreign = BudgetFactory.create(org=globex, name="Theirs")
    for address in (BUDGETS, f"{BUDGETS}.csv"):
        response = admin.get(address)
        page = text_of(response) if response.streaming else response.content.decode()
        assert "Theirs" not in page
    for budget_id in (foreign.pk, new_id(), "x"):
        for address in (f"{BUDGETS}/{budget_id}", f"{BUDGETS}/{budget_id}/delete"):
            assert admin.get(address).status_code == 404
            assert admin.post(address, TYPED).status_code == 404
        assert admin.post(f"{BUDGETS}/{budget_id}/toggle").status_code == 404
    assert Budget.objects.filter(pk=foreign.pk, enabled=True, name="Theirs").exists()


def test_anonymous_is_redirected_to_sign_in(client: Client) -> None:
    for address in (BUDGETS, f"{BUDGETS}.json", CREATE):
        assert client.get(address)["Location"].startswith("/login")


def test_changes_require_post_and_csrf_token(acme: Organization, admin_user: User) -> None:
    budget = BudgetFactory.create(org=acme)
    client = Client(enforce_csrf_checks=True)
    client.force_login(admin_user)
    assert client.post(CREATE, TYPED).status_code == 403
    assert client.get(f"{BUDGETS}/{budget.pk}/toggle").status_code == 405


# --- the list -----------------------------------------------------------------------------------


def test_empty_list_has_explanation(admin: Client) -> None:
    page = admin.get(BUDGETS).content.decode()
    assert "No budgets yet" in page
    assert "Create budget" in page
    assert "Download CSV" not in page


def test_list_shows_spent_held_and_remaining(
    utc: Organization, client_for: CLIENTS, member_user: User
) -> None:
    budget = BudgetFactory.create(org=utc, name="Support", team_id="support", limit_nanoeur=4 * EUR)
    count(budget, charged=EUR, held=2 * EUR)
    response = client_for(member_user).get(BUDGETS)
    (line,) = response.context["lines"]
    assert (line.share_percent, line.used_width, line.held_width) == ("25.0", "25.00", "50.00")
    page = response.content.decode()
    for fields in ("Calls of team support", "25.0 % of", "per month", "blocks at the limit"):
        assert fields in page
    assert "25.00 % of the limit spent, 50.00 % held" in page
    assert f"/costs?teamId=support&amp;from={line.status.starts_on}" in page
    assert "/admin/ai?status=pending&amp;teamId=support" in page


def test_list_is_paged(acme: Organization, admin: Client) -> None:
    for n in range(BUDGETS_PER_PAGE + 1):
        BudgetFactory.create(org=acme, name=f"Number {n}.")
    first = admin.get(BUDGETS)
    assert len(first.context["lines"]) == BUDGETS_PER_PAGE
    rest = admin.get(BUDGETS, {"newer_than": first.context["newer_than"]})
    assert [line.budget.name for line in rest.context["lines"]] == [f"Number {BUDGETS_PER_PAGE}."]
    assert rest.context["newer_than"] is None
    assert admin.get(BUDGETS, {"newer_than": "x"}).status_code == 400
    after_all = admin.get(BUDGETS, {"newer_than": rest.context["lines"][0].budget.pk})
    assert "No more budgets" in after_all.content.decode()


@pytest.mark.parametrize("budgets", [1, 60])
def test_pages_take_constant_queries(
    utc: Organization,
    admin: Client,
    member_user: User,
    budgets: int,
    django_assert_max_num_queries: Callable[[int], CaptureQueriesContext],
) -> None:
    for n in range(budgets):
        budget = BudgetFactory.create(org=utc, team_id=f"{n}", user_id=str(member_user.pk))
        count(budget, charged=EUR)
    spend(utc, EUR, team_id="0", user_id=str(member_user.pk))
    for address in (BUDGETS, f"{BUDGETS}/{budget.pk}", CREATE):
        with django_assert_max_num_queries(QUERIES_MAX):
            assert admin.get(address).status_code == 200


def test_files_have_every_budget_exactly(
    utc: Organization, client_for: CLIENTS, auditor_user: User
) -> None:
    for n in range(BUDGETS_PER_PAGE + 1):
        BudgetFactory.create(org=utc, name=f"={n}", models=["gpt-4o", "gpt-4"], app_id="a")
    count(Budget.objects.first() or BudgetFactory.create(), charged=1, held=2)
    client = client_for(auditor_user)
    rows = json.loads(text_of(client.get(f"{BUDGETS}.json")))
    assert len(rows) == BUDGETS_PER_PAGE + 1
    assert {name: rows[0][name] for name in ("limitEur", "spentEur", "heldEur", "leftEur")} == {
        "limitEur": "100.00",
        "spentEur": "0.000000001",
        "heldEur": "0.000000002",
        "leftEur": "99.999999997",
    }
    assert (rows[0]["models"], rows[0]["appId"], rows[0]["teamId"]) == (
        ["gpt-4o", "gpt-4"],
        "a",
        None,
    )
    lines = list(csv.DictReader(text_of(client.get(f"{BUDGETS}.csv")).splitlines()))
    assert (lines[0]["name"], lines[0]["models"]) == ("'=0", "gpt-4o gpt-4")
    assert text_of(client.get(f"{BUDGETS}.json")).startswith("[")


# --- one budget ---------------------------------------------------------------------------------


def test_budget_page_links_days_to_costs(utc: Organization, admin: Client) -> None:
    budget = BudgetFactory.create(org=utc, team_id="support", span="quarter", limit_nanoeur=9 * EUR)
    count(budget, charged=2 * EUR)
    DailyCostFactory.create(
        org=utc, day=now().date(), amount_nanoeur=2 * EUR, team_id="support", model="gpt-4o"
    )
    DailyCostFactory.create(org=utc, day=now().date(), amount_nanoeur=EUR, team_id="other")
    response = admin.get(f"{BUDGETS}/{budget.pk}")
    page = response.context["page"]
    first, after = BudgetWindow.QUARTER.days_around(now().date())
    assert [each.day.on for each in page.days] == [
        first + timedelta(days=n) for n in range((after - first).days)
    ]
    (line,) = [each for each in page.days if each.day.on == now().date()]
    assert (line.day.spent_nanoeur, line.day.so_far_nanoeur) == (2 * EUR, 2 * EUR)
    assert line.day.left_nanoeur == 7 * EUR
    assert page.uncounted_nanoeur == 0
    day = now().date()
    assert line.costs_query == f"teamId=support&from={day}&to={day}&groupBy=model"
    costs = admin.get(f"/costs?{line.costs_query}")
    assert costs.context["page"].report.total.amount_nanoeur == 2 * EUR


def test_forecast_overrun_is_shown_on_both_pages(utc: Organization, admin: Client) -> None:
    budget = BudgetFactory.create(org=utc, span="day", limit_nanoeur=EUR // 2)
    spend(utc, EUR)
    for address in (BUDGETS, f"{BUDGETS}/{budget.pk}"):
        assert "forecast to exceed the limit today" in admin.get(address).content.decode()
    page = admin.get(f"{BUDGETS}/{budget.pk}")
    assert page.context["page"].chart.expected_line
    assert "80 % range" in page.content.decode()


def test_past_periods_show_share_of_limit(utc: Organization, admin: Client) -> None:
    budget = BudgetFactory.create(org=utc, span="day")
    yesterday = now().date() - timedelta(days=1)
    starts_at, ends_at = day_around(now() - timedelta(days=1), ZoneInfo("UTC"))
    count(
        budget,
        charged=3 * EUR,
        starts_on=yesterday,
        starts_at=starts_at,
        ends_at=ends_at,
        carried_nanoeur=EUR,
        limit_nanoeur=4 * EUR,
    )
    stranger = BudgetFactory.create(org=utc, span="day")
    (past,) = admin.get(f"{BUDGETS}/{budget.pk}").context["page"].past
    assert (past.period.charged_nanoeur, past.period.limit_nanoeur) == (4 * EUR, 5 * EUR)
    assert (past.share_percent, past.is_over) == ("80.0", False)
    assert past.costs_query == f"from={yesterday}&to={yesterday}&groupBy=model"
    assert admin.get(f"{BUDGETS}/{stranger.pk}").context["page"].past == ()


def test_page_notes_uncounted_calls(utc: Organization, admin: Client) -> None:
    budget = BudgetFactory.create(org=utc, span="day")
    count(budget, charged=EUR)
    DailyCostFactory.create(org=utc, day=now().date(), amount_nanoeur=3 * EUR)
    response = admin.get(f"{BUDGETS}/{budget.pk}")
    assert response.context["page"].uncounted_nanoeur == 2 * EUR
    assert "running when the budget was created" in response.content.decode()


def test_refused_requests_link_filters_list(utc: Organization, admin: Client) -> None:
    budget = BudgetFactory.create(org=utc, team_id="support")
    fields = {"org": utc, "status": "blocked", "team_id": "support"}
    row = AiRequestLogFactory.create(**fields, code="budget_limit")
    AiRequestLogFactory.create(**fields, code="model_blocked")
    query = admin.get(f"{BUDGETS}/{budget.pk}").context["page"].refused_query
    assert query == "status=blocked&code=budget_limit&teamId=support"
    assert [line.row.pk for line in admin.get(f"/admin/ai?{query}").context["lines"]] == [row.pk]


def test_code_filter_covers_all_statuses(utc: Organization, admin: Client) -> None:
    ids = {
        AiRequestLogFactory.create(org=utc, status=status, code="x").pk
        for status in ("blocked", "error", "unknown")
    }
    AiRequestLogFactory.create(org=utc, status="error", code="y")
    AiRequestLogFactory.create(org=utc)
    found = admin.get("/admin/ai", {"code": "x"}).context["lines"]
    assert {line.row.pk for line in found} == ids

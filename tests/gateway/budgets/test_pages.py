"""Budgets are made, changed and deleted by admins, and are nothing to strangers."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils.timezone import now

from costs.models import Period
from gateway.budgets.operations import BUDGETS_MAX
from gateway.models import Budget
from orgs.fields import new_id
from orgs.models import Organization, User
from tests.answers import text_of
from tests.cast import CLIENTS
from tests.factories import BudgetFactory, DailyCostFactory

pytestmark = pytest.mark.django_db

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


def test_form_suggests_values_of_recent_calls(acme: Organization, admin: Client) -> None:
    for days_ago, team in ((1, "support"), (60, "dissolved")):
        day = now().date() - timedelta(days=days_ago)
        DailyCostFactory.create(org=acme, day=day, team_id=team)
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
        assert "Theirs" not in text_of(admin, address)
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

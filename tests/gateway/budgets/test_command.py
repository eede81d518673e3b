"""`manage.py budgets`."""

from __future__ import annotations

import json
from functools import partial

import pytest
from django.core.management import CommandError
from django.utils.timezone import now

from costs.models import Period
from gateway.models import Budget
from orgs.models import Organization, User
from tests.commands import output_of
from tests.factories import BudgetFactory, DailyCostFactory

pytestmark = pytest.mark.django_db

MONTHLY = ("--limit", "200", "--per", "month")


budgets = partial(output_of, "budgets")


def test_created_budget_is_enabled_and_counts(acme: Organization, member_user: User) -> None:
    acme.timezone = "UTC"
    acme.save()
    DailyCostFactory.create(org=acme, day=now().date(), team_id="support", amount_nanoeur=7)
    printed = budgets(
        *("create", "acme", "Support", *MONTHLY, "--team", "support", "--task-type", "chat"),
        *("--user", member_user.email, "--models", "gpt-4o-mini,claude-*", "--warn"),
    )
    assert 'Created budget "Support" of acme; it is enabled.' in printed
    budget = Budget.objects.get(org=acme)
    assert (budget.enabled, budget.is_hard, budget.span) == (True, False, "month")
    assert budget.limit_nanoeur == 200 * 10**9
    assert (budget.team_id, budget.task_type, budget.app_id) == ("support", "chat", None)
    assert (budget.user_id, budget.models) == (str(member_user.pk), ["gpt-4o-mini", "claude-*"])
    budgets("create", "acme", "All", "--limit", "1", "--per", "day")
    everything = Budget.objects.get(name="All")
    assert everything.is_hard
    assert Period.objects.get(scope=everything.scope).carried_nanoeur == 7


def test_list_prints_json(acme: Organization, globex: Organization) -> None:
    budget = BudgetFactory.create(org=acme, name="Blue", team_id="blue", models=["gpt-4o"])
    BudgetFactory.create(org=globex)
    assert json.loads(budgets("list", "acme", "--format", "json")) == [
        {
            "name": "Blue",
            "enabled": True,
            "limit_eur": "100.00",
            "per": "month",
            "each": None,
            "hard": True,
            "hold": "whole",
            "of": {"team_id": "blue"},
            "models": ["gpt-4o"],
            "spent_eur": "0.00",
            "held_eur": "0.00",
            "left_eur": "100.00",
            "forecast_eur": None,
            "outlook": "no forecast yet",
            "full_on": None,
            "id": str(budget.pk),
        }
    ]
    assert "Calls of team blue to gpt-4o" in budgets("list", "acme")


def test_show_prints_terms_and_status(acme: Organization) -> None:
    BudgetFactory.create(org=acme, name="Blue", limit_nanoeur=0)
    printed = budgets("show", "acme", "blue")
    assert "All calls: limit 0.00 EUR per month; calls that could exceed it are blocked." in printed
    assert "outlook" in printed
    assert "full" in printed
    (row,) = json.loads(budgets("show", "acme", "Blue", "--format", "json"))
    assert (row["name"], row["outlook"], row["models"]) == ("Blue", "full", [])


def test_update_changes_only_given_options(acme: Organization) -> None:
    budgets("create", "acme", "Blue", *MONTHLY, "--team", "blue", "--models", "gpt-4o")
    budgets("update", "acme", "BLUE", "--limit", "0.5", "--rename", "Navy", "--warn")
    budget = Budget.objects.get()
    assert (budget.name, budget.limit_nanoeur, budget.is_hard) == ("Navy", 5 * 10**8, False)
    assert (budget.team_id, budget.models, budget.revision) == ("blue", ["gpt-4o"], 1)
    budgets("update", "acme", "Navy", "--no-team", "--no-models", "--app", "a", "--hard")
    budget.refresh_from_db()
    assert (budget.team_id, budget.models, budget.app_id) == (None, [], "a")
    assert (budget.is_hard, budget.revision) == (True, 2)


def test_budget_is_toggled_and_deleted(acme: Organization) -> None:
    budget = BudgetFactory.create(org=acme, name="Blue")
    assert 'Budget "Blue" of acme is off.' in budgets("disable", "acme", "blue")
    budget.refresh_from_db()
    assert not budget.enabled
    assert 'Budget "Blue" of acme is on.' in budgets("enable", "acme", "blue")
    budget.refresh_from_db()
    assert (budget.enabled, budget.revision) == (True, 2)
    budgets("delete", "acme", "blue")
    assert not Budget.objects.exists()


def test_unknown_model_is_warning(acme: Organization) -> None:
    printed = budgets("create", "acme", "Blue", *MONTHLY, "--models", "gpt-44")
    assert "unknown model: gpt-44" in printed
    assert Budget.objects.get().models == ["gpt-44"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("list", "unknown"), 'Organization "unknown" does not exist'),
        (("update", "acme", "a"), "At least one change must be given"),
        (("update", "acme", "a", "--team", "x", "--no-team"), "cannot be used together"),
        (("update", "acme", "a", "--hard", "--warn"), "not allowed with"),
        (("update", "acme", "x", "--limit", "1"), 'acme has no budget "x"'),
        (("enable", "acme", "x"), 'acme has no budget "x"'),
        (("delete", "acme", "x"), 'acme has no budget "x"'),
        (("show", "acme", "x"), 'acme has no budget "x"'),
        (("create", "acme", "A", *MONTHLY), "already exists"),
        (("create", "acme", "b", "--per", "day"), "--limit"),
        (("create", "acme", "b", "--limit", "1"), "--per"),
        (("create", "acme", "b", "--limit", "1", "--per", "year"), "invalid choice"),
        (("create", "acme", "b", "--limit", "-1", "--per", "day"), "Limit (EUR)"),
        (("create", "acme", "b", "--limit", "much", "--per", "day"), "Limit (EUR)"),
        (("create", "acme", "b", *MONTHLY, "--models", "gpt 4"), "Models: "),
        (("update", "acme", "a", "--rename", ""), "Budget name"),
        (("polish",), "invalid choice"),
    ],
)
def test_invalid_input_is_one_line_error(
    acme: Organization, words: tuple[str, ...], sentence: str
) -> None:
    BudgetFactory.create(org=acme, name="a")
    with pytest.raises(CommandError) as refusal:
        budgets(*words)
    assert sentence in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert Budget.objects.count() == 1

"""Budgets in Django admin: saved by the operations, which start the counting."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils.timezone import now

from costs.models import Period
from gateway.budgets.operations import BUDGETS_MAX
from gateway.core.model_entries import ORGANIZATION_WILDCARDS_MAX
from gateway.models import Budget
from orgs.models import Organization
from tests.factories import BudgetFactory, DailyCostFactory

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]

ADD = "admin:gateway_budget_add"
LIST = "admin:gateway_budget_changelist"


def typed(org: Organization, **fields: Any) -> dict[str, Any]:
    return {
        "org": str(org.pk),
        "name": "Blue",
        "enabled": "on",
        "span": "month",
        "hold": "whole",
        "limit_nanoeur": "5",
        "is_hard": "on",
        "team_id": "blue",
        "models": "",
        **fields,
    }


def test_new_budget_counts_earlier_costs(operator: Client, acme: Organization) -> None:
    acme.timezone = "UTC"
    acme.save()
    DailyCostFactory.create(org=acme, day=now().date(), team_id="blue", amount_nanoeur=3)
    answer = operator.post(reverse(ADD), typed(acme))
    assert answer.status_code == 302
    budget = Budget.objects.get()
    assert (budget.team_id, budget.app_id, budget.models) == ("blue", None, [])
    assert Period.objects.get(scope=budget.scope).carried_nanoeur == 3
    assert operator.get(reverse(LIST), {"q": "blue"}).context["cl"].result_count == 1


def test_budget_can_be_created_disabled(operator: Client, acme: Organization) -> None:
    without = {name: value for name, value in typed(acme).items() if name != "enabled"}
    operator.post(reverse(ADD), without)
    assert not Budget.objects.get().enabled


def test_change_recounts_and_keeps_organization(
    operator: Client, acme: Organization, globex: Organization
) -> None:
    budget = BudgetFactory.create(org=acme, name="Old", team_id="red")
    address = reverse("admin:gateway_budget_change", args=[budget.pk])
    assert operator.post(address, typed(globex)).status_code == 302
    budget.refresh_from_db()
    assert (budget.org, budget.name, budget.team_id) == (acme, "Blue", "blue")
    assert budget.revision == 2
    assert Period.objects.filter(scope=budget.scope).exists()


def test_invalid_values_are_form_errors(operator: Client, acme: Organization) -> None:
    BudgetFactory.create(org=acme, name="BLUE")
    assert "exists already" in operator.post(reverse(ADD), typed(acme)).content.decode()
    bad = typed(acme, name="Other", models="gpt 4")
    assert "is not a valid model name" in operator.post(reverse(ADD), bad).content.decode()
    bad = typed(acme, name="Other", models="a*" * 11)
    assert "at most 10 wildcards (*)" in operator.post(reverse(ADD), bad).content.decode()
    models = [f"a{n}*" for n in range(ORGANIZATION_WILDCARDS_MAX)]
    full = BudgetFactory.create(org=acme, models=models)
    bad = typed(acme, name="Other", models="b*")
    assert "All lists together can have" in operator.post(reverse(ADD), bad).content.decode()
    full.delete()
    Budget.objects.bulk_create(BudgetFactory.build_batch(BUDGETS_MAX, org=acme))
    answer = operator.post(reverse(ADD), typed(acme, name="One more"))
    assert "can have at most" in answer.content.decode()
    assert not Budget.objects.filter(name="One more").exists()


def test_budgets_are_deleted_singly_and_in_bulk(operator: Client, acme: Organization) -> None:
    one, *others = BudgetFactory.create_batch(3, org=acme)
    operator.post(reverse("admin:gateway_budget_delete", args=[one.pk]), {"post": "yes"})
    chosen = [str(budget.pk) for budget in others]
    data = {"action": "delete_selected", "_selected_action": chosen, "post": "yes"}
    operator.post(reverse(LIST), data)
    assert not Budget.objects.exists()

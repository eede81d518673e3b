"""A request's page: what budgets and the limit of its session decided."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.models import Budget
from orgs.models import Organization, User
from tests.cast import CLIENTS
from tests.factories import (
    AiRequestLogFactory,
    BudgetFactory,
)

pytestmark = pytest.mark.django_db


def budget_entry(budget: Budget, **fields: Any) -> dict[str, Any]:
    """An entry of a trace, as RESERVE writes it."""
    return {
        "id": str(budget.pk),
        "name": budget.name,
        "span": "month",
        "is_hard": True,
        "limit_nanoeur": 5 * 10**9,
        "verdict": "ok",
        "charged_nanoeur": 10**9,
        "held_nanoeur": 10**9,
        **fields,
    }


def test_request_shows_verdict_of_every_budget(
    acme: Organization, client_for: CLIENTS, member_user: User
) -> None:
    full, gone = BudgetFactory.create(org=acme, name="Blue"), BudgetFactory.build(name="Gone")
    fields = [
        budget_entry(gone, is_hard=False),
        budget_entry(full, verdict="budget_limit"),
        budget_entry(full, name="Later", verdict="not reached", charged_nanoeur=None),
        {"name": 3, "limit_nanoeur": "much"},
    ]
    row = AiRequestLogFactory.create(
        org=acme,
        status="blocked",
        code="budget_limit",
        decision={"policies": [], "budgets": fields},
    )
    response = client_for(member_user).get(f"/admin/ai/requests/{row.pk}")
    page = response.content.decode()
    assert "Blocked by budget &quot;Blue&quot;: not enough is left this month." in page
    assert f'<a href="/costs/budgets/{full.pk}">Blue</a>' in page
    assert f"/costs/budgets/{gone.pk}" not in page
    judged = next(step for step in response.context["steps"] if step.budgets)
    assert [(each.name, each.word, each.left_nanoeur) for each in judged.budgets] == [
        ("Gone", "ok", 3 * 10**9),
        ("Blue", "budget limit", 3 * 10**9),
        ("Later", "not checked", None),
        ("unnamed", "unknown", None),
    ]


@pytest.mark.parametrize(
    ("status", "verdict", "sentence"),
    [
        ("ok", "ok", "No policy was active. Within the limit of its session."),
        (
            "blocked",
            "budget_limit",
            "Blocked by policy &quot;Agents&quot;: not enough is left this session.",
        ),
    ],
)
def test_verdict_on_session_is_shown(  # noqa: PLR0913  fixtures
    acme: Organization,
    client_for: CLIENTS,
    member_user: User,
    status: str,
    verdict: str,
    sentence: str,
) -> None:
    entry = {"id": "1", "name": "Agents", "span": "session", "verdict": verdict}
    amounts = {"limit_nanoeur": 5, "charged_nanoeur": 3, "held_nanoeur": 1}
    row = AiRequestLogFactory.create(
        org=acme,
        status=status,
        code="budget_limit" if status == "blocked" else None,
        decision={"policies": [], "session": entry | amounts},
    )
    page = client_for(member_user).get(f"/admin/ai/requests/{row.pk}").content.decode()
    assert sentence in page
    assert 'Agents<span class="subtle">policy</span>' in page
    assert "per session" in page


def test_budgets_that_allowed_request_are_mentioned(
    acme: Organization, client_for: CLIENTS, member_user: User
) -> None:
    budget = BudgetFactory.create(org=acme)
    row = AiRequestLogFactory.create(org=acme, decision={"budgets": [budget_entry(budget)]})
    page = client_for(member_user).get(f"/admin/ai/requests/{row.pk}").content.decode()
    assert "No policy was active. Allowed by every budget that applies to it." in page

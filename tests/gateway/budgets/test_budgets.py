"""Budgets and requests: which calls count, refusals, and earlier spending."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from django.utils.timezone import now

from costs.core.calendar.periods import BudgetWindow
from costs.core.money import euros
from costs.models import Period
from gateway.budgets.operations import (
    BudgetTerms,
    create_budget,
    delete_budget,
    is_of_model,
    update_budget,
)
from gateway.budgets.status import statuses
from gateway.call.rules.budgets import budget_rule
from gateway.call.runtime import Gateway
from gateway.models import AiRequestLog, Budget
from gateway.providers.known import known_models
from orgs.core.errors import Conflict, Missing
from orgs.fields import new_id
from orgs.models import Organization
from tests.costs.books import check_the_books
from tests.costs.charges import charge
from tests.gateway.conftest import Asking
from tests.gateway.local_rows import make_row

pytestmark = pytest.mark.both_databases

EUR = 10**9
HELLO: dict[str, Any] = {"model": "sandbox-small", "prompt": "Hello", "maxTokens": 10}


def budget(acme: Organization, name: str = "Team 1, monthly", **terms: Any) -> Budget:
    entry = {"span": BudgetWindow.MONTH, "limit_nanoeur": 200 * EUR, **terms}
    return create_budget(organization_id=acme.pk, terms=BudgetTerms(name=name, **entry))


def spent(found: Budget) -> int:
    found.refresh_from_db()
    period = Period.objects.get(scope=found.scope)
    return period.carried_nanoeur + period.settled_nanoeur + period.overrun_nanoeur


def bound(ask: Asking, body: dict[str, Any]) -> int:
    quoted: float = ask(body, path="/api/ai/quote").json["boundEur"]
    return round(quoted * EUR)


def test_full_budget_refuses_with_name_limit_and_room(ask: Asking, acme: Organization) -> None:
    needed = bound(ask, HELLO)
    budget(acme, team_id="1", limit_nanoeur=needed - 1)
    reply = ask(HELLO | {"teamId": "1"})
    assert reply.status == 403
    assert reply.json["code"] == "budget_limit"
    assert 'budget "Team 1, monthly" allows' in reply.json["error"]
    assert "per month and" in reply.json["error"]
    assert 0 < int(reply.headers["retry-after"]) <= 31 * 24 * 3600 + 3600
    row = AiRequestLog.objects.get(code="budget_limit")
    (entry,) = row.decision["budgets"]
    assert (entry["verdict"], entry["limit_nanoeur"]) == ("budget_limit", needed - 1)
    check_the_books()


def test_budget_applies_only_to_matching_calls(ask: Asking, acme: Organization) -> None:
    budget(acme, team_id="1", task_type="chat", limit_nanoeur=0)
    entry = {"teamId": "1", "taskType": "chat"}
    assert ask(HELLO | entry).json["code"] == "budget_limit"
    for other in ({}, {"teamId": "2", "taskType": "chat"}, {"teamId": "1"}):
        assert ask(HELLO | other).status == 200


@pytest.mark.parametrize("entry", ["sandbox-small", "SANDBOX-*", " Sandbox-Small "])
def test_model_budget_counts_all_spellings(ask: Asking, acme: Organization, entry: str) -> None:
    budget(acme, models=[entry], limit_nanoeur=0)
    assert ask(HELLO).json["code"] == "budget_limit"
    assert ask(HELLO | {"model": "sandbox-small"}, path="/api/ai/quote").json["allowed"] is False


@pytest.mark.parametrize("entry", ["gpt-4o-mini", "openai/gpt-4o-mini", "gpt-4o*", "ft:*"])
def test_model_budget_counts_fine_tunes(gateway: Gateway, acme: Organization, entry: str) -> None:
    rule = budget_rule(budget(acme, models=[entry]), gateway.catalog)
    is_of = partial(is_of_model, rule, known_models(acme.pk), provider="openai")
    assert is_of("ft:gpt-4o-mini-2024-07-18:acme::abc")
    assert not is_of("ft:gpt-4.1-mini:acme::abc") or entry == "ft:*"


def test_other_model_is_not_limited(ask: Asking, acme: Organization) -> None:
    budget(acme, models=["gpt-4o*"], limit_nanoeur=0)
    assert ask(HELLO).status == 200


def test_only_calls_of_hard_budget_need_bound(ask: Asking, acme: Organization) -> None:
    uncapped = {"model": "sandbox-small", "prompt": "Hello"}
    budget(acme, team_id="1")
    budget(acme, "Warning", team_id="2", is_hard=False)
    caps = {
        team: ask(uncapped | {"teamId": team}).headers.get("x-pulse-output-cap") for team in "123"
    }
    assert caps == {"1": "16384", "2": None, "3": None}


def test_first_full_budget_refuses(ask: Asking, acme: Organization) -> None:
    budget(acme, "Of the team", team_id="1", limit_nanoeur=0)
    budget(acme, "Of all", limit_nanoeur=0)
    budget(acme, "Of the app", app_id="a", limit_nanoeur=0)
    assert 'budget "Of the team"' in ask(HELLO | {"teamId": "1", "appId": "a"}).json["error"]
    assert 'budget "Of all"' in ask(HELLO | {"appId": "a"}).json["error"]


def test_soft_budget_counts_without_refusing(ask: Asking, acme: Organization) -> None:
    warning = budget(acme, limit_nanoeur=1, is_hard=False)
    costs = [ask(HELLO).json["estimatedCostEur"] for _ in range(3)]
    assert spent(warning) == round(sum(costs) * EUR) > 1


def test_new_budget_counts_earlier_costs_of_period(ask: Asking, acme: Organization) -> None:
    before = round(ask(HELLO | {"teamId": "1"}).json["estimatedCostEur"] * EUR)
    ask(HELLO | {"teamId": "2"})
    found = budget(acme, team_id="1", models=["sandbox-small"])
    other = budget(acme, "Another", team_id="1", models=["gpt-4o"])
    assert (spent(found), spent(other)) == (before, 0)
    after = round(ask(HELLO | {"teamId": "1"}).json["estimatedCostEur"] * EUR)
    assert spent(found) == before + after
    check_the_books()


def test_changed_scope_recounts_and_changed_limit_does_not(ask: Asking, acme: Organization) -> None:
    first, second = (
        round(ask(HELLO | {"teamId": team}).json["estimatedCostEur"] * EUR) for team in "12"
    )
    found = budget(acme, team_id="1")
    terms = BudgetTerms(name="New", span=BudgetWindow.MONTH, limit_nanoeur=EUR, team_id="1")
    update_budget(organization_id=acme.pk, budget_id=found.pk, terms=terms)
    found.refresh_from_db()
    assert (found.name, found.revision, spent(found)) == ("New", 1, first)
    terms = BudgetTerms(name="New", span=BudgetWindow.MONTH, limit_nanoeur=EUR, team_id="2")
    update_budget(organization_id=acme.pk, budget_id=found.pk, terms=terms)
    found.refresh_from_db()
    assert (found.revision, spent(found)) == (2, second)


def test_reenabled_budget_counts_missed_spending(ask: Asking, acme: Organization) -> None:
    found = budget(acme, limit_nanoeur=0)
    assert ask(HELLO).json["code"] == "budget_limit"
    update_budget(organization_id=acme.pk, budget_id=found.pk, enabled=False)
    cost = round(ask(HELLO).json["estimatedCostEur"] * EUR)
    update_budget(organization_id=acme.pk, budget_id=found.pk, enabled=True)
    assert spent(found) == cost
    assert ask(HELLO).json["code"] == "budget_limit"
    delete_budget(organization_id=acme.pk, budget_id=found.pk)
    assert ask(HELLO).status == 200


def test_raised_limit_admits_next_request(ask: Asking, acme: Organization) -> None:
    found = budget(acme, limit_nanoeur=0)
    assert ask(HELLO).json["code"] == "budget_limit"
    terms = BudgetTerms(name="More", span=BudgetWindow.MONTH, limit_nanoeur=EUR)
    update_budget(organization_id=acme.pk, budget_id=found.pk, terms=terms)
    assert ask(HELLO).status == 200


def test_quote_lists_every_limit_of_request(ask: Asking, acme: Organization) -> None:
    budget(acme, limit_nanoeur=3 * EUR)
    cost = ask(HELLO).json["estimatedCostEur"]
    (entry,) = ask(HELLO, path="/api/ai/quote").json["limits"]
    assert entry == {
        "budget": "Team 1, monthly",
        "per": "month",
        "limitEur": 3.0,
        "chargedEur": cost,
        "heldEur": 0.0,
        "leftEur": float(euros(3 * EUR - round(cost * EUR))),
    }


def test_trace_has_room_of_each_budget(ask: Asking, acme: Organization) -> None:
    budget(acme, limit_nanoeur=3 * EUR)
    budget(acme, "Weekly", span=BudgetWindow.WEEK, is_hard=False)
    reply = ask(HELLO)
    entry = AiRequestLog.objects.get(pk=reply.json["requestId"]).decision["budgets"]
    assert [(each["name"], each["span"], each["verdict"]) for each in entry] == [
        ("Team 1, monthly", "month", "ok"),
        ("Weekly", "week", "ok"),
    ]


def test_name_is_unique_and_deleted_budget_is_missing(gateway: Gateway, acme: Organization) -> None:
    budget(acme)
    with pytest.raises(Conflict):
        budget(acme, "TEAM 1, monthly")
    with pytest.raises(Missing):
        update_budget(organization_id=acme.pk, budget_id=new_id(), enabled=True)


@pytest.mark.parametrize(
    ("entry", "is_counted"),
    [
        ("azure-eu/*", True),
        ("azure-eu/gpt-4o", True),
        ("gpt-4o", True),
        ("region:eu", True),
        ("openai/*", False),
        ("azure-us/*", False),
    ],
)
def test_budget_counts_earlier_charges_at_their_provider(
    gateway: Gateway, acme: Organization, entry: str, is_counted: bool
) -> None:
    make_row("azure-eu", regions=["EU"])
    charge(acme, 5 * EUR, provider="azure-eu", model="gpt-4o", occurred_at=now())
    assert spent(budget(acme, models=[entry])) == (5 * EUR if is_counted else 0)
    [status] = statuses(acme, now=now())
    assert sum(status.by_day.values()) == (5 * EUR if is_counted else 0)

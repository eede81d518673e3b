"""Budgets that limit each member, key or other value of a dimension for itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils.timezone import now

from costs.core.calendar.periods import BudgetWindow, first_instant, local_day
from costs.models import Period
from gateway.budgets.operations import BudgetTerms, create_budget, terms_of, update_budget
from gateway.budgets.parts.raises import RAISES_MAX, RaiseTerms, remove_raise, set_raise
from gateway.budgets.parts.values import value_named
from gateway.call.rules.budgets import budget_rules
from gateway.call.runtime import Gateway
from gateway.guards.budgets import part_of
from gateway.models import AiRequestLog, Budget, BudgetRaise
from orgs.core.errors import Conflict, Invalid, Missing
from orgs.keys.operations import rotate_key
from orgs.models import ApiKey, HistoryEvent, Organization, User
from tests.costs.books import check_the_books
from tests.gateway.conftest import Asking
from tests.gateway.wire import Reply

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]

EUR = 10**9
HELLO: dict[str, Any] = {"model": "sandbox-small", "prompt": "Hello", "maxTokens": 10}


def each(acme: Organization, column: str = "user_id", **terms: Any) -> Budget:
    usual: dict[str, Any] = {
        "name": f"Each {column}",
        "span": BudgetWindow.DAY,
        "limit_nanoeur": EUR,
    }
    return create_budget(organization_id=acme.pk, terms=BudgetTerms(each=column, **usual | terms))


def bound_of(ask: Asking) -> int:
    quoted: float = ask(HELLO, path="/api/ai/quote").json["boundEur"]
    return round(quoted * EUR)


def cost_of(reply: Reply) -> int:
    assert reply.status == 200, reply.json
    cost: float = reply.json["estimatedCostEur"]
    return round(cost * EUR)


def change(budget: Budget, **terms: Any) -> None:
    budget.refresh_from_db()
    changed = replace(terms_of(budget), **terms)
    update_budget(organization_id=budget.org_id, budget_id=budget.pk, terms=changed)
    budget.refresh_from_db()


def charged(budget: Budget, value: str) -> int:
    scope = f"{budget.scope}:{part_of(value)}"
    found = Period.objects.filter(org=budget.org, scope=scope)
    return sum(period.charged_nanoeur for period in found)


def test_two_users_have_whole_limit_each(ask: Asking, acme: Organization) -> None:
    budget = each(acme, limit_nanoeur=bound_of(ask))
    ann = cost_of(ask(HELLO | {"userId": "ann"}))
    bob = cost_of(ask(HELLO | {"userId": "bob"}))
    for user in ("ann", " ANN ", "bob"):
        assert ask(HELLO | {"userId": user}).json["code"] == "budget_limit"
    assert (charged(budget, "ann"), charged(budget, "bob")) == (ann, bob)
    cost_of(ask(HELLO | {"userId": "eve"}))
    cost_of(ask(HELLO))  # without a user: it counts in no part
    assert Period.objects.filter(scope__startswith=f"{budget.scope}:").count() == 3
    check_the_books()


def test_refusal_names_member_user_and_key(
    ask: Asking, acme: Organization, make_key: Callable[..., str], member_user: User
) -> None:
    budget = each(acme, limit_nanoeur=0, name="Daily")
    sentence = 'budget "Daily" allows 0.00 EUR per day for {} and 0.00 EUR are left'
    own = make_key(acme, "own", owner=member_user)
    assert sentence.format(f'member "{member_user.email}"') in ask(HELLO, key=own).json["error"]
    assert sentence.format('user "u-1"') in ask(HELLO | {"userId": "u-1"}).json["error"]
    change(budget, each="key_id")
    assert sentence.format('key "own"') in ask(HELLO, key=own).json["error"]
    row = AiRequestLog.objects.latest("id")
    (entry,) = row.decision["budgets"]
    assert (entry["each"], entry["value"]) == ("key_id", str(row.key_id))
    assert (entry["verdict"], entry["limit_nanoeur"]) == ("budget_limit", 0)


@pytest.mark.parametrize(
    ("column", "field"),
    [
        ("team_id", "teamId"),
        ("project_id", "projectId"),
        ("app_id", "appId"),
        ("client_id", "clientId"),
        ("task_type", "taskType"),
    ],
)
def test_each_value_of_other_dimension(
    ask: Asking, acme: Organization, column: str, field: str
) -> None:
    each(acme, column, limit_nanoeur=bound_of(ask))
    cost_of(ask(HELLO | {field: "a"}))
    cost_of(ask(HELLO | {field: "b"}))
    assert ask(HELLO | {field: "A"}).json["code"] == "budget_limit"


def test_budget_of_team_limits_each_of_its_keys(
    ask: Asking, acme: Organization, make_key: Callable[..., str]
) -> None:
    each(acme, "key_id", limit_nanoeur=bound_of(ask), team_id="x")
    one, two = (make_key(acme, name, team_id="x") for name in ("one", "two"))
    for key in (one, two):
        cost_of(ask(HELLO, key=key))
        assert ask(HELLO, key=key).json["code"] == "budget_limit"
    cost_of(ask(HELLO | {"teamId": "y"}))


def test_rotated_key_keeps_its_part(
    ask: Asking, acme: Organization, make_key: Callable[..., str]
) -> None:
    budget = each(acme, "key_id", limit_nanoeur=2 * bound_of(ask))
    text = make_key(acme, "ci")
    first = ApiKey.objects.get(name="ci")
    spent = cost_of(ask(HELLO, key=text))
    _, replaced = rotate_key(key=first)
    spent += cost_of(ask(HELLO, key=replaced))
    assert charged(budget, str(first.pk)) == spent
    change(budget, limit_nanoeur=spent)
    assert ask(HELLO, key=replaced).json["code"] == "budget_limit"
    change(budget, span=BudgetWindow.MONTH)  # counts again, both keys as one
    assert charged(budget, str(first.pk)) == spent
    check_the_books()


def test_same_user_of_another_tenant_is_another_part(
    ask: Asking, acme: Organization, globex: Organization, make_key: Callable[..., str]
) -> None:
    limit = bound_of(ask)
    each(acme, limit_nanoeur=limit)
    each(globex, limit_nanoeur=limit)
    other = make_key(globex)
    for key in (None, other):
        cost_of(ask(HELLO | {"userId": "ann"}, key=key))
        assert ask(HELLO | {"userId": "ann"}, key=key).json["code"] == "budget_limit"


def test_new_budget_counts_what_each_has_cost_today(ask: Asking, acme: Organization) -> None:
    costs = {user: cost_of(ask(HELLO | {"userId": user})) for user in ("ann", "bob")}
    costs["ann"] += cost_of(ask(HELLO | {"userId": "ANN"}))
    ask(HELLO)
    budget = each(acme)
    assert {user: charged(budget, user) for user in costs} == costs
    assert charged(budget, "eve") == 0
    other = each(acme, name="Other model", models=["gpt-4o"])
    assert not Period.objects.filter(scope__startswith=f"{other.scope}:").exists()
    check_the_books()


def test_changed_dimension_counts_again_and_removes_raises(ask: Asking, acme: Organization) -> None:
    spent = cost_of(ask(HELLO | {"userId": "ann", "teamId": "x"}))
    budget = each(acme)
    raised(budget, "ann", 2 * EUR)
    change(budget, each="team_id")
    assert (charged(budget, "x"), budget.revision) == (spent, 2)
    assert not BudgetRaise.objects.exists()
    change(budget, each="")
    period = Period.objects.get(scope=budget.scope)
    assert period.charged_nanoeur == spent


def test_reenabled_budget_counts_missed_spending_of_each(ask: Asking, acme: Organization) -> None:
    budget = each(acme)
    update_budget(organization_id=acme.pk, budget_id=budget.pk, enabled=False)
    spent = cost_of(ask(HELLO | {"userId": "ann"}))
    update_budget(organization_id=acme.pk, budget_id=budget.pk, enabled=True)
    budget.refresh_from_db()
    assert charged(budget, "ann") == spent


def test_budget_that_warns_counts_each_and_refuses_none(ask: Asking, acme: Organization) -> None:
    budget = each(acme, limit_nanoeur=1, is_hard=False)
    spent = sum(cost_of(ask(HELLO | {"userId": "ann"})) for _ in range(2))
    assert charged(budget, "ann") == spent


def test_quote_says_whose_room_it_is(
    ask: Asking, acme: Organization, make_key: Callable[..., str], member_user: User
) -> None:
    budget = each(acme, name="Daily")
    raised(budget, str(member_user.pk), 3 * EUR)
    own = make_key(acme, "own", owner=member_user)
    (entry,) = ask(HELLO, path="/api/ai/quote", key=own).json["limits"]
    assert entry["budget"] == "Daily"
    assert (entry["each"], entry["for"]) == ("member", member_user.email)
    assert (entry["limitEur"], entry["leftEur"]) == (3.0, 3.0)
    (entry,) = ask(HELLO | {"userId": "u"}, path="/api/ai/quote").json["limits"]
    assert (entry["each"], entry["for"], entry["limitEur"]) == ("member", "u", 1.0)
    assert ask(HELLO, path="/api/ai/quote").json["limits"] == []


def test_database_takes_only_known_dimensions(acme: Organization) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        Budget.objects.create(org=acme, name="x", span="day", limit_nanoeur=1, each="model")


# --- raised limits ------------------------------------------------------------------------------


def raised(budget: Budget, value: str, limit_nanoeur: int, *, days: int = 0) -> None:
    until = local_day(now(), ZoneInfo(budget.org.timezone)) + timedelta(days=days)
    set_raise(
        organization_id=budget.org_id,
        budget_id=budget.pk,
        terms=RaiseTerms(value=value, limit_nanoeur=limit_nanoeur, until=until),
    )


def test_raise_counts_at_next_request_for_one_alone(ask: Asking, acme: Organization) -> None:
    budget = each(acme, limit_nanoeur=0)
    for user in ("ann", "bob"):
        assert ask(HELLO | {"userId": user}).json["code"] == "budget_limit"
    raised(budget, "Ann", EUR)
    cost_of(ask(HELLO | {"userId": "ann"}))
    assert ask(HELLO | {"userId": "bob"}).json["code"] == "budget_limit"
    remove_raise(organization_id=acme.pk, budget_id=budget.pk, value="ANN")
    assert ask(HELLO | {"userId": "ann"}).json["code"] == "budget_limit"
    entries = HistoryEvent.objects.filter(event__in=("budget_raised", "budget_lowered"))
    events = entries.order_by("id").values_list("event", "subject_id", "before", "after")
    until = f"{local_day(now(), ZoneInfo(acme.timezone))}"
    terms = {"Ann": {"limit_nanoeur": EUR, "until": until}}
    assert list(events) == [
        ("budget_raised", budget.pk, None, terms),
        ("budget_lowered", budget.pk, terms, None),
    ]
    check_the_books()


def test_raise_in_sql_counts_at_next_request(ask: Asking, acme: Organization) -> None:
    budget = each(acme, limit_nanoeur=0)
    raised(budget, "ann", 1)
    assert ask(HELLO | {"userId": "ann"}).json["code"] == "budget_limit"
    with connection.cursor() as cursor:
        cursor.execute("UPDATE budget_raise SET limit_nanoeur = %s", [EUR])
    cost_of(ask(HELLO | {"userId": "ann"}))


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Pago_Pago"])
def test_raise_ends_with_its_day_in_zone_of_organization(
    gateway: Gateway, acme: Organization, zone: str
) -> None:
    acme.timezone = zone
    acme.save()
    budget = each(acme)
    raised(budget, "ann", 5 * EUR, days=1)
    (rule,) = budget_rules(acme, gateway.catalog)
    limit = rule.part("ann").limit
    tomorrow = local_day(now(), ZoneInfo(zone)) + timedelta(days=1)
    ends_at = first_instant(tomorrow + timedelta(days=1), ZoneInfo(zone))
    assert limit.nanoeur_at(ends_at - timedelta(microseconds=1)) == 5 * EUR
    assert limit.nanoeur_at(ends_at) == EUR
    # What waits for room waits for what is in force.
    at_end, before = limit.in_force_at(ends_at), limit.in_force_at(now())
    assert (at_end.limit_nanoeur, at_end.raised) == (EUR, None)
    assert (before.limit_nanoeur, before.raised) == (5 * EUR, None)


def test_snapshot_that_is_older_than_end_of_raise_does_not_keep_it(
    ask: Asking, gateway: Gateway, acme: Organization
) -> None:
    budget = each(acme, limit_nanoeur=0)
    raised(budget, "ann", EUR)
    cost_of(ask(HELLO | {"userId": "ann"}))
    snapshot = gateway.directory._organizations[acme.pk]
    (rule,) = snapshot.budgets.rules
    for limit in dict(rule.raises).values():  # as if its day had ended since it was read
        limit.ends_at = now()  # type: ignore[misc]  # the test's own change of what was read
    assert ask(HELLO | {"userId": "ann"}).json["code"] == "budget_limit"
    assert gateway.directory._organizations[acme.pk] is snapshot


@pytest.mark.parametrize(
    ("terms", "field"),
    [
        ({"days": -1}, "until"),
        ({"days": 1000}, "until"),
        ({"limit_nanoeur": EUR}, "limit_eur"),
    ],
)
def test_raise_must_be_above_limit_and_end_soon(
    acme: Organization, gateway: Gateway, terms: dict[str, int], field: str
) -> None:
    budget = each(acme)
    with pytest.raises(Invalid) as refused:
        raised(budget, "ann", **{"limit_nanoeur": 2 * EUR, **terms})
    assert refused.value.field == field


def test_budget_of_all_calls_has_no_value_to_raise(acme: Organization, gateway: Gateway) -> None:
    budget = each(acme, "")
    with pytest.raises(Invalid):
        raised(budget, "ann", 2 * EUR)
    with pytest.raises(Missing):
        remove_raise(organization_id=acme.pk, budget_id=each(acme).pk, value="ann")


def test_second_raise_replaces_first_and_ended_ones_are_forgotten(
    acme: Organization, gateway: Gateway
) -> None:
    budget = each(acme)
    raised(budget, "ann", 2 * EUR)
    raised(budget, "ANN", 3 * EUR, days=3)
    assert [row.limit_nanoeur for row in BudgetRaise.objects.all()] == [3 * EUR]
    long_ago = now().date() - timedelta(days=9)
    BudgetRaise.objects.update(until=long_ago)
    raised(budget, "bob", 2 * EUR)
    assert [row.value for row in BudgetRaise.objects.all()] == ["bob"]


def test_number_of_raises_is_limited(acme: Organization, gateway: Gateway) -> None:
    budget = each(acme)
    until = now().date() + timedelta(days=2)
    BudgetRaise.objects.bulk_create(
        BudgetRaise(
            org=acme, budget=budget, part=f"{n}", value=f"{n}", limit_nanoeur=1, until=until
        )
        for n in range(RAISES_MAX)
    )
    with pytest.raises(Conflict):
        raised(budget, "ann", 2 * EUR)


def test_names_mean_members_keys_and_other_values(
    acme: Organization,
    globex: Organization,
    make_key: Callable[..., str],
    member_user: User,
    stranger: User,
) -> None:
    make_key(acme, "CI")
    key = ApiKey.objects.get(name="CI")

    def resolved(name: str, column: str) -> str:
        return value_named(name, each=column, organization_id=acme.pk)

    assert resolved(member_user.email.upper(), "user_id") == str(member_user.pk)
    assert resolved("u-1", "user_id") == "u-1"
    assert {resolved(name, "key_id") for name in ("ci", key.public, f"{key.pk}")} == {f"{key.pk}"}
    assert resolved(" Équipe ", "team_id") == "Équipe"
    make_key(globex, "theirs")
    for name, column in (("theirs", "key_id"), (stranger.email, "user_id"), ("", "team_id")):
        with pytest.raises(Invalid):
            resolved(name, column)

"""Names of dimensions that look alike are one: in requests, keys, budgets and lists."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command
from django.test import Client

from costs.core.calendar.periods import BudgetWindow
from costs.models import DailyCost, Period
from gateway.budgets.operations import BudgetTerms, create_budget, update_budget
from gateway.budgets.status import statuses
from gateway.call.sdk import ai_request
from gateway.models import AiRequestLog, Budget
from orgs.keys.operations import create_key
from orgs.keys.reports import keys_that_open
from orgs.members.operations import remove_member
from orgs.models import ApiKey, Membership, Organization, User
from tests.costs.books import check_the_books
from tests.factories import AiRequestLogFactory, PolicyFactory
from tests.gateway.conftest import Asking

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]

EUR = 10**9
HELLO: dict[str, Any] = {"model": "sandbox-small", "prompt": "Hello", "maxTokens": 10}
CHAT = {"model": "sandbox-small", "messages": [{"role": "user", "content": "Hello"}]}
SPELLINGS = ("Stra\u00dfe 1", "STRASSE 1 ", "\u2003stra\u00dfe 1")
UNKNOWN = "No user of this organization has the email address {}"


def teams() -> list[str | None]:
    return list(AiRequestLog.objects.order_by("id").values_list("team_id", flat=True))


def budget(acme: Organization, **terms: Any) -> Budget:
    entry = {"name": "Street", "span": BudgetWindow.MONTH, "limit_nanoeur": EUR, **terms}
    return create_budget(organization_id=acme.pk, terms=BudgetTerms(**entry))


def spent(found: Budget) -> int:
    found.refresh_from_db()
    return Period.objects.get(scope=found.scope).charged_nanoeur


def test_dimension_is_stored_trimmed_and_composed_in_its_case(
    ask: Asking, acme: Organization
) -> None:
    ask(HELLO | {"teamId": "\u00a0 Cafe\u0301 A\n", "taskType": " \u3000"})
    row = AiRequestLog.objects.get()
    assert (row.team_id, row.task_type) == ("Caf\u00e9 A", None)
    ask(HELLO | {"teamId": f" {'x' * 128} "})
    assert AiRequestLog.objects.latest("id").team_id == "x" * 128
    assert ask(HELLO | {"teamId": "x" * 129}).status == 400
    ai_request(
        org_id=acme.pk,
        model="sandbox-small",
        input="Hello",
        metadata={"team_id": " Cafe\u0301 A "},
    )
    assert AiRequestLog.objects.latest("id").team_id == "Caf\u00e9 A"


def test_dimension_may_be_given_twice_in_two_spellings(ask: Asking) -> None:
    assert ask(HELLO | {"teamId": "Team A", "metadata": {"teamId": "team a "}}).status == 200
    assert ask(HELLO | {"teamId": "Team A", "metadata": {"teamId": "team b"}}).status == 400
    assert teams() == ["Team A", None]


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_header_is_utf_8_or_latin_1(ask_both: Asking, encoding: str) -> None:
    value = " Stra\u00dfe \u00e0 ".encode(encoding).decode("latin-1")
    reply = ask_both(CHAT, path="/v1/chat/completions", headers={"x-pulse-team-id": value})
    assert reply.status == 200, reply.body
    assert teams() == ["Stra\u00dfe \u00e0"]


def test_header_of_other_scripts_is_utf_8(ask_both: Asking) -> None:
    value = "\u540d\u524d".encode().decode("latin-1")
    ask_both(CHAT, path="/v1/chat/completions", headers={"x-pulse-team-id": value})
    assert teams() == ["\u540d\u524d"]


def test_request_gets_spelling_of_key(
    ask: Asking, acme: Organization, make_key: Callable[..., str]
) -> None:
    key = make_key(acme, "fixed", team_id=" Team-A\u00a0")
    assert ApiKey.objects.get(name="fixed").team_id == "Team-A"
    ApiKey.objects.filter(name="fixed").update(team_id="Team-A ")  # of an earlier version
    make_key(acme, "free")
    ApiKey.objects.filter(name="free").update(app_id=" ", client_id="Cafe\u0301")
    import_module("orgs.migrations.0008_names_of_keys").normalize_names(apps, None)
    assert ApiKey.objects.get(name="fixed").team_id == "Team-A"
    free = ApiKey.objects.get(name="free")
    assert (free.app_id, free.client_id) == (None, "Caf\u00e9")
    for given in ({"teamId": "TEAM-a "}, {}):
        assert ask(HELLO | given, key=key).status == 200
    assert ask(HELLO | {"teamId": "Team-B"}, key=key).json["code"] == "dimension_fixed_by_key"
    assert teams()[:2] == ["Team-A", "Team-A"]


def test_budget_counts_every_spelling(ask: Asking, acme: Organization) -> None:
    before = [ask(HELLO | {"teamId": each}).json["estimatedCostEur"] for each in SPELLINGS]
    ask(HELLO | {"teamId": "Strase 1"})
    found = budget(acme, team_id="STRASSE 1\u00a0")
    assert found.team_id == "STRASSE 1"
    after = [ask(HELLO | {"teamId": each}).json["estimatedCostEur"] for each in SPELLINGS]
    total = round(sum(before + after) * EUR)
    assert spent(found) == total
    [status] = statuses(acme, AiRequestLog.objects.latest("id").occurred_at, [found])
    assert sum(status.by_day.values()) == status.charged_nanoeur == total
    check_the_books()


def test_full_budget_refuses_every_spelling(ask: Asking, acme: Organization) -> None:
    budget(acme, team_id="Stra\u00dfe 1", limit_nanoeur=0)
    for each in SPELLINGS:
        assert ask(HELLO | {"teamId": each}).json["code"] == "budget_limit"
    assert ask(HELLO | {"teamId": "strase 1"}).status == 200


def test_stored_budget_of_earlier_version_counts_too(ask: Asking, acme: Organization) -> None:
    found = budget(acme, team_id="x", limit_nanoeur=0)
    Budget.objects.filter(pk=found.pk).update(team_id=" Cafe\u0301 ")
    assert ask(HELLO | {"teamId": "CAF\u00c9"}).json["code"] == "budget_limit"


def test_other_spelling_does_not_start_budget_again(acme: Organization) -> None:
    found = budget(acme, team_id="Stra\u00dfe")
    terms = BudgetTerms(
        name="Street", span=BudgetWindow.MONTH, limit_nanoeur=EUR, team_id="strasse"
    )
    update_budget(organization_id=acme.pk, budget_id=found.pk, terms=terms)
    before = found.revision
    found.refresh_from_db()
    assert (found.team_id, found.revision) == ("strasse", before)


def test_policy_knows_every_spelling(ask: Asking, acme: Organization) -> None:
    PolicyFactory.create(org=acme, known_values={"team_id": ["Cafe\u0301 "]})
    assert ask(HELLO | {"teamId": "CAF\u00c9"}).status == 200
    assert ask(HELLO | {"teamId": "Cafe"}).json["code"] == "dimension_fixed_by_key"


def test_key_with_other_spelling_can_avoid_budget_of_two_dimensions(acme: Organization) -> None:
    for number, team in enumerate(("Caf\u00e9", "CAFE\u0301 ", "cafe")):
        ApiKey.objects.filter(
            pk=create_key(org=acme, name=f"key {number}", team_id=team)[0].pk
        ).update(team_id=team)
    values = {"team_id": "caf\u00e9", "app_id": "a"}
    key = ApiKey.objects.first()
    assert key is not None
    assert keys_that_open(org=acme, moment=key.created_at, values=values) == 2


# --- lists --------------------------------------------------------------------------------------


def listed(ask: Asking, key: str | None = None, **query: str) -> int:
    path = "/api/ai/requests?" + "&".join(f"{name}={value}" for name, value in query.items())
    reply = ask(method="GET", path=path, key=key)
    assert reply.status == 200, reply.body
    return len(reply.json["requests"])


def test_list_finds_every_spelling_also_of_blocked_and_old_rows(
    ask: Asking, acme: Organization, client_for: Callable[[User], Client], member_user: User
) -> None:
    for team in ("Stra\u00dfe", "STRASSE", " strasse ", "strase"):
        AiRequestLogFactory.create(org=acme, team_id=team, status="blocked")
    assert listed(ask, teamId="stra%C3%9Fe%20") == 3
    assert listed(ask, teamId="strase") == 1
    page = client_for(member_user).get("/admin/ai?teamId=STRASSE")
    assert len(page.context["lines"]) == 3


def test_key_sees_every_spelling_of_its_team(
    ask: Asking, acme: Organization, make_key: Callable[..., str]
) -> None:
    rows = [AiRequestLogFactory.create(org=acme, team_id=team) for team in ("A", "a", "b")]
    key = make_key(acme, "fixed", team_id="A")
    reply = ask(method="GET", path="/api/ai/requests", key=key)
    assert {row["teamId"] for row in reply.json["requests"]} == {"A", "a"}
    assert listed(ask, teamId="a", key=key) == 2
    assert listed(ask, teamId="b", key=key) == 0
    for row, status in zip(rows, (200, 200, 404), strict=True):
        assert ask(method="GET", path=f"/api/ai/requests/{row.pk}", key=key).status == status


def test_unknown_address_is_error_in_lists(
    ask: Asking,
    acme: Organization,
    stranger: User,
    member_user: User,
    client_for: Callable[[User], Client],
) -> None:
    client = client_for(member_user)
    for address in (stranger.email, "unknown@example.com"):
        sentence = UNKNOWN.format(address)
        reply = ask(method="GET", path=f"/api/ai/requests?userId={address}")
        assert reply.refusal == (400, "invalid_request", sentence)
        assert sentence in client.get(f"/admin/ai?userId={address}").content.decode()
        for file in ("requests.csv", "requests.json"):
            response = client.get(f"/admin/ai/{file}?userId={address}")
            assert (response.status_code, sentence in response.content.decode()) == (400, True)
    assert listed(ask, userId="unknown") == 0


def test_address_finds_person_and_callers_who_sent_it(
    ask: Asking, acme: Organization, admin_user: User, member_user: User
) -> None:
    AiRequestLogFactory.create(org=acme, user_id=str(member_user.pk))
    AiRequestLogFactory.create(org=acme, user_id="customer@example.com")
    assert listed(ask, userId=member_user.email.upper()) == 1
    assert listed(ask, userId="Customer@example.com") == 1
    remove_member(membership=Membership.objects.get(user=member_user))
    assert listed(ask, userId=member_user.email) == 1


@pytest.mark.parametrize("email", ["stranger", "unknown@example.com"])
def test_commands_refuse_unknown_address(acme: Organization, stranger: User, email: str) -> None:
    address = stranger.email if email == "stranger" else email
    for command in (
        ("keys", "create", "acme", "--name", "k", "--user", address),
        ("budgets", "create", "acme", "b", "--limit", "1", "--per", "day", "--user", address),
    ):
        with pytest.raises(CommandError) as refused:
            call_command(*command)
        assert UNKNOWN.format(address) in str(refused.value)
    assert not Budget.objects.exists()
    assert not ApiKey.objects.exists()


def test_free_text_needs_no_address(ask: Asking, acme: Organization) -> None:
    found = budget(acme, user_id="batch job", limit_nanoeur=0)
    assert found.user_id == "batch job"
    assert ask(HELLO | {"userId": "Batch Job"}).json["code"] == "budget_limit"
    assert not DailyCost.objects.exists()

"""Dimensions that a policy requires, and their known values: on every way, and in the trace."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.test import Client
from django.utils.timezone import now

from gateway.console.dimensions import KNOWN_VALUES_MAX, KnownValuesField
from gateway.core.calls import DIMENSION_MAX_CHARS, Dimensions
from gateway.guards.dimensions import refusal_for_dimensions, requirements_of
from gateway.models import AiRequestLog, Budget, Policy
from gateway.policies.forms import PolicyForm, policy_values
from gateway.policies.names import PolicyNames
from orgs.keys.reports import keys_that_open
from orgs.models import Organization, User
from tests.cast import CLIENTS
from tests.factories import AiRequestLogFactory, ApiKeyFactory, BudgetFactory, PolicyFactory
from tests.gateway.conftest import Asking

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]

HELLO = {"model": "sandbox-small", "prompt": "Say hello"}
CREATE = "/admin/ai/policies/create"


def policy(acme: Organization, name: str = "Attributed", **limits: Any) -> Policy:
    made: Policy = PolicyFactory.create(org=acme, name=name, **limits)
    return made


def fault(dimensions: Dimensions, required: list[str], known: dict[str, list[str]]) -> Any:
    requirements = requirements_of(required, known)
    assert requirements is not None
    refusal = refusal_for_dimensions(dimensions, [("P", requirements)])
    return refusal and (refusal.status, refusal.code, refusal.message)


def test_no_requirement_is_none() -> None:
    assert requirements_of([], {}) is None
    assert requirements_of([], {"team_id": []}) is None


@pytest.mark.parametrize(
    ("dimensions", "refusal"),
    [
        (Dimensions(team_id="a"), None),
        (Dimensions(team_id="A", project_id="p"), None),
        (Dimensions(), (400, "invalid_request", 'teamId must be given: policy "P" requires it')),
        (
            Dimensions(team_id="c"),
            (403, "dimension_fixed_by_key", 'teamId "c" is not allowed by policy "P"'),
        ),
        (
            Dimensions(team_id="b", project_id="q"),
            (403, "dimension_fixed_by_key", 'projectId "q" is not allowed by policy "P"'),
        ),
    ],
)
def test_required_dimension_must_be_given_and_known(dimensions: Dimensions, refusal: Any) -> None:
    assert fault(dimensions, ["team_id"], {"team_id": ["a", "b"], "project_id": ["p"]}) == refusal


def test_required_user_must_be_proved() -> None:
    sentence = 'Policy "P" requires a signed-in user or a key with an owner'
    claimed = Dimensions(user_id="u")
    assert fault(claimed, ["user_id"], {}) == (400, "invalid_request", sentence)
    assert fault(Dimensions(user_id="u", user_proved=True), ["user_id"], {}) is None


def test_request_without_required_dimension_is_refused_and_trace_names_it(
    ask: Asking, acme: Organization
) -> None:
    policy(acme, required_dimensions=["team_id"], known_values={"team_id": ["web"]})
    policy(acme, name="Other", required_dimensions=["app_id"])
    expected: tuple[tuple[dict[str, str], tuple[int, str], str], ...] = (
        ({}, (400, "invalid_request"), "invalid_request"),
        ({"teamId": "hidden"}, (403, "dimension_fixed_by_key"), "dimension_fixed_by_key"),
    )
    for more, refusal, verdict in expected:
        reply = ask(HELLO | more)
        assert reply.refusal[:2] == refusal
        row = AiRequestLog.objects.get(id=reply.headers["x-pulse-request-id"])
        assert (row.status, row.code, row.cost_nanoeur) == ("blocked", refusal[1], 0)
        first, other = row.decision["policies"]
        assert (first["verdict"], first["dimension"]) == (verdict, "team_id")
        assert (other["verdict"], other["dimension"]) == ("invalid_request", "app_id")
    assert ask(HELLO | {"teamId": "web", "appId": "any"}).status == 200
    row = AiRequestLog.objects.get(status="ok")
    assert ["dimension" in each for each in row.decision["policies"]] == [False, False]


def test_requirement_applies_from_next_request(ask: Asking, acme: Organization) -> None:
    assert ask(HELLO).status == 200
    made = policy(acme, required_dimensions=["task_type"])
    assert ask(HELLO).status == 400
    Policy.objects.filter(pk=made.pk).update(required_dimensions=[])  # the trigger's work
    assert ask(HELLO).status == 200


def test_key_fixed_to_unknown_value_is_refused(
    ask: Asking, acme: Organization, make_key: Callable[..., str]
) -> None:
    policy(acme, known_values={"team_id": ["web"]})
    assert ask(HELLO, key=make_key(acme, "b", team_id="web")).status == 200
    assert ask(HELLO, key=make_key(acme, "a", team_id="old")).refusal[1] == "dimension_fixed_by_key"


def test_quote_says_what_is_missing(ask: Asking, acme: Organization) -> None:
    policy(acme, required_dimensions=["team_id"])
    reply = ask(HELLO, path="/api/ai/quote")
    assert reply.refusal == (
        400,
        "invalid_request",
        'teamId must be given: policy "Attributed" requires it',
    )


def test_page_of_request_names_policy_and_dimension(
    ask: Asking, acme: Organization, client_for: CLIENTS, admin_user: User
) -> None:
    policy(acme, required_dimensions=["team_id"])
    request_id = ask(HELLO | {"userId": "someone"}).headers["x-pulse-request-id"]
    page = client_for(admin_user).get(f"/admin/ai/requests/{request_id}").content.decode()
    assert "Blocked by policy &quot;Attributed&quot;." in page
    assert ">team required</span>" in page
    assert "<dt>user</dt><dd>someone (unproved)</dd>" in page


def test_unproved_user_is_marked_in_list_and_export(
    acme: Organization, client_for: CLIENTS, admin_user: User
) -> None:
    for is_proved in (True, False, None):
        AiRequestLogFactory.create(org=acme, user_id=str(admin_user.pk), user_proved=is_proved)
    client = client_for(admin_user)
    page = client.get("/admin/ai").content.decode()
    assert page.count("admin@acme.example (unproved)") == 1
    sent = client.get("/admin/ai/requests.json").getvalue()
    assert [row["userProved"] for row in json.loads(sent)] == [None, False, True]


# --- how it is set --------------------------------------------------------------------------------


def test_form_saves_shows_and_says_dimensions(
    acme: Organization, client_for: CLIENTS, admin_user: User
) -> None:
    client = client_for(admin_user)
    typed = {
        "name": "Attributed",
        "required_dimensions": ["task-type", "user", "team"],
        "known_teams": "web\r\n core, old \n\nWEB",
        "known_apps": "",
    }
    page = client.post(CREATE, typed, follow=True).content.decode()
    made = Policy.objects.get()
    assert made.required_dimensions == ["user_id", "team_id", "task_type"]
    assert made.known_values == {"team_id": ["web", "core, old"]}
    sentence = "Requires a proved user, team and task type; knows only team web and core, old."
    assert sentence in page
    edit = client.get(f"/admin/ai/policies/{made.pk}").content.decode()
    assert edit.count(" checked") == 4  # three dimensions, and the days of the backtest
    assert "web\ncore, old</textarea>" in edit
    again = policy_values(made, PolicyNames())
    lists = {name: "" for name, value in again.items() if value == []}
    typed = {**again, **lists, "known_teams": "web\ncore, old"}
    assert PolicyForm(typed, organization_id=acme.pk).is_valid()
    assert client.get("/admin/ai/policies.csv").status_code == 200


@pytest.mark.parametrize(
    ("field", "typed"),
    [
        ("required_dimensions", ["planet"]),
        ("known_teams", "x" * (DIMENSION_MAX_CHARS + 1)),
        ("known_teams", "a\x07b"),
        ("known_teams", "\n".join(map(str, range(KNOWN_VALUES_MAX + 1)))),
    ],
)
def test_invalid_dimensions_are_not_saved(
    acme: Organization, client_for: CLIENTS, admin_user: User, field: str, typed: Any
) -> None:
    page = client_for(admin_user).post(CREATE, {"name": "P", field: typed}).content.decode()
    assert 'class="errorlist"' in page
    assert not Policy.objects.exists()


def test_known_values_are_limited_exactly() -> None:
    values = [str(n) for n in range(KNOWN_VALUES_MAX)]
    assert KnownValuesField(label="x").clean("\n".join(values)) == values
    with pytest.raises(ValidationError):
        KnownValuesField(label="x").clean("\n".join([*values, "one more"]))


def test_operator_sets_dimensions_in_django_admin(acme: Organization, client: Client) -> None:
    client.force_login(User.objects.create_superuser("operator@example.org", "secret words here"))
    made = policy(acme, known_values={"team_id": ["web"]})
    path = f"/admin/gateway/policy/{made.pk}/change/"
    assert "web</textarea>" in client.get(path).content.decode()
    typed = {
        "org": str(acme.pk),
        "name": "Attributed",
        "mode": "on",
        "hold": "whole",
        "wait_s": "20",
        "required_dimensions": ["app"],
        "known_apps": "site",
    }
    assert client.post(path, typed).status_code == 302
    made.refresh_from_db()
    assert (made.required_dimensions, made.known_values) == (["app_id"], {"app_id": ["site"]})


def test_backtest_shows_what_requirement_would_have_refused(
    ask: Asking, acme: Organization
) -> None:
    for team in ("web", "hidden", None):
        AiRequestLogFactory.create(org=acme, team_id=team)
    for query, refused in (
        ("require=team", 1),
        ("require=team&knownTeams=web", 2),
        ("knownTeams=web,hidden", 0),
        ("require=user,team", 3),
    ):
        report = ask(path=f"/api/ai/policies/backtest?days=7&{query}", method="GET").json
        assert report["refused"] == refused, query


# --- who can name another -------------------------------------------------------------------------


def test_pages_say_which_keys_can_name_another_value(
    acme: Organization, client_for: CLIENTS, admin_user: User
) -> None:
    ApiKeyFactory.create(org=acme, team_id="web", owner=admin_user)
    client = client_for(admin_user)
    budget: Budget = BudgetFactory.create(org=acme, team_id="web")
    path = f"/costs/budgets/{budget.pk}"
    assert "open: callers can name another" not in client.get(path).content.decode()
    ApiKeyFactory.create(org=acme)
    assert (
        "1 active key leaves a dimension of this budget open: callers can name another team, and "
        "those calls do not count here."
    ) in client.get(path).content.decode()
    page = client.get("/admin/ai/keys").content.decode()
    assert "callers choose project, app, client, task type" in page
    assert "callers choose user, team, project, app, client, task type" in page


def test_key_that_fixes_other_value_cannot_evade(acme: Organization, member_user: User) -> None:
    def count(**values: str) -> int:
        return keys_that_open(org=acme, moment=now(), values=values)

    ApiKeyFactory.create(org=acme, team_id="other")
    ApiKeyFactory.create(org=acme, revoked_at=now())
    assert (count(), count(team_id="web"), count(task_type="x")) == (0, 0, 1)
    assert (count(user_id="u"), count(team_id="web", project_id="p")) == (1, 0)
    ApiKeyFactory.create(org=acme, owner=member_user)  # of a member
    assert (count(user_id="u"), count(team_id="web")) == (1, 1)

"""Policies that name calls: what they limit, what their cost per day counts, and watching."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

import pytest
from django.test import Client
from django.utils.timezone import now

from costs.models import Period
from gateway.call.sdk import ai_request
from gateway.guards.policies import PolicyMode
from gateway.models import AiRequestLog, Policy
from gateway.policies.forms import PolicyForm
from gateway.policies.names import names_in
from gateway.policies.operations import PolicyLimits, create_policy, update_policy
from gateway.policies.reports import refused_since
from orgs.keys.operations import rotate_key
from orgs.models import ApiKey, Organization, User
from orgs.settings.operations import change_organization
from tests.costs.books import check_the_books
from tests.factories import PolicyFactory
from tests.gateway.conftest import Asking

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]

EUR: Final = 10**9
HELLO: Final[dict[str, Any]] = {"model": "sandbox-small", "prompt": "Hello", "maxTokens": 10}
CHAT: Final[dict[str, Any]] = {
    "model": "sandbox-small",
    "messages": [{"role": "user", "content": "Hello"}],
    "max_tokens": 10,
}


def newest() -> AiRequestLog:
    return AiRequestLog.objects.latest("id")


def limits(name: str, **more: Any) -> PolicyLimits:
    values: dict[str, Any] = {
        "allowed_models": [],
        "blocked_models": [],
        "max_cost_per_day_nanoeur": None,
        "max_tokens_per_request": None,
    }
    return PolicyLimits(name=name, **values | more)


def policy_of(org: Organization, named: dict[str, list[str]], **more: Any) -> Policy:
    return create_policy(organization_id=org.pk, limits=limits("P", applies_to=named, **more))


def spent(ask: Asking, **more: Any) -> int:
    """Send a call, and return its cost."""
    assert ask(HELLO | more).status == 200
    cost = newest().cost_nanoeur
    assert cost
    return cost


@pytest.mark.parametrize(
    ("named", "meets", "others"),
    [
        ({"team_id": ["Research"]}, {"teamId": "research"}, [{"teamId": "sales"}, {}]),
        ({"app_id": ["a", "b"]}, {"appId": "b"}, [{"appId": "c"}]),
        ({"task_type": ["review"]}, {"taskType": "review"}, [{}]),
        ({"provider": ["sandbox"]}, {}, []),
        ({"provider": ["openai"]}, None, [{}]),
        ({"channel": ["api"]}, {}, []),
        ({"channel": ["sdk", "browser"]}, None, [{}]),
        ({"team_id": ["r"], "channel": ["api"]}, {"teamId": "r"}, [{"teamId": "s"}]),
    ],
)
def test_policy_refuses_calls_that_it_names_and_no_others(
    ask: Asking,
    acme: Organization,
    named: dict[str, list[str]],
    meets: dict[str, str] | None,
    others: list[dict[str, str]],
) -> None:
    policy_of(acme, named, blocked_models=["*"])
    for other in others:
        assert ask(HELLO | other).status == 200
        assert newest().decision["policies"] == []
        assert newest().decision["policies_of_other_calls"] == 1
    if meets is None:
        return
    refused = ask(HELLO | meets)
    assert (refused.status, refused.json["code"]) == (403, "model_blocked")
    [entry] = newest().decision["policies"]
    assert entry["verdict"] == "model_blocked"
    assert entry["applies_to"].keys() == named.keys()


def test_policy_names_key_through_its_rotations(
    ask: Asking, acme: Organization, make_key: Callable[..., str]
) -> None:
    first = make_key(acme, "CI")
    key = ApiKey.objects.get(name="CI")
    policy_of(acme, {"key_id": [str(key.pk)]}, blocked_models=["*"])
    assert ask(HELLO, key=first).status == 403
    assert ask(HELLO).status == 200
    _, rotated = rotate_key(key=key)
    assert ask(HELLO, key=rotated).status == 403


@pytest.mark.parametrize("spelled", [str, str.upper])
def test_policy_names_person_by_address_that_callers_send(
    ask: Asking, acme: Organization, member_user: User, spelled: Callable[[str], str]
) -> None:
    email = member_user.email
    named = {"name": "P", "users": spelled(email), "blocked_models": "*"}
    form = PolicyForm(named, organization_id=acme.pk)
    assert form.is_valid(), form.errors
    create_policy(organization_id=acme.pk, limits=form.limits())
    for value in (str(member_user.pk), email, email.title()):
        assert ask(HELLO | {"userId": value}).status == 403
    assert ask(HELLO | {"userId": f"x{email}"}).status == 200
    shown = names_in(acme.pk, [form.applies_to()])
    assert [chip.value.lower() for chip in shown.chips(form.applies_to())] == [email]
    assert shown.sentence(form.applies_to()).lower() == f"user {email}"


def test_policy_names_calls_by_code_in_process(gateway: object, acme: Organization) -> None:
    policy_of(acme, {"channel": ["sdk"]}, max_tokens_per_request=1)
    answer = ai_request(
        org_id=acme.pk, model="sandbox-small", input="Hello", metadata={"team_id": "t"}
    )
    assert answer.code == "token_limit"


def test_cost_counts_named_calls_only_and_what_they_cost_that_day(
    ask: Asking, acme: Organization
) -> None:
    cost = spent(ask, teamId="research")
    limit = cost + (newest().hold_nanoeur or 0)
    spent(ask, teamId="sales")
    policy = policy_of(acme, {"team_id": ["RESEARCH"]}, max_cost_per_day_nanoeur=limit)
    period = Period.objects.get(scope=policy.cost_scope)
    assert period.carried_nanoeur == cost
    assert spent(ask, teamId="research") == cost
    refused = ask(HELLO | {"teamId": "research"})
    assert (refused.status, refused.json["code"]) == (403, "daily_cost_limit")
    assert 'policy "P" allows' in refused.json["error"]
    assert newest().decision["refused_by"] == str(policy.pk)
    spent(ask, teamId="sales")
    period.refresh_from_db()
    assert period.charged_nanoeur == 2 * cost
    check_the_books()


def test_cost_of_channel_is_begun_with_its_calls(ask: Asking, acme: Organization) -> None:
    cost = spent(ask)
    assert ask(CHAT, path="/v1/chat/completions").status == 200
    both = {"channel": ["api"], "team_id": ["t"]}
    in_team = spent(ask, teamId="t")
    of_channel = policy_of(acme, {"channel": ["api"]}, max_cost_per_day_nanoeur=EUR)
    assert Period.objects.get(scope=of_channel.cost_scope).carried_nanoeur == cost + in_team
    of_both = create_policy(
        organization_id=acme.pk,
        limits=limits("Q", applies_to=both, max_cost_per_day_nanoeur=EUR),
    )
    assert Period.objects.get(scope=of_both.cost_scope).carried_nanoeur == in_team


def test_cost_of_key_is_begun_with_that_of_its_rotations(
    ask: Asking, acme: Organization, make_key: Callable[..., str]
) -> None:
    first = make_key(acme, "CI")
    assert ask(HELLO, key=first).status == 200
    key = ApiKey.objects.get(name="CI")
    assert ask(HELLO, key=rotate_key(key=key)[1]).status == 200
    spent(ask)
    policy = policy_of(acme, {"key_id": [str(key.pk)]}, max_cost_per_day_nanoeur=EUR)
    carried = Period.objects.get(scope=policy.cost_scope).carried_nanoeur
    assert carried == 2 * (newest().cost_nanoeur or 0)


def test_cost_is_counted_again_where_policy_names_others(ask: Asking, acme: Organization) -> None:
    cost = spent(ask, teamId="a")
    policy = policy_of(acme, {"team_id": ["a"]}, max_cost_per_day_nanoeur=EUR)
    named = limits("P", applies_to={"team_id": ["a", "b"]}, max_cost_per_day_nanoeur=EUR)
    spent(ask, teamId="b")
    update_policy(organization_id=acme.pk, policy_id=policy.pk, limits=named)
    policy.refresh_from_db()
    assert Period.objects.get(scope=policy.cost_scope).charged_nanoeur == 2 * cost
    update_policy(organization_id=acme.pk, policy_id=policy.pk, mode=PolicyMode.OFF)
    spent(ask, teamId="a")
    update_policy(organization_id=acme.pk, policy_id=policy.pk, mode=PolicyMode.ON)
    policy.refresh_from_db()
    assert Period.objects.get(scope=policy.cost_scope).charged_nanoeur == 3 * cost
    before = policy.revision
    looser = limits("P", applies_to={"team_id": ["b", "A"]}, max_cost_per_day_nanoeur=2 * EUR)
    update_policy(organization_id=acme.pk, policy_id=policy.pk, limits=looser)
    policy.refresh_from_db()
    assert policy.revision == before
    check_the_books()


def test_cost_stays_on_day_when_time_zone_changes(ask: Asking, acme: Organization) -> None:
    policy = policy_of(acme, {"team_id": ["a"]}, max_cost_per_day_nanoeur=EUR)
    cost = spent(ask, teamId="a")
    for zone in ("Pacific/Kiritimati", "Pacific/Pago_Pago"):
        change_organization(org=acme, timezone=zone)
        day, own = (
            Period.objects.filter(scope=s).latest("starts_at") for s in ("org", policy.cost_scope)
        )
        assert (own.starts_on, own.ends_at) == (day.starts_on, day.ends_at)
        assert own.charged_nanoeur == cost
    check_the_books()


def test_least_left_gives_sentence(ask: Asking, acme: Organization) -> None:
    PolicyFactory.create(org=acme, name="All", max_cost_per_day_nanoeur=10)
    policy_of(acme, {"team_id": ["a"]}, max_cost_per_day_nanoeur=5)
    assert 'policy "P" allows' in ask(HELLO | {"teamId": "a"}).json["error"]
    verdicts = {each["name"]: each["verdict"] for each in newest().decision["policies"]}
    assert verdicts == {"All": "daily_cost_limit", "P": "daily_cost_limit"}
    assert 'policy "All" allows' in ask(HELLO).json["error"]


def test_first_policy_by_name_gives_sentence_on_models(ask: Asking, acme: Organization) -> None:
    for name in ("b", "A", "c"):
        PolicyFactory.create(org=acme, name=name, blocked_models=["*"])
    assert ask(HELLO).json["error"] == 'Model sandbox-small is blocked by policy "A"'


def test_page_and_counts_name_policy_that_gives_sentence_on_tokens(
    ask: Asking, acme: Organization, client_for: Callable[[User], Client], admin_user: User
) -> None:
    for name, most in (("a", 5), ("b", 4), ("c", 6)):
        PolicyFactory.create(org=acme, name=name, max_tokens_per_request=most)
    reply = ask(HELLO)
    assert 'policy "b" allows 4 per request' in reply.json["error"]
    found = refused_since(organization_id=acme.pk, since=now() - timedelta(hours=1))
    assert found.by_policy == {str(acme.policies.get(name="b").pk): 1}
    page = client_for(admin_user).get(f"/admin/ai/requests/{reply.json['requestId']}")
    assert "Blocked by policy &quot;b&quot;." in page.content.decode()


def test_watched_policy_counts_and_refuses_nothing(ask: Asking, acme: Organization) -> None:
    watched = {"mode": "watch", "max_output_tokens": 1, "web_searches_per_request": 0}
    PolicyFactory.create(org=acme, name="Models", blocked_models=["sandbox-small"], **watched)
    PolicyFactory.create(org=acme, name="Cost", max_cost_per_day_nanoeur=1, **watched)
    named = {"team_id": ["a"]}
    policy = policy_of(acme, named, max_cost_per_day_nanoeur=1, mode=PolicyMode.WATCH)
    cost = spent(ask, teamId="a")
    row = newest()
    assert row.refused_by_watched is True
    assert {each["name"]: (each["mode"], each["verdict"]) for each in row.decision["policies"]} == {
        "Cost": ("watch", "daily_cost_limit"),
        "Models": ("watch", "model_blocked"),
        "P": ("watch", "daily_cost_limit"),
    }
    assert row.decision["output_cap"] == 10
    assert Period.objects.get(scope=policy.cost_scope).charged_nanoeur == cost
    Policy.objects.update(max_cost_per_day_nanoeur=EUR, blocked_models=[])
    spent(ask, teamId="a")
    assert newest().refused_by_watched is False
    Policy.objects.update(mode="on")
    spent(ask, teamId="a")
    assert newest().refused_by_watched is None


def test_quote_has_limits_of_named_calls(ask: Asking, acme: Organization) -> None:
    policy_of(acme, {"team_id": ["a"]}, max_cost_per_day_nanoeur=5)
    quote = ask(HELLO | {"teamId": "a"}, path="/api/ai/quote").json
    assert (quote["allowed"], quote["code"]) == (False, "daily_cost_limit")
    assert [each["policy"] for each in quote["limits"]] == ["P"]
    other = ask(HELLO, path="/api/ai/quote").json
    assert (other["allowed"], other["limits"]) == (True, [])


def test_policy_of_another_organization_names_none_of_its_calls(
    ask: Asking, acme: Organization, globex: Organization, make_key: Callable[..., str]
) -> None:
    policy_of(acme, {"team_id": ["a"]}, max_cost_per_day_nanoeur=0)
    other = make_key(globex, "other")
    globex.ai_gateway_enabled = True
    globex.save()
    assert ask(HELLO | {"teamId": "a"}, key=other).status == 200
    assert ask(HELLO | {"teamId": "a"}).status == 403

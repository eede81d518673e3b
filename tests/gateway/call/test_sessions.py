"""Sessions of agents: kept with every call, and limited by policies over their whole life."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Final

import pytest
from django.db.models import F
from django.utils.timezone import now

from costs.core.admission import session_scope
from costs.models import CostEvent, DailyCost, Hold, Period, SessionCost
from gateway.call.sdk import ai_request
from gateway.guards.policies import PolicyMode
from gateway.models import AiRequestLog
from gateway.policies.operations import update_policy
from gateway.policies.reports import refused_since
from orgs.keys.operations import update_key
from orgs.models import ApiKey, Organization, User
from tests.costs.books import check_the_books
from tests.factories import PolicyFactory
from tests.fake_provider.thread import FakeProvider
from tests.gateway.call.conftest import BODY, Scene
from tests.gateway.conftest import Asking
from tests.gateway.wire import Reply

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]

EUR: Final = 10**9
HELLO: Final[dict[str, Any]] = {"model": "sandbox-small", "prompt": "Hello", "maxTokens": 10}
CHAT: Final = {
    "model": "sandbox-small",
    "messages": [{"role": "user", "content": "Hello"}],
    "max_tokens": 10,
}
MESSAGES: Final = CHAT | {"model": "claude-3-5-sonnet-20241022"}
IN_SESSION: Final = {"x-claude-code-session-id": "s-1"}
BY_AGENT: Final = {**IN_SESSION, "x-claude-code-agent-id": "a-1"}


def newest() -> AiRequestLog:
    return AiRequestLog.objects.latest("id")


def limited(acme: Organization, nanoeur: int) -> None:
    PolicyFactory.create(org=acme, name="Agents", max_cost_per_session_nanoeur=nanoeur)


def spend(ask: Asking, session_id: str = "s-1") -> int:
    """Send a call of a session, and return its cost."""
    assert ask(HELLO, headers={"x-pulse-session-id": session_id}).status == 200
    cost = newest().cost_nanoeur
    assert cost
    return cost


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/ai/request", HELLO),
        ("/v1/chat/completions", CHAT),
        ("/v1/messages", MESSAGES),
    ],
)
def test_session_and_agent_are_kept_with_row_and_charge(
    ask: Asking, vendors: FakeProvider, path: str, body: Mapping[str, Any]
) -> None:
    assert ask(body, path=path, headers=BY_AGENT).status == 200
    row, event = newest(), CostEvent.objects.get()
    assert (row.session_id, row.agent_id) == ("s-1", "a-1")
    assert (event.session_id, event.agent_id) == ("s-1", "a-1")
    line = SessionCost.objects.get()
    assert (line.session_id, line.agent_id, line.amount_nanoeur) == ("s-1", "a-1", row.cost_nanoeur)
    assert DailyCost.objects.get().amount_nanoeur == row.cost_nanoeur


def test_refused_request_keeps_its_session(ask: Asking, acme: Organization) -> None:
    PolicyFactory.create(org=acme, blocked_models=["sandbox-small"])
    assert ask(HELLO, headers=IN_SESSION).status == 403
    assert ask(b"{", headers=IN_SESSION).status == 400
    assert set(AiRequestLog.objects.values_list("session_id")) == {("s-1",)}
    assert not SessionCost.objects.exists()


def test_unusable_session_refuses_no_call(ask: Asking) -> None:
    assert ask(HELLO, headers={"x-claude-code-session-id": "x" * 129}).status == 200
    assert newest().session_id is None


def test_code_in_process_names_its_session(gateway: object, acme: Organization) -> None:
    metadata = {"team_id": "t", "session_id": "s-1", "agent_id": "a-1"}
    asked: dict[str, Any] = {"org_id": acme.pk, "model": "sandbox-small", "input": "Hello"}
    ai_request(**asked, metadata=metadata)
    assert (newest().session_id, newest().agent_id) == ("s-1", "a-1")
    with pytest.raises(ValueError, match="session_id must have at most 128 characters"):
        ai_request(**asked, metadata={"session_id": "x" * 129})
    with pytest.raises(ValueError, match=r"metadata keys must be among .*session_id"):
        ai_request(**asked, metadata={"session": "x"})


# --- who the client is --------------------------------------------------------------------------


def test_user_id_of_metadata_never_overrides_key(
    ask: Asking,
    vendors: FakeProvider,
    acme: Organization,
    make_key: Callable[..., str],
    member_user: User,
) -> None:
    named = {"user_id": '{"device_id": "d", "session_id": "another"}'}
    own = make_key(acme, "own", owner=member_user, client_id="fixed")
    body = MESSAGES | {"metadata": named}
    assert ask(body, path="/v1/messages", key=own, headers=IN_SESSION).status == 200
    row = newest()
    assert (row.user_id, row.user_proved) == (str(member_user.pk), True)
    assert (row.client_id, row.client_proved, row.session_id) == ("fixed", True, "s-1")


@pytest.mark.parametrize(
    ("source", "path", "more", "headers"),
    [
        ("user", "/v1/chat/completions", {"user": "u-1"}, {}),
        ("safety_identifier", "/v1/chat/completions", {"safety_identifier": "u-1"}, {}),
        ("metadata.user_id", "/v1/messages", {"metadata": {"user_id": "u-1"}}, {}),
        ("header:x-openwebui-user-id", "/v1/chat/completions", {}, {"x-openwebui-user-id": "u-1"}),
    ],
)
def test_key_says_where_client_comes_from(  # noqa: PLR0913  fixtures
    ask: Asking,
    vendors: FakeProvider,
    acme: Organization,
    make_key: Callable[..., str],
    source: str,
    path: str,
    more: Mapping[str, Any],
    headers: Mapping[str, str],
) -> None:
    body = {**(MESSAGES if path == "/v1/messages" else CHAT), **more}
    plain = make_key(acme, "plain")
    assert ask(body, path=path, key=plain, headers=headers).status == 200
    assert (newest().client_id, newest().client_proved) == (None, None)
    update_key(key=ApiKey.objects.get(name="plain"), client_from=source)
    ask(body, path=path, key=plain, headers=headers)  # tells the process of the change
    assert ask(body, path=path, key=plain, headers=headers).status == 200
    row = newest()
    assert (row.client_id, row.client_proved) == ("u-1", False)
    assert CostEvent.objects.latest("id").client_id == "u-1"
    # What the caller names in our own header is more exact.
    assert ask(body, path=path, key=plain, headers={**headers, "x-pulse-client-id": "c"}).status
    assert (newest().client_id, newest().client_proved) == ("c", False)
    fixed = make_key(acme, "fixed", client_from=source, client_id="c-9")
    assert ask(body, path=path, key=fixed, headers=headers).status == 200
    assert (newest().client_id, newest().client_proved) == ("c-9", True)


# --- the limit of a session ---------------------------------------------------------------------


def test_spent_session_is_refused_in_words_of_its_client(
    ask: Asking, vendors: FakeProvider, acme: Organization
) -> None:
    limited(acme, spend(ask) + 1)
    native = ask(HELLO, headers=IN_SESSION)
    status, code, sentence = native.refusal
    assert (status, code) == (403, "budget_limit")
    assert sentence.startswith("Request could cost up to ")
    assert 'policy "Agents" allows ' in sentence
    assert sentence.endswith(" EUR per session and 0.000000001 EUR are left")
    assert native.headers["retry-after"] == "86400"  # it never resets
    replies = {
        path: ask(body, path=path, headers=IN_SESSION)
        for path, body in (("/v1/chat/completions", CHAT), ("/v1/messages", MESSAGES))
    }
    for reply in replies.values():
        assert (reply.status, reply.headers["x-should-retry"]) == (429, "false")
        assert reply.headers["x-pulse-error-code"] == "budget_limit"
        assert reply.headers["retry-after"] == "86400"
    assert replies["/v1/chat/completions"].json["error"]["code"] == "insufficient_quota"
    assert replies["/v1/messages"].json["error"]["type"] == "billing_error"
    gemini = ask(
        {"contents": [{"parts": [{"text": "Hello"}]}]},
        path="/v1beta/models/gemini-2.0-flash:generateContent",
        headers={"x-pulse-session-id": "s-1"},
    )
    assert (gemini.status, gemini.json["error"]["status"]) == (429, "RESOURCE_EXHAUSTED")
    assert gemini.json["error"]["details"][0]["retryDelay"] == "86400s"
    # Another session has its own room, and a call of none is not limited by it.
    assert ask(CHAT, path="/v1/chat/completions").status == 200


def test_limited_session_bounds_its_calls(
    ask: Asking, vendors: FakeProvider, acme: Organization
) -> None:
    limited(acme, EUR)
    uncapped = {"model": "gpt-4o-mini", "messages": CHAT["messages"]}

    def cap(headers: Mapping[str, str]) -> str | None:
        return ask(uncapped, path="/v1/chat/completions", headers=headers).headers.get(
            "x-pulse-output-cap"
        )

    assert cap({}) is None
    assert cap(IN_SESSION) == "16384"


def test_limit_counts_each_session_for_itself(ask: Asking, acme: Organization) -> None:
    cost = spend(ask)
    room_of_one_more = cost + bound_of(acme)
    limited(acme, room_of_one_more)
    assert spend(ask) == cost
    assert refused(ask(HELLO, headers=IN_SESSION)) == "budget_limit"
    assert spend(ask, "s-2") == cost
    assert ask(HELLO).status == 200
    periods = Period.objects.filter(scope__startswith="session:")
    charged = {period.scope: period.charged_nanoeur for period in periods}
    assert charged == {session_scope("s-1"): 2 * cost, session_scope("s-2"): cost}
    check_the_books()


def test_limit_counts_calls_that_its_policy_does_not_name(ask: Asking, acme: Organization) -> None:
    named = {"team_id": ["a"]}
    PolicyFactory.create(
        org=acme, name="A", applies_to=named, max_cost_per_session_nanoeur=EUR, wait_s=0
    )
    in_team = HELLO | {"teamId": "a"}
    assert ask(in_team, headers=IN_SESSION).status == 200
    cost, bound = newest().cost_nanoeur or 0, bound_of(acme)
    # The session's period has begun: what it does not name counts there, too, and is not limited.
    assert spend(ask) == cost
    policy = acme.policies.get()
    policy.max_cost_per_session_nanoeur = 2 * cost + bound - 1
    policy.save()
    assert refused(ask(in_team, headers=IN_SESSION)) == "budget_limit"
    assert spend(ask) == cost
    policy.max_cost_per_session_nanoeur = 3 * cost + bound
    policy.save()
    assert ask(in_team, headers=IN_SESSION).status == 200
    check_the_books()


def test_limit_counts_what_session_cost_while_it_was_off(ask: Asking, acme: Organization) -> None:
    limited(acme, EUR)
    policy = acme.policies.get()
    cost = spend(ask)
    update_policy(organization_id=acme.pk, policy_id=policy.pk, mode=PolicyMode.OFF)
    assert spend(ask) == cost
    update_policy(organization_id=acme.pk, policy_id=policy.pk, mode=PolicyMode.ON)
    acme.policies.update(max_cost_per_session_nanoeur=2 * cost + bound_of(acme) - 1)
    acme.policies.get().save()
    assert refused(ask(HELLO, headers=IN_SESSION)) == "budget_limit"
    assert newest().decision["session"]["charged_nanoeur"] == 2 * cost
    check_the_books()


def test_shortest_wait_of_limits_of_session_that_keep_out_counts(
    scene: Scene, acme: Organization
) -> None:
    for name, nanoeur, wait_s in (("small", 100_000, 2), ("large", 110_000, 0)):
        PolicyFactory.create(
            org=acme, name=name, max_cost_per_session_nanoeur=nanoeur, wait_s=wait_s
        )
    running = scene.runs(headers=IN_SESSION)
    reply = scene.ask(BODY, headers=IN_SESSION)
    assert (reply.status, reply.json["code"]) == (429, "rate_limited")
    assert "waited" not in newest().decision
    scene.provider.may_end.set()
    assert running.result().status == 200


def bound_of(acme: Organization) -> int:
    return Hold.objects.filter(org=acme).latest("id").amount_nanoeur


def refused(reply: Reply) -> str:
    code: str = reply.json["code"]
    return code


def test_agents_of_session_share_its_limit(ask: Asking, acme: Organization) -> None:
    cost = spend(ask)
    limited(acme, cost + bound_of(acme))
    assert ask(HELLO, headers=BY_AGENT).status == 200
    assert refused(ask(HELLO, headers=IN_SESSION)) == "budget_limit"
    assert refused(ask(HELLO, headers={**BY_AGENT, "x-claude-code-agent-id": "a-2"}))


def test_limit_outlasts_day(ask: Asking, acme: Organization) -> None:
    limited(acme, EUR)
    cost = spend(ask)
    two_days = timedelta(days=2)
    Period.objects.update(
        starts_at=F("starts_at") - two_days,
        ends_at=F("ends_at") - two_days,
        starts_on=now().date() - two_days,
    )
    for model in (DailyCost, SessionCost):
        model.objects.update(day=now().date() - two_days)
    assert spend(ask) == cost
    period = Period.objects.filter(scope=session_scope("s-1")).latest("starts_at")
    assert (period.carried_nanoeur, period.settled_nanoeur) == (cost, cost)
    # At its edge: a call fits to the last nano-euro.
    bound = bound_of(acme)
    policy = acme.policies.get()
    policy.max_cost_per_session_nanoeur = 2 * cost + bound - 1
    policy.save()
    assert refused(ask(HELLO, headers=IN_SESSION)) == "budget_limit"
    policy.max_cost_per_session_nanoeur = 2 * cost + bound
    policy.save()
    assert spend(ask) == cost


def test_trace_says_what_session_had_left(ask: Asking, acme: Organization) -> None:
    cost = spend(ask)
    limited(acme, EUR)
    ask(HELLO, headers=IN_SESSION)
    judged = newest().decision["session"]
    assert judged["name"] == "Agents"
    assert (judged["verdict"], judged["charged_nanoeur"], judged["held_nanoeur"]) == ("ok", cost, 0)
    acme.policies.update(max_cost_per_session_nanoeur=1)
    acme.policies.get().save()
    ask(HELLO, headers=IN_SESSION)
    assert newest().decision["session"]["verdict"] == "budget_limit"
    ask(HELLO)
    assert "session" not in newest().decision


def test_policy_counts_what_its_limit_of_sessions_refused(ask: Asking, acme: Organization) -> None:
    limited(acme, spend(ask))
    for _ in range(2):
        assert refused(ask(HELLO, headers=IN_SESSION)) == "budget_limit"
    found = refused_since(organization_id=acme.pk, since=now() - timedelta(hours=1))
    assert found.by_policy == {str(acme.policies.get().pk): 2}


def test_quote_knows_limit_of_session(ask: Asking, acme: Organization) -> None:
    cost = spend(ask)
    limited(acme, cost + 1)
    quote = ask(HELLO, path="/api/ai/quote", headers=IN_SESSION).json
    assert (quote["allowed"], quote["code"]) == (False, "budget_limit")
    [limit] = quote["limits"]
    assert (limit["policy"], limit["per"]) == ("Agents", "session")
    assert (limit["chargedEur"], limit["leftEur"]) == (cost / EUR, 1e-9)
    assert ask(HELLO, path="/api/ai/quote").json["allowed"] is True

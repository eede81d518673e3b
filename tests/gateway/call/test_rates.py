"""Rates of policies on the way of a call: refusals, waiting, headers, traces."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import pytest
from django.test import Client

from costs.core.rate_limits import UNITS
from costs.core.usage import Usage
from costs.ledger.buckets import UNUSED_FOR
from costs.ledger.connect import open_store
from costs.models import Hold, HoldBucket, RateBucket
from gateway.call.runtime import Gateway
from gateway.models import AiRequestLog, Policy
from orgs.models import Organization, User
from tests.factories import PolicyFactory
from tests.fake_provider.thread import FakeProvider
from tests.gateway.attempts import CLAUDE, HELLO, OPENAI, fast, row_of
from tests.gateway.call.conftest import BODY, LONG_S, Scene
from tests.gateway.conftest import Asking
from tests.gateway.stand_ins import Only, StandIn, until
from tests.gateway.wire import Reply

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]

INPUT: Final = 9
NEEDED: Final = INPUT + 100


@pytest.fixture
def provider(gateway: Gateway) -> StandIn:
    """A provider that answers at once."""
    provider = StandIn()
    gateway.providers = Only(provider)
    return provider


@pytest.fixture
def rate(acme: Organization) -> Callable[..., Policy]:
    """Create a policy with rates."""

    def made(*, name: str = "P", wait_s: int = 0, **figures: Any) -> Policy:
        return PolicyFactory.create(org=acme, name=name, wait_s=wait_s, **figures)

    return made


def bucket() -> RateBucket:
    return RateBucket.objects.get()


def empty(policy: Policy, *, beyond_s: float = 0.0) -> None:
    """Take all of a policy's requests: the next one comes after its part of a minute and this."""
    taken = round((policy.requests_per_minute or 0) * (UNITS + beyond_s * 1e6))
    assert RateBucket.objects.update(requests_taken=taken, refilled_at=datetime.now(UTC))


def rates_of(reply: Reply) -> dict[str, str]:
    return {name: value for name, value in reply.headers.items() if "ratelimit" in name}


# --- refusals -----------------------------------------------------------------------------------


def test_request_over_rate_is_refused(
    ask: Asking, provider: StandIn, rate: Callable[..., Policy]
) -> None:
    policy = rate(requests_per_minute=2)
    assert [ask(BODY).status for _ in range(2)] == [200, 200]
    reply = ask(BODY)
    retry_s = reply.headers["retry-after"]
    sentence = f'Request exceeds 2 requests per minute of policy "P"; retry in {retry_s} s'
    assert reply.refusal == (429, "rate_limited", sentence)
    assert 1 <= int(retry_s) <= 30
    assert len(provider.asked) == 2
    row = row_of(reply)
    assert (row.status, row.code, row.error) == ("blocked", "rate_limited", sentence)
    [verdict] = row.decision["policies"]
    assert (verdict["verdict"], row.decision["refused_by"]) == ("rate_limited", str(policy.id))
    [shown] = verdict["rates"]
    assert (shown["of"], shown["limit"], shown["used"]) == ("requests", 2, 2)
    assert 0 < shown["available_in_s"] <= 30


def test_headers_say_what_is_left_of_rates(
    ask: Asking, provider: StandIn, rate: Callable[..., Policy]
) -> None:
    rate(requests_per_minute=60, tokens_per_minute=1000)
    rate(name="Wide", requests_per_minute=100)
    assert rates_of(ask(BODY)) == {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "59",
        "x-ratelimit-reset-requests": "1s",
        "x-ratelimit-limit-tokens": "1000",
        "x-ratelimit-remaining-tokens": str(1000 - NEEDED),
        "x-ratelimit-reset-tokens": "7s",
    }
    Policy.objects.update(requests_per_minute=1, tokens_per_minute=None)
    refused = ask(BODY)
    assert refused.status == 429
    assert rates_of(refused)["x-ratelimit-remaining-requests"] == "0"


def test_answers_without_rates_have_no_headers_of_them(ask: Asking, provider: StandIn) -> None:
    assert rates_of(ask(BODY)) == {}


def test_messages_have_headers_of_their_clients(
    ask: Asking, vendors: FakeProvider, rate: Callable[..., Policy]
) -> None:
    rate(requests_per_minute=1)
    body = {
        "model": CLAUDE,
        "messages": [{"role": "user", "content": "Say hello"}],
        "max_tokens": 50,
    }
    for status in (200, 429):
        reply = ask(body, path="/v1/messages")
        assert reply.status == status, reply.body
        assert reply.headers["anthropic-ratelimit-requests-limit"] == "1"
        assert reply.headers["anthropic-ratelimit-requests-remaining"] == "0"
        resets_at = datetime.fromisoformat(reply.headers["anthropic-ratelimit-requests-reset"])
        assert 0 < (resets_at - datetime.now(UTC)).total_seconds() <= 61
    assert reply.json["error"]["type"] == "rate_limit_error"


def test_request_larger_than_minute_is_refused_for_good(
    ask: Asking, provider: StandIn, rate: Callable[..., Policy]
) -> None:
    rate(tokens_per_minute=100, wait_s=LONG_S)
    rate(name="Each", max_tokens_per_request=NEEDED)
    sentence = f'Request needs up to {NEEDED} tokens; policy "P" allows 100 per minute'
    assert ask(BODY).refusal == (403, "token_limit", sentence)
    assert RateBucket.objects.count() == 0
    verdicts = AiRequestLog.objects.get().decision["policies"]
    assert {each["name"]: each["verdict"] for each in verdicts} == {
        "P": "token_limit",
        "Each": "ok",
    }


def test_cap_without_request_is_lowered_to_minute(
    ask: Asking, provider: StandIn, rate: Callable[..., Policy]
) -> None:
    rate(tokens_per_minute=100)
    reply = ask({"model": "sandbox-small", "prompt": "Say hello"})
    assert (reply.status, reply.headers["x-pulse-output-cap"]) == (200, str(100 - INPUT))


def test_tokens_are_reserved_with_cap_and_corrected_to_use(
    ask: Asking, provider: StandIn, rate: Callable[..., Policy]
) -> None:
    rate(tokens_per_minute=NEEDED + 50)
    provider.usage = Usage(input_uncached=20, output_text=30)
    assert ask(BODY).status == 200
    assert bucket().tokens_taken == 50 * UNITS
    provider.usage = None  # unknown: what was reserved stays
    assert ask(BODY).status == 200
    status, code, sentence = ask(BODY).refusal
    assert (status, code) == (429, "rate_limited")
    assert sentence.startswith(f'Request needs up to {NEEDED} tokens; policy "P" allows ')
    assert HoldBucket.objects.count() == 2


def test_counting_tokens_is_request_without_tokens(
    ask: Asking, vendors: FakeProvider, rate: Callable[..., Policy]
) -> None:
    rate(requests_per_minute=1, tokens_per_minute=10)
    body = {"model": CLAUDE, "messages": [{"role": "user", "content": "Say hello"}]}
    path = "/v1/messages/count_tokens"
    assert ask(body, path=path).status == 200
    assert (bucket().requests_taken, bucket().tokens_taken) == (UNITS, 0)
    assert ask(body, path=path).status == 429


def test_call_counts_in_rate_of_its_own_policy(
    ask: Asking, provider: StandIn, rate: Callable[..., Policy]
) -> None:
    for team in ("a", "b"):
        rate(name=team, requests_per_minute=1, applies_to={"team_id": [team]})
    replies = [ask(BODY | {"teamId": team}).status for team in ("a", "b", "a", "c", "c")]
    assert replies == [200, 200, 429, 200, 200]


def test_watched_rate_counts_and_refuses_nothing(
    ask: Asking, provider: StandIn, rate: Callable[..., Policy]
) -> None:
    rate(requests_per_minute=1, mode="watch")
    replies = [ask(BODY) for _ in range(3)]
    assert [reply.status for reply in replies] == [200] * 3
    assert rates_of(replies[0]) == {}
    rows = [row_of(reply) for reply in replies]
    assert [row.refused_by_watched for row in rows] == [False, True, True]
    assert [row.decision["policies"][0]["verdict"] for row in rows] == [
        "ok",
        "rate_limited",
        "rate_limited",
    ]
    assert bucket().requests_taken <= UNITS
    assert bucket().in_flight == 0


def test_fallback_takes_place_of_failed_attempt(
    ask: Asking, acme: Organization, vendors: FakeProvider, rate: Callable[..., Policy]
) -> None:
    fast(acme)
    rate(concurrent_requests=1, requests_per_minute=1, tokens_per_minute=1000)
    vendors.answers(status=429, vendor="openai")
    reply = ask(HELLO)
    assert reply.status == 200
    assert row_of(reply).model == CLAUDE
    assert (bucket().in_flight, Hold.objects.count()) == (0, 2)


def test_fallback_over_rate_is_passed_over(
    ask: Asking, acme: Organization, vendors: FakeProvider, rate: Callable[..., Policy]
) -> None:
    fast(acme)
    policy = rate(requests_per_minute=1, applies_to={"provider": ["anthropic"]}, wait_s=LONG_S)
    assert ask(HELLO | {"model": CLAUDE}).status == 200
    empty(policy, beyond_s=LONG_S)
    vendors.answers(status=429, vendor="openai")
    reply = ask(HELLO)
    assert reply.refusal[:2] == (429, "provider_rate_limited")
    [skipped] = row_of(reply).attempts or []
    assert (skipped["model"], skipped["code"]) == (CLAUDE, "rate_limited")
    assert [each["verdict"] for each in skipped["decision"]["policies"]] == ["rate_limited"]


def test_call_that_was_never_sent_is_no_request(
    ask: Asking, acme: Organization, gateway: Gateway, rate: Callable[..., Policy]
) -> None:
    rate(requests_per_minute=1)
    assert ask(BODY | {"model": OPENAI}).refusal[:2] == (503, "provider_not_configured")
    assert ask(BODY).status == 200


# --- waiting ------------------------------------------------------------------------------------


def test_calls_at_once_wait_for_their_place(scene: Scene, rate: Callable[..., Policy]) -> None:
    rate(concurrent_requests=2, wait_s=LONG_S)
    running = [scene.runs() for _ in range(2)]
    waiting = scene.waits()
    assert (len(scene.provider.asked), bucket().in_flight) == (2, 2)
    scene.provider.may_end.set()
    assert [each.result().status for each in (*running, waiting)] == [200] * 3
    waited = row_of(waiting.result()).decision["waited"]
    assert (waited["for"], waited["for_rates"]) == ([], ["P"])
    assert bucket().in_flight == 0


def test_calls_at_once_are_refused_without_wait(scene: Scene, rate: Callable[..., Policy]) -> None:
    rate(concurrent_requests=1)
    scene.runs()
    sentence = 'Request exceeds 1 concurrent requests of policy "P"; retry in 1 s'
    assert scene.ask(BODY).refusal == (429, "rate_limited", sentence)


def test_call_waits_for_its_turn_in_rate(
    ask: Asking, gateway: Gateway, provider: StandIn, rate: Callable[..., Policy]
) -> None:
    gateway.waiting_room.look_every_s = LONG_S  # it is woken by time
    policy = rate(requests_per_minute=60, wait_s=60)
    assert ask(BODY).status == 200
    empty(policy, beyond_s=2)
    emptied_at = bucket().refilled_at
    reply = ask(BODY)
    assert reply.status == 200
    after_s = (row_of(reply).occurred_at - emptied_at).total_seconds()
    assert 3 <= after_s < 60


def test_call_waits_for_tokens_that_calls_in_flight_give_back(
    scene: Scene, rate: Callable[..., Policy]
) -> None:
    rate(tokens_per_minute=2 * NEEDED - 10, wait_s=20)  # those of the third need 34 s
    first = scene.runs()
    waiting = [scene.waits() for _ in range(2)]
    scene.provider.may_end.set()
    assert [each.result().status for each in (first, *waiting)] == [200] * 3
    assert row_of(waiting[0].result()).decision["waited"]["for_rates"] == ["P"]


def test_call_whose_turn_cannot_come_is_refused_at_once(
    scene: Scene, rate: Callable[..., Policy]
) -> None:
    policy = rate(requests_per_minute=1, wait_s=60)
    scene.provider.may_end.set()
    assert scene.ask(BODY).status == 200
    empty(policy, beyond_s=60)
    reply = scene.ask(BODY)
    assert reply.refusal[:2] == (429, "rate_limited")
    assert 60 < int(reply.headers["retry-after"]) <= 120
    assert "waited" not in row_of(reply).decision


def test_call_behind_too_many_others_is_refused_at_once(
    scene: Scene, rate: Callable[..., Policy]
) -> None:
    policy = rate(requests_per_minute=1, wait_s=LONG_S)
    scene.provider.may_end.set()
    assert scene.ask(BODY).status == 200
    empty(policy, beyond_s=LONG_S - 150)  # one comes 90 s before its end, and one 30 s
    for _ in range(2):
        scene.waits()
    reply = scene.ask(BODY)
    assert reply.refusal[:2] == (429, "rate_limited")
    assert scene.waiting == 2
    row = row_of(reply)
    assert [each["verdict"] for each in row.decision["policies"]] == ["rate_limited"]
    assert row.decision["refused_by"] == str(policy.id)
    Policy.objects.all().delete()


def test_flood_of_one_key_does_not_starve_another(
    scene: Scene, acme: Organization, make_key: Callable[..., str], rate: Callable[..., Policy]
) -> None:
    policy = rate(requests_per_minute=6, wait_s=3600)
    scene.provider.may_end.set()
    assert scene.ask(BODY).status == 200
    empty(policy, beyond_s=LONG_S)
    flood = [scene.waits() for _ in range(6)]
    theirs = scene.waits(key=make_key(acme, "theirs"))
    RateBucket.objects.update(requests_taken=4 * UNITS, refilled_at=datetime.now(UTC))  # two left
    admitted_at = row_of(theirs.result()).occurred_at
    Policy.objects.all().delete()
    before = [each for each in flood if row_of(each.result()).occurred_at < admitted_at]
    assert len(before) <= 1


def test_call_waits_for_money_and_rate(scene: Scene, rate: Callable[..., Policy]) -> None:
    quoted = scene.ask(BODY, path="/api/ai/quote").json["boundEur"]
    bound = round(quoted * 10**9)
    rate(concurrent_requests=1, wait_s=LONG_S, max_cost_per_day_nanoeur=bound * 3 // 2)
    first = scene.runs()
    second = scene.waits()
    scene.provider.may_end.set()
    assert (first.result().status, second.result().status) == (200, 200)
    waited = row_of(second.result()).decision["waited"]
    assert (waited["for"], waited["for_rates"]) == (["P"], ["P"])


# --- what is shown --------------------------------------------------------------------------------


def quoted(ask: Asking) -> tuple[str, int | None, list[str], Any]:
    found = ask(BODY, path="/api/ai/quote").json
    return found["outcome"], found["waitS"], found["waitsFor"], found["code"]


def test_quote_says_whether_call_would_go_wait_or_be_refused(
    ask: Asking, provider: StandIn, rate: Callable[..., Policy]
) -> None:
    policy = rate(requests_per_minute=1, concurrent_requests=3, wait_s=LONG_S)
    assert quoted(ask) == ("admitted", None, [], None)
    assert ask(BODY).status == 200
    empty(policy, beyond_s=300)
    assert quoted(ask) == ("waits", LONG_S, ["P"], "rate_limited")
    requests, at_once = ask(BODY, path="/api/ai/quote").json["limits"]
    assert 300 < requests.pop("availableInS") <= 360
    assert requests == {"policy": "P", "of": "requests", "limit": 1, "used": 6}
    assert at_once == {
        **{"policy": "P", "of": "concurrent", "limit": 3, "used": 0},
        "availableInS": 0.0,
    }
    empty(policy, beyond_s=2 * LONG_S)
    assert quoted(ask) == ("refused", LONG_S, ["P"], "rate_limited")


def test_page_of_refusal_says_which_rate_was_used_up(
    ask: Asking,
    provider: StandIn,
    rate: Callable[..., Policy],
    client_for: Callable[[User], Client],
    admin_user: User,
) -> None:
    rate(requests_per_minute=1)
    ask(BODY)
    row = row_of(ask(BODY))
    page = client_for(admin_user).get(f"/admin/ai/requests/{row.id}").content.decode()
    assert "Blocked by policy &quot;P&quot;: 1 of 1 requests per minute used." in page


def test_limit_that_was_lowered_applies_at_once(
    ask: Asking, provider: StandIn, rate: Callable[..., Policy]
) -> None:
    policy = rate(requests_per_minute=3)
    assert [ask(BODY).status for _ in range(2)] == [200, 200]
    Policy.objects.filter(pk=policy.pk).update(requests_per_minute=1)
    assert ask(BODY).status == 429
    Policy.objects.filter(pk=policy.pk).update(requests_per_minute=100)
    assert ask(BODY).status == 200
    until(lambda: bucket().in_flight == 0)


def test_housekeeping_deletes_buckets_of_deleted_policies(
    ask: Asking, gateway: Gateway, provider: StandIn, rate: Callable[..., Policy]
) -> None:
    rate(requests_per_minute=1)
    assert ask(BODY).status == 200
    until(lambda: bucket().in_flight == 0)
    Policy.objects.all().delete()
    RateBucket.objects.update(refilled_at=datetime.now(UTC) - 2 * UNUSED_FOR)
    store = open_store()
    gateway.keep_house(store)
    store.close()
    assert not RateBucket.objects.exists()

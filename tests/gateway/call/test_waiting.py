"""Calls that only calls in flight keep out of a limit wait for them, and are refused after that."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, Final

import pytest
from django.test import Client

from costs.models import Hold, HoldPeriod, Period
from gateway.call.runtime import Gateway
from gateway.models import AiRequestLog, Policy
from orgs.models import ApiKey, Organization, User
from tests.factories import BudgetFactory, PolicyFactory
from tests.fake_provider.thread import FakeProvider
from tests.gateway.attempts import CLAUDE, HELLO, fast, row_of
from tests.gateway.call.conftest import BODY, LONG_S, Scene
from tests.gateway.conftest import Asking
from tests.gateway.stand_ins import until
from tests.gateway.wire import Visit

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]

EUR: Final = 10**9
CHAT: Final[dict[str, Any]] = {
    "model": "sandbox-small",
    "messages": [{"role": "user", "content": "Say hello"}],
    "max_tokens": 100,
}


@pytest.fixture
def bound(ask: Asking, gateway: Gateway) -> int:
    """What a request of BODY holds."""
    quoted: float = ask(BODY, path="/api/ai/quote").json["boundEur"]
    return round(quoted * EUR)


@pytest.fixture
def limit(acme: Organization, bound: int) -> Callable[..., Policy]:
    """Create a policy whose day has room for so many requests at once."""

    def made(calls: float, *, wait_s: int = LONG_S, name: str = "P") -> Policy:
        most = round(bound * calls)
        return PolicyFactory.create(
            org=acme, name=name, max_cost_per_day_nanoeur=most, wait_s=wait_s
        )

    return made


def test_call_waits_for_call_in_flight(scene: Scene, limit: Callable[..., Policy]) -> None:
    limit(1.5)
    first = scene.runs()
    second = scene.waits()
    assert (len(scene.provider.asked), Hold.objects.count()) == (1, 1)
    assert AiRequestLog.objects.count() == 1
    scene.provider.may_end.set()
    assert (first.result().status, second.result().status) == (200, 200)
    row = row_of(second.result())
    waited = row.decision["waited"]
    assert waited["for"] == ["P"]
    assert 0 < waited["ms"] <= (row.latency_ms or 0)
    assert "waited" not in row_of(first.result()).decision
    assert scene.waiting == 0


def test_full_part_of_budget_keeps_others_of_it_waiting_alone(
    scene: Scene, acme: Organization, bound: int
) -> None:
    BudgetFactory.create(org=acme, name="Each", each="user_id", limit_nanoeur=bound * 3 // 2)
    ann, bob = ({**BODY, "userId": name} for name in ("ann", "bob"))
    first = scene.runs(ann)
    second = scene.waits(ann)
    other = scene.runs(bob)
    scene.provider.may_end.set()
    assert [each.result().status for each in (first, second, other)] == [200] * 3
    assert row_of(second.result()).decision["waited"]["for"] == ["Each"]
    assert "waited" not in row_of(other.result()).decision


def test_settlement_wakes_waiting_call(scene: Scene, limit: Callable[..., Policy]) -> None:
    scene.gateway.waiting_room.look_every_s = LONG_S
    limit(1.5)
    scene.runs()
    waiting = [scene.waits() for _ in range(3)]
    time.sleep(0.3)  # the looks that their coming has caused are over
    scene.provider.may_end.set()
    assert [each.result(timeout=LONG_S / 5).status for each in waiting] == [200] * 3


def test_fallback_is_skipped_and_does_not_wait(
    ask: Asking, acme: Organization, vendors: FakeProvider
) -> None:
    fast(acme)
    dear = HELLO | {"model": CLAUDE, "maxTokens": 8_192}
    bound = round(ask(dear, path="/api/ai/quote").json["boundEur"] * EUR)
    PolicyFactory.create(org=acme, max_cost_per_day_nanoeur=bound * 3 // 2, wait_s=LONG_S)
    vendors.answers(until_released=True, vendor="anthropic")
    vendors.answers(status=429, vendor="openai")
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(ask, dear)
        vendors.wait_for(lambda call: call.vendor == "anthropic")
        reply = ask(HELLO | {"maxTokens": 8_192})
        assert not running.done()
        vendors.release()
        assert running.result().status == 200
    assert reply.refusal[:2] == (429, "provider_rate_limited")
    [skipped] = row_of(reply).attempts or []
    assert (skipped["model"], skipped["code"]) == (CLAUDE, "rate_limited")
    assert "waited" not in skipped["decision"]


def test_wait_of_zero_refuses_at_once(scene: Scene, limit: Callable[..., Policy]) -> None:
    limit(1.5, wait_s=0)
    scene.runs()
    reply = scene.ask(BODY)
    status, code, sentence = reply.refusal
    assert (status, code, reply.headers["retry-after"]) == (429, "rate_limited", "1")
    assert sentence.startswith("Request could cost up to ")
    assert 'policy "P" allows ' in sentence
    assert " are left while calls in flight hold " in sentence
    row = row_of(reply)
    assert (row.status, row.code, "waited" in row.decision) == ("blocked", "rate_limited", False)
    assert [each["verdict"] for each in row.decision["policies"]] == ["rate_limited"]


def test_call_is_refused_after_its_time(scene: Scene, limit: Callable[..., Policy]) -> None:
    limit(1.5, wait_s=1)
    scene.runs()
    reply = scene.ask(BODY)
    assert reply.refusal[:2] == (429, "rate_limited")
    assert row_of(reply).decision["waited"]["ms"] >= 1_000
    assert len(scene.provider.asked) == 1
    assert scene.waiting == 0


def test_shortest_wait_of_limits_that_keep_out_counts(
    scene: Scene, acme: Organization, limit: Callable[..., Policy], bound: int
) -> None:
    limit(1.5, name="Long")
    limit(1.7, name="Short", wait_s=1)
    limit(2.5, name="With room", wait_s=0)
    BudgetFactory.create(org=acme, name="B", limit_nanoeur=bound * 3 // 2)  # 20 s
    scene.runs()
    reply = scene.ask(BODY)
    assert reply.refusal[:2] == (429, "rate_limited")
    waited = row_of(reply).decision["waited"]
    assert waited["for"] == ["B", "Long"]
    assert 1_000 <= waited["ms"] < 20_000


def test_waiting_call_is_refused_at_once_when_limit_is_spent(
    scene: Scene, limit: Callable[..., Policy], bound: int
) -> None:
    limit(1.5)
    scene.provider.usage = None  # its outcome is unknown, and is charged at its whole hold
    first = scene.runs()
    second = scene.waits()
    scene.provider.may_end.set()
    reply = second.result()
    assert first.result().status == 200
    assert reply.refusal[:2] == (403, "daily_cost_limit")
    assert "while calls in flight" not in reply.refusal[2]
    assert int(reply.headers["retry-after"]) > 1
    row = row_of(reply)
    assert [each["verdict"] for each in row.decision["policies"]] == ["daily_cost_limit"]
    assert row.decision["waited"]["for"] == ["P"]
    assert Period.objects.get().settled_nanoeur == bound


def test_new_call_queues_behind_waiting_one_that_needs_more(
    scene: Scene, acme: Organization, limit: Callable[..., Policy], bound: int
) -> None:
    limit(1.5)
    small = BODY | {"maxTokens": 10}
    scene.runs()
    large = scene.waits()
    behind = scene.waits(small)
    assert (scene.waiting, len(scene.provider.asked)) == (2, 1)
    scene.provider.may_end.set()
    assert (large.result().status, behind.result().status) == (200, 200)
    large_row, small_row = row_of(large.result()), row_of(behind.result())
    assert large_row.occurred_at <= small_row.occurred_at
    assert small_row.decision["waited"]["for"] == ["P"]


def test_call_in_other_limit_does_not_queue(scene: Scene, acme: Organization, bound: int) -> None:
    for team in ("a", "b"):
        BudgetFactory.create(org=acme, name=team, limit_nanoeur=bound * 3 // 2, team_id=team)
    of_a, of_b = (BODY | {"teamId": team} for team in ("a", "b"))
    scene.runs(of_a)
    waiting = scene.waits(of_a)
    running = scene.runs(of_b)
    assert not waiting.done()
    scene.provider.may_end.set()
    assert running.result().status == 200
    assert "waited" not in row_of(running.result()).decision
    assert row_of(waiting.result()).decision["waited"]["for"] == ["a"]


def test_keys_take_turns(
    scene: Scene, limit: Callable[..., Policy], acme: Organization, make_key: Callable[..., str]
) -> None:
    limit(1.5)
    first = scene.runs()
    mine = [scene.waits() for _ in range(3)]
    theirs = scene.waits(key=make_key(acme, "theirs"))
    scene.provider.may_end.set()
    rows = [row_of(each.result()) for each in (first, *mine, theirs)]
    in_order = sorted(rows, key=lambda row: row.occurred_at)
    assert [rows.index(row) for row in in_order][:3] == [0, 1, 4]


def test_waiting_call_has_its_idempotency_key(scene: Scene, limit: Callable[..., Policy]) -> None:
    limit(1.5)
    scene.runs()
    named: dict[str, Any] = {"headers": {"idempotency-key": "k"}}
    waiting = scene.waits(**named)
    assert scene.ask(BODY, **named).refusal[:2] == (409, "request_in_progress")
    other = scene.ask(BODY | {"maxTokens": 99}, **named)
    assert other.refusal[:2] == (422, "idempotency_key_reused")
    assert row_of(other).code == "idempotency_key_reused"
    scene.provider.may_end.set()
    assert waiting.result().status == 200
    assert scene.ask(BODY, **named).refusal[:2] == (409, "already_done")


def test_idempotency_key_of_call_that_waited_in_vain_is_free_again(
    scene: Scene, limit: Callable[..., Policy]
) -> None:
    limit(1.5, wait_s=1)
    scene.runs()
    named: dict[str, Any] = {"headers": {"idempotency-key": "k"}}
    assert scene.ask(BODY, **named).refusal[:2] == (429, "rate_limited")
    again = scene.waits(**named)
    scene.provider.may_end.set()
    assert again.result().status == 200


def test_client_that_leaves_while_waiting_costs_nothing(
    scene: Scene, limit: Callable[..., Policy], api_key: str
) -> None:
    limit(1.5)
    scene.runs()
    headers = [("x-pulse-key", api_key.encode()), ("content-type", b"application/json")]
    body = b'{"model": "sandbox-small", "prompt": "Say hello", "maxTokens": 100}'
    leaves = Visit(
        "POST", "/api/ai/request", headers, body, leaves_when=lambda _: scene.waiting == 1
    )
    leaves.run()
    until(lambda: scene.waiting == 0)
    behind = scene.waits()
    until(lambda: AiRequestLog.objects.filter(code="client_disconnected").exists())
    row = AiRequestLog.objects.get(code="client_disconnected")
    assert (row.status, row.cost_nanoeur, row.hold_nanoeur) == ("error", 0, None)
    scene.provider.may_end.set()
    assert behind.result().status == 200
    assert len(scene.provider.asked) == 2


def test_stop_answers_waiting_calls(scene: Scene, limit: Callable[..., Policy]) -> None:
    limit(1.5)
    scene.runs()
    waiting = scene.waits()
    scene.gateway.call_loop.call_soon(lambda: scene.gateway.drain(0.1))
    status, _, sentence = waiting.result().refusal
    assert (status, sentence) == (503, "This gateway process is stopping; nothing was sent")
    assert len(scene.provider.asked) == 1


# --- what changes meanwhile -----------------------------------------------------------------------


def _raise_limit(policy: Policy) -> None:
    Policy.objects.filter(pk=policy.pk).update(
        max_cost_per_day_nanoeur=10 * (policy.max_cost_per_day_nanoeur or 0)
    )


def _remove_limit(policy: Policy) -> None:
    policy.delete()


def _end_period(_: Policy) -> None:
    """Begin another period, as at midnight."""
    Period.objects.update(ends_at=datetime.now(UTC))


@pytest.mark.parametrize("change", [_raise_limit, _remove_limit, _end_period])
def test_waiting_call_is_admitted_after_change(
    scene: Scene, limit: Callable[..., Policy], change: Callable[[Policy], None]
) -> None:
    policy = limit(1.5)
    scene.runs()
    waiting = scene.waits()
    change(policy)
    until(lambda: len(scene.provider.asked) == 2)
    scene.provider.may_end.set()
    assert waiting.result().status == 200
    periods = {each.period_id for each in HoldPeriod.objects.all()}
    assert len(periods) == (2 if change is _end_period else 1)


def _block_model(policy: Policy) -> None:
    Policy.objects.filter(pk=policy.pk).update(blocked_models=["sandbox-small"])


def _lower_limit(policy: Policy) -> None:
    Policy.objects.filter(pk=policy.pk).update(max_cost_per_day_nanoeur=1)


def _end_wait(policy: Policy) -> None:
    Policy.objects.filter(pk=policy.pk).update(wait_s=0)


def _disable(_: Policy) -> None:
    Organization.objects.update(ai_gateway_enabled=False)


def _revoke(_: Policy) -> None:
    ApiKey.objects.update(revoked_at=datetime.now(UTC))


@pytest.mark.parametrize(
    ("change", "refused"),
    [
        (_block_model, (403, "model_blocked")),
        (_lower_limit, (403, "daily_cost_limit")),
        (_end_wait, (429, "rate_limited")),
        (_disable, (403, "gateway_disabled")),
        (_revoke, (401, "unauthenticated")),
    ],
)
def test_waiting_call_is_refused_after_change(
    scene: Scene,
    limit: Callable[..., Policy],
    change: Callable[[Policy], None],
    refused: tuple[int, str],
) -> None:
    policy = limit(1.5)
    scene.runs()
    waiting = [scene.waits() for _ in range(2)]
    change(policy)
    assert [each.result().refusal[:2] for each in waiting] == [refused] * 2
    assert len(scene.provider.asked) == 1


def test_key_that_expires_while_waiting_is_refused(
    scene: Scene, limit: Callable[..., Policy]
) -> None:
    limit(1.5)
    expires_at = datetime.now(UTC)
    scene.runs()
    waiting = scene.waits()
    ApiKey.objects.update(expires_at=expires_at)
    assert waiting.result().refusal[:2] == (401, "unauthenticated")


# --- limits of waiting ----------------------------------------------------------------------------


def test_only_so_many_calls_of_key_wait(
    scene: Scene, limit: Callable[..., Policy], acme: Organization, make_key: Callable[..., str]
) -> None:
    limit(1.5)
    scene.gateway.waiting_room.of_key_max = 2
    scene.runs()
    for _ in range(2):
        scene.waits()
    refused = scene.ask(BODY)
    assert refused.refusal[:2] == (429, "rate_limited")
    assert row_of(refused).code == "rate_limited"
    scene.waits(key=make_key(acme, "theirs"))


def test_organization_gets_no_more_places_than_it_leaves_free(
    scene: Scene, limit: Callable[..., Policy], acme: Organization, make_key: Callable[..., str]
) -> None:
    limit(1.5)
    scene.gateway.waiting_room.waiting_max = 4
    scene.runs()
    for _ in range(2):
        scene.waits()
    refused = scene.ask(BODY, key=make_key(acme, "theirs"))
    assert refused.refusal[:2] == (429, "rate_limited")


# --- what a quote says ----------------------------------------------------------------------------


def quoted(scene: Scene, body: dict[str, Any] = BODY) -> tuple[str, int | None, list[str], Any]:
    found = scene.ask(body, path="/api/ai/quote").json
    return found["outcome"], found["waitS"], found["waitsFor"], found["code"]


def test_quote_says_whether_call_would_go_wait_or_be_refused(
    scene: Scene, limit: Callable[..., Policy]
) -> None:
    policy = limit(1.5, wait_s=LONG_S)
    assert quoted(scene) == ("admitted", None, [], None)
    scene.runs()
    assert quoted(scene) == ("waits", LONG_S, ["P"], "rate_limited")
    small = BODY | {"maxTokens": 10}
    assert quoted(scene, small) == ("admitted", None, [], None)
    scene.waits()
    assert quoted(scene, small) == ("waits", LONG_S, ["P"], None)  # behind the other
    large = BODY | {"maxTokens": 1_000}
    assert quoted(scene, large) == ("refused", None, [], "daily_cost_limit")
    scene.provider.may_end.set()
    until(lambda: not scene.gateway.tasks)
    Policy.objects.filter(pk=policy.pk).update(wait_s=0)
    scene.provider.may_end.clear()
    scene.runs()
    assert quoted(scene) == ("refused", 0, ["P"], "rate_limited")


def test_pages_show_what_waits_in_process(
    scene: Scene,
    limit: Callable[..., Policy],
    client_for: Callable[[User], Client],
    admin_user: User,
) -> None:
    limit(1.5)
    client = client_for(admin_user)
    scene.runs()
    assert client.get("/admin/ai").context["waiting"] is None
    first = scene.waits()
    page = client.get("/admin/ai").content.decode()
    note = "for running calls or their turn, the longest for 0 s."
    assert f"1 request waits in this server process {note}" in page
    scene.waits()
    assert "2 requests wait in this server process" in client.get("/admin/ai").content.decode()
    scene.provider.may_end.set()
    story = client.get(f"/admin/ai/requests/{row_of(first.result()).id}").content.decode()
    assert "Running calls held what was left of &quot;P&quot;." in story


def test_page_of_call_that_waited_in_vain_says_why(
    scene: Scene,
    limit: Callable[..., Policy],
    client_for: Callable[[User], Client],
    admin_user: User,
) -> None:
    limit(1.5, wait_s=1)
    scene.runs()
    row = row_of(scene.ask(BODY))
    story = client_for(admin_user).get(f"/admin/ai/requests/{row.id}").content.decode()
    assert story.count("Running calls held what was left of &quot;P&quot;.") == 2
    assert "full (held by running calls)" in story

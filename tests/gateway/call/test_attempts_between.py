"""Between two attempts: waits, disconnects, changes, repeats, a killed process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from threading import Event, Thread
from typing import Any

import pytest

from costs.core.admission import Settlement
from costs.core.holds import State
from costs.core.rates import FREE
from costs.models import CostEvent, Hold
from gateway.call.records.idempotency import BETWEEN_ATTEMPTS
from gateway.call.runtime import Gateway
from gateway.call.sdk import ai_request
from gateway.core.errors import RateLimited
from gateway.models import AiRequestLog, IdempotencyKey, ModelAlias
from orgs.models import ApiKey, Organization
from tests.costs.books import check_the_books
from tests.factories import PolicyFactory
from tests.fake_provider.thread import FakeProvider
from tests.gateway.attempts import (
    CHAT,
    CLAUDE,
    HELLO,
    OPENAI,
    charged,
    fast,
    tried,
    wire,
)
from tests.gateway.conftest import Asking
from tests.gateway.stand_ins import Only, StandIn, until
from tests.gateway.wire import JSON_TYPE, Reply, Visit

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]

ONCE = {"idempotency-key": "once"}


@contextmanager
def waiting(
    ask: Asking, vendors: FakeProvider, *, retry_after_s: int = 2, **how: Any
) -> Iterator[list[Reply]]:
    """Run the block while a request waits to be retried; its reply is then in the list."""
    vendors.answers(vendor="openai", status=429, headers={"retry-after": str(retry_after_s)})
    replies: list[Reply] = []
    running = Thread(target=lambda: replies.append(ask(HELLO, **how)))
    running.start()
    until(lambda: AiRequestLog.objects.filter(status="error").exists())
    yield replies
    running.join()


def test_retry_respects_retry_after(ask: Asking, acme: Organization, vendors: FakeProvider) -> None:
    fast(acme, retries=1)
    vendors.answers(vendor="openai", status=429, headers={"retry-after": "1"})
    reply = ask(HELLO)
    assert reply.status == 200
    first, second = vendors.calls
    assert (first.vendor, second.vendor) == ("openai", "openai")
    assert second.received_at - first.received_at >= 1.0
    found = tried()
    assert (found.models, found.states) == ([OPENAI, OPENAI], ["released", "settled"])
    # The wait is the request's, not the attempt's.
    assert (found.row.latency_ms or 0) >= found.attempts[0]["latency_ms"] + 1000


def test_each_model_is_retried_as_configured(
    ask: Asking, acme: Organization, vendors: FakeProvider
) -> None:
    fast(acme, retries=1)
    vendors.answers(status=503, times=0)
    assert ask(CHAT, path="/v1/chat/completions").status == 503
    seen = [call.vendor for call in vendors.calls]
    assert seen == ["openai", "openai", "anthropic", "anthropic"]
    found = tried()
    assert (len(found.attempts), found.states) == (3, ["released"] * 4)


def test_wait_beyond_client_limit_is_not_taken(
    ask: Asking, acme: Organization, vendors: FakeProvider
) -> None:
    fast(acme, retries=5)
    vendors.answers(vendor="openai", status=429, headers={"retry-after": "3600"})
    assert ask(HELLO).json["provider"] == "anthropic"
    assert [call.vendor for call in vendors.calls] == ["openai", "anthropic"]


def test_disconnect_during_wait_ends_request(
    gateway: Gateway, acme: Organization, api_key: str, vendors: FakeProvider
) -> None:
    fast(acme, retries=1)
    vendors.answers(vendor="openai", status=429, headers={"retry-after": "15"})
    leaves = Event()
    client = Thread(target=_visit(api_key, leaves_when=lambda _: leaves.is_set()).run)
    client.start()
    until(lambda: AiRequestLog.objects.filter(status=AiRequestLog.Status.ERROR).exists())
    leaves.set()
    client.join()
    until(lambda: not gateway.tasks)
    assert len(vendors.calls) == 1  # which is not asked again after its 15 s
    found = tried()
    assert (found.row.status, found.row.code) == ("error", "client_disconnected")
    assert set(found.states) == {"released"}
    assert not IdempotencyKey.objects.exists()


# --- what changes meanwhile ---------------------------------------------------------------------


def blocked_now(acme: Organization) -> None:
    PolicyFactory.create(org=acme, blocked_models=["*"])


def switched_off(acme: Organization) -> None:
    Organization.objects.filter(pk=acme.pk).update(ai_gateway_enabled=False)


def revoked(acme: Organization) -> None:
    ApiKey.objects.filter(org=acme).update(revoked_at=acme.created_at)


@pytest.mark.parametrize("change", [blocked_now, switched_off, revoked])
def test_change_applies_to_next_attempt(
    ask: Asking, acme: Organization, vendors: FakeProvider, change: Callable[[Organization], None]
) -> None:
    fast(acme, retries=1)
    with waiting(ask, vendors, headers=ONCE) as replies:
        change(acme)
    assert replies[0].refusal[:2] == (429, "provider_rate_limited")
    assert len(vendors.calls) == 1
    found = tried()
    assert (found.row.status, found.states) == ("error", ["released"])
    if change is not revoked:  # a revoked key leaves no record
        assert not IdempotencyKey.objects.exists()


@pytest.mark.parametrize("models", [None, ["gpt-4"]])
def test_admitted_request_keeps_its_alias(
    ask: Asking, acme: Organization, vendors: FakeProvider, models: list[str] | None
) -> None:
    fast(acme, retries=1)
    vendors.answers(vendor="openai", status=429, headers={"retry-after": "1"}, times=2)
    with waiting(ask, vendors) as replies:
        if models is None:
            ModelAlias.objects.all().delete()
        else:
            ModelAlias.objects.update(models=models)
    assert replies[0].json["provider"] == "anthropic"
    assert tried(replies[0]).models == [OPENAI, OPENAI, CLAUDE]
    assert ask(HELLO).status == (400 if models is None else 200)


def test_changed_price_applies_to_next_attempt(
    ask: Asking, acme: Organization, gateway: Gateway, vendors: FakeProvider
) -> None:
    fast(acme, retries=1)
    with waiting(ask, vendors) as replies:
        gateway.directory.forget()
    assert replies[0].status == 200


def test_charged_hold_ends_request(
    ask: Asking, acme: Organization, gateway: Gateway, api_key: str
) -> None:
    fast(acme, "sandbox-small", "sandbox-large", retries=5)
    provider = StandIn(waits=True, failure=RateLimited("busy", provider_status=429))
    gateway.providers = Only(provider)
    replies: list[Reply] = []
    running = Thread(target=lambda: replies.append(ask(HELLO)))
    running.start()
    until(provider.reached.is_set)
    hold = Hold.objects.get()
    gateway.call_loop.call_sync(gateway.writer.settle(_charged_whole(hold)))
    provider.may_end.set()
    running.join()
    assert replies[0].refusal[:2] == (429, "provider_rate_limited")
    found = tried()
    # The proof that nothing was billed came late: the charge is corrected, and no attempt follows.
    assert (found.row.status, found.states, len(provider.asked)) == ("error", ["settled"], 1)
    events = CostEvent.objects.order_by("id").values_list("amount_nanoeur", flat=True)
    assert list(events) == [hold.amount_nanoeur, -hold.amount_nanoeur]
    check_the_books()


def _charged_whole(hold: Hold) -> Settlement:
    """Return how a reaper would settle the hold of a dead process."""
    return Settlement(
        hold_id=hold.id,
        request_id=hold.request_id,
        org_id=hold.org_id,
        period_ids=tuple(hold.hold_periods.values_list("period_id", flat=True)),
        outcome=State.UNKNOWN,
        cost_nanoeur=None,
        usage=None,
        charge_to=hold.charge_to,
        rates=FREE,
        entry=None,
    )


# --- repeats ------------------------------------------------------------------------------------


def test_repeat_during_wait_is_409(ask: Asking, acme: Organization, vendors: FakeProvider) -> None:
    fast(acme, retries=1)
    with waiting(ask, vendors, headers=ONCE) as replies:
        assert ask(HELLO, headers=ONCE).refusal[:2] == (409, "request_in_progress")
        other = ask(HELLO | {"prompt": "x"}, headers=ONCE)
        assert other.refusal[:2] == (422, "idempotency_key_reused")
    assert replies[0].status == 200
    assert ask(HELLO, headers=ONCE).refusal[:2] == (409, "already_done")
    assert len(vendors.calls) == 2


def test_idempotency_key_is_released_if_all_attempts_failed(
    ask: Asking, acme: Organization, vendors: FakeProvider
) -> None:
    fast(acme)
    vendors.answers(status=503, times=2)
    assert ask(HELLO, headers=ONCE).status == 502
    assert ask(HELLO, headers=ONCE).status == 200
    assert len(vendors.calls) == 3


def test_process_killed_between_attempts_releases_hold_and_key(
    ask: Asking, acme: Organization, gateway: Gateway, api_key: str, vendors: FakeProvider
) -> None:
    fast(acme, retries=1)
    vendors.answers(vendor="openai", status=429, headers={"retry-after": "15"})
    is_dead = Event()
    client = Thread(target=_visit(api_key, leaves_when=lambda _: is_dead.is_set()).run)
    client.start()
    until(lambda: AiRequestLog.objects.filter(status="error").exists())
    gateway.call_loop.call_sync(_kill(gateway))
    found = tried()
    assert (found.row.code, found.states, charged()) == (
        "provider_rate_limited",
        ["released"],
        {},
    )
    check_the_books()
    assert ask(HELLO, headers=ONCE).refusal[1] == "request_in_progress"
    _age(found.row, BETWEEN_ATTEMPTS - timedelta(seconds=5))
    assert ask(HELLO, headers=ONCE).refusal[1] == "request_in_progress"
    _age(found.row, BETWEEN_ATTEMPTS)
    assert ask(HELLO, headers=ONCE).status == 200
    is_dead.set()
    client.join()


async def _kill(gateway: Gateway) -> None:
    """Stop the running call as a kill would."""
    tasks = list(gateway.tasks)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


def _visit(api_key: str, *, leaves_when: Callable[[bytes], bool]) -> Visit:
    """Return HELLO as a visit whose client may disconnect."""
    sent_headers = {"x-pulse-key": api_key, "content-type": JSON_TYPE, **ONCE}
    return Visit(
        "POST",
        "/api/ai/request",
        headers=[(name, value.encode()) for name, value in sent_headers.items()],
        body=json.dumps(HELLO).encode(),
        leaves_when=leaves_when,
    )


def _age(row: AiRequestLog, by: timedelta) -> None:
    at = (row.completed_at or row.occurred_at) - by
    AiRequestLog.objects.filter(pk=row.pk).update(completed_at=at)


def test_idempotency_key_taken_by_other_request_is_not_reused(
    ask: Asking, acme: Organization, vendors: FakeProvider
) -> None:
    fast(acme, retries=1)
    with waiting(ask, vendors, retry_after_s=4, headers=ONCE) as replies:
        _age(AiRequestLog.objects.get(), BETWEEN_ATTEMPTS)
        second = ask(HELLO, headers=ONCE)
        assert second.status == 200
    assert replies[0].refusal[:2] == (429, "provider_rate_limited")
    assert len(vendors.calls) == 2
    again = ask(HELLO, headers=ONCE)
    assert (again.refusal[1], again.json["requestId"]) == (
        "already_done",
        second.json["requestId"],
    )


# --- other ways in ------------------------------------------------------------------------------


def test_sdk_resolves_aliases(
    acme: Organization, gateway: Gateway, prices: object, vendors: FakeProvider
) -> None:
    fast(acme)
    vendors.answers(vendor="openai", status=429)
    response = ai_request(org_id=acme.id, model="fast", input="Say hello", max_tokens=20)
    assert (response.success, response.model) == (True, CLAUDE)
    assert tried().codes == ["provider_rate_limited", None]


def test_quote_uses_first_callable_model(
    ask: Asking, acme: Organization, gateway: Gateway, vendors: FakeProvider
) -> None:
    wire(gateway, vendors, mistral=None)
    fast(acme, "mistral-large-latest", CLAUDE, OPENAI)
    quoted = ask(HELLO, path="/api/ai/quote").json
    assert (quoted["allowed"], quoted["model"]) == (True, CLAUDE)
    PolicyFactory.create(org=acme, name="P", blocked_models=["mistral-*"])
    quoted = ask(HELLO, path="/api/ai/quote").json
    assert (quoted["allowed"], quoted["code"]) == (False, "model_blocked")
    assert vendors.calls == []


def test_request_detail_lists_every_attempt(
    ask: Asking, acme: Organization, vendors: FakeProvider
) -> None:
    fast(acme)
    plain = ask(HELLO | {"model": OPENAI})
    vendors.answers(vendor="openai", status=429)
    reply = ask(HELLO)
    seen = {
        r.json["requestId"]: ask(path=f"/api/ai/requests/{r.json['requestId']}", method="GET").json[
            "request"
        ]
        for r in (plain, reply)
    }
    assert seen[plain.json["requestId"]]["attempts"] == []
    detail = seen[reply.json["requestId"]]
    assert (detail["requestedModel"], detail["model"]) == ("fast", CLAUDE)
    (first,) = detail["attempts"]
    hold = tried(reply).holds[0]
    assert (first["model"], first["providerStatus"], first["code"]) == (
        OPENAI,
        429,
        "provider_rate_limited",
    )
    assert first["holdEur"] == hold.amount_nanoeur / 10**9
    assert first["decision"]["model"]["meant"] == OPENAI

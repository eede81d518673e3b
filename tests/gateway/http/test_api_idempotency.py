"""An Idempotency-Key: the same key and body never call the provider twice."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import timedelta
from threading import Thread
from typing import Any

import pytest
from django.utils import timezone

from costs.ledger.connect import open_store
from costs.models import CostEvent
from gateway.call.records import idempotency
from gateway.call.runtime import Gateway
from gateway.core.errors import Broken, Rejected
from gateway.models import AiRequestLog, IdempotencyKey
from orgs.fields import new_id
from orgs.keys import operations
from orgs.models import ApiKey, Organization
from tests.factories import PolicyFactory
from tests.gateway.conftest import Asking
from tests.gateway.stand_ins import Only, StandIn, until
from tests.gateway.wire import Reply

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]

HELLO: Mapping[str, Any] = {"model": "sandbox-small", "prompt": "Say hello"}
REUSED = (422, "idempotency_key_reused", "This Idempotency-Key was used with another request")


def once(ask: Asking, body: Any = HELLO, *, name: str = "once", **how: Any) -> Reply:
    return ask(body, headers={"idempotency-key": name}, **how)


@pytest.fixture
def provider(gateway: Gateway) -> StandIn:
    stand_in = StandIn()
    gateway.providers = Only(stand_in)
    return stand_in


def test_already_done_has_first_requests_id_and_cost(ask_both: Asking, provider: StandIn) -> None:
    first = once(ask_both)
    assert first.status == 200
    spaced = json.dumps(HELLO, indent=4).encode()
    for body in (HELLO, spaced):
        again = once(ask_both, body)
        sentence = (
            f"A request with this Idempotency-Key was already completed: {first.json['requestId']}"
        )
        assert again.refusal == (409, "already_done", sentence)
        assert again.json["requestId"] == first.json["requestId"]
        assert again.json["estimatedCostEur"] == first.json["estimatedCostEur"] == 0.000002319
        row = AiRequestLog.objects.get(id=again.headers["x-pulse-request-id"])
        assert (row.status, row.code, row.cost_nanoeur) == ("blocked", "already_done", 0)
    assert len(provider.asked) == 1
    assert CostEvent.objects.count() == 1


def test_same_key_with_another_body_is_422(ask_both: Asking, provider: StandIn) -> None:
    assert once(ask_both).status == 200
    for changes in (
        {"prompt": "Say hello."},
        {"model": "sandbox-large"},
        {"maxTokens": 5},
        {"temperature": 0},
        {"stream": True},
        {"teamId": "t"},
    ):
        assert once(ask_both, {**HELLO, **changes}).refusal == REUSED
    assert len(provider.asked) == 1


def test_repeat_of_running_request_is_409(ask: Asking, gateway: Gateway, provider: StandIn) -> None:
    provider.waits = True
    replies: list[Reply] = []
    running = Thread(target=lambda: replies.append(once(ask)))
    running.start()
    until(provider.reached.is_set)
    second = once(ask)
    sentence = "A request with this Idempotency-Key is in progress"
    assert second.refusal == (409, "request_in_progress", sentence)
    assert second.headers["retry-after"] == "1"
    assert once(ask, {**HELLO, "prompt": "x"}).refusal == REUSED
    provider.may_end.set()
    running.join()
    assert replies[0].status == 200
    assert once(ask).refusal[1] == "already_done"
    assert len(provider.asked) == 1


def test_unbilled_failure_releases_key(ask: Asking, provider: StandIn) -> None:
    provider.failure = Rejected("no")
    assert once(ask).status == 502
    assert not IdempotencyKey.objects.exists()
    provider.failure = None
    assert once(ask, {**HELLO, "prompt": "another"}).status == 200


def test_possibly_billed_failure_keeps_key(ask: Asking, provider: StandIn) -> None:
    provider.failure = Broken("cut")
    assert once(ask).status == 502
    again = once(ask)
    assert again.refusal[:2] == (409, "already_done")
    hold = AiRequestLog.objects.get(id=again.json["requestId"]).hold_nanoeur
    assert again.json["estimatedCostEur"] == (hold or 0) / 10**9
    assert len(provider.asked) == 1


def test_refusal_does_not_use_key(ask: Asking, acme: Organization, provider: StandIn) -> None:
    policy = PolicyFactory.create(org=acme, blocked_models=["*"])
    assert once(ask).status == 403
    policy.delete()
    full = PolicyFactory.create(org=acme, max_cost_per_day_nanoeur=0)
    assert once(ask).status == 403
    full.delete()
    assert once(ask, {"model": "no-such", "prompt": "x"}).status == 400
    assert once(ask).status == 200
    PolicyFactory.create(org=acme, blocked_models=["*"])
    assert once(ask).refusal[1] == "model_blocked"


def test_key_expires_after_day(ask: Asking, provider: StandIn) -> None:
    assert once(ask).status == 200
    used = IdempotencyKey.objects.get()
    IdempotencyKey.objects.update(seen_at=used.seen_at - timedelta(hours=23, minutes=59))
    assert once(ask).status == 409
    IdempotencyKey.objects.update(seen_at=used.seen_at - timedelta(hours=24, minutes=1))
    assert once(ask).status == 200
    assert len(provider.asked) == 2


def test_keys_are_scoped_to_caller_and_stored_hashed(
    ask: Asking, acme: Organization, provider: StandIn, make_key: Callable[..., str]
) -> None:
    other = make_key(acme, "other")
    assert once(ask, name="a" * 255).status == 200
    assert once(ask, name="a" * 255, key=other).status == 200
    assert once(ask, name="A" * 255).status == 200
    assert not IdempotencyKey.objects.filter(key_hash__startswith="a" * 20).exists()
    sentence = "Idempotency-Key must be 1 to 255 printable characters"
    for name in ("a" * 256, "", "a\x80"):
        assert once(ask, name=name).refusal == (400, "invalid_request", sentence)


def test_expired_keys_are_deleted_in_portions(
    acme: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = timezone.now()
    for age in range(20, 29):
        IdempotencyKey.objects.create(
            org=acme,
            key_hash=str(age),
            body_hash="0",
            request_id=new_id(),
            seen_at=now - timedelta(hours=age),
        )
    monkeypatch.setattr(idempotency, "FORGOTTEN_AT_ONCE_MAX", 3)
    kept = []
    for _ in range(3):
        with closing(open_store()) as store:
            idempotency.forget_expired(store, now=store.begin())
            store.commit()
        kept.append(sorted(IdempotencyKey.objects.values_list("key_hash", flat=True)))
    assert kept[0] == ["20", "21", "22", "23", "24", "25"]
    assert kept[1] == kept[2] == ["20", "21", "22", "23"]


def test_rotated_key_finds_request_of_replaced_key(
    ask: Asking, acme: Organization, provider: StandIn, make_key: Callable[..., str]
) -> None:
    text = make_key(acme, "rotated")
    first = once(ask, key=text)
    assert first.status == 200
    for _ in range(2):
        key = ApiKey.objects.filter(name="rotated").order_by("-id")[0]
        text = operations.rotate_key(key=key)[1]
        again = once(ask, key=text)
        assert again.refusal[:2] == (409, "already_done")
        assert again.json["requestId"] == first.json["requestId"]
        assert once(ask, {**HELLO, "prompt": "Say no"}, key=text).status == 422
    assert once(ask, key=make_key(acme, "another")).status == 200
    assert len(provider.asked) == 2

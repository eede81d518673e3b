"""Conversations of the Responses API: their turns, items and number."""

from __future__ import annotations

import json
from threading import Event, Thread
from typing import Any

import pytest

from gateway.call.runtime import Gateway
from gateway.core import kept
from gateway.models import KeptId
from orgs.models import Organization
from tests.fake_provider.thread import FakeProvider
from tests.gateway.attempts import row_of
from tests.gateway.conftest import Asking
from tests.gateway.http.kept_calls import (
    ASKED,
    CONVERSATIONS,
    MODEL,
    NEXT,
    RESPONSES,
    error,
    hold_of,
    limited,
    tokens_of,
)
from tests.gateway.stand_ins import until
from tests.gateway.wire import Visit

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.both_databases,
    pytest.mark.usefixtures("kept_prices"),
]


@pytest.mark.parametrize("body", [{"instructions": "x"}, {"items": [{"file_id": "file_1"}]}])
def test_conversation_takes_only_what_is_measured(
    body: dict[str, Any], ask: Asking, vendors: FakeProvider
) -> None:
    assert ask(body, path=CONVERSATIONS).status in (400, 404)
    assert not vendors.calls


def test_conversation_counts_its_turns(
    ask: Asking, vendors: FakeProvider, acme: Organization
) -> None:
    limited(acme)
    items = [{"role": "user", "content": "My name is Ann"}]
    created = ask({"items": items, "metadata": {"a_id": "1"}}, path=CONVERSATIONS)
    id_ = created.json["id"]
    row = KeptId.objects.get(provider_id=id_)
    assert (row.kind, row.model) == ("conversation", "")
    assert 14 <= (row.tokens or 0) < 100
    vendors.answers(input_tokens=5_000, output_tokens=200)
    assert ask(NEXT | {"conversation": id_}, path=RESPONSES).status == 200
    row.refresh_from_db()
    assert (row.tokens, row.model, row.turn) == (5_200, MODEL, None)
    second = ask(NEXT | {"conversation": {"id": id_}, "stream": True}, path=RESPONSES)
    assert (row_of(second).input_tokens or 0) > 5_200
    assert (row_of(second).cost_nanoeur or 0) <= hold_of(second)
    row.refresh_from_db()
    assert (row.tokens or 0) > 5_200


def test_items_of_clients_count_in_their_conversation(ask: Asking, vendors: FakeProvider) -> None:
    id_ = ask({}, path=CONVERSATIONS).json["id"]
    assert tokens_of(id_) == 0
    own = f"{CONVERSATIONS}/{id_}/items"
    added = ask({"items": [{"role": "user", "content": "x" * 1000}]}, path=own)
    assert 1_000 <= (tokens_of(id_) or 0) < 1_100
    [item] = added.json["data"]
    assert ask(method="GET", path=f"{own}/{item['id']}").json["id"] == item["id"]
    assert ask(method="GET", path=own).json["data"] == [item]
    picture = {"type": "input_image", "image_url": "https://example.com/a.png"}
    assert ask({"items": [{"role": "user", "content": [picture]}]}, path=own).status == 200
    assert tokens_of(id_) is None  # what an image has depends on the model
    assert ask(method="DELETE", path=f"{own}/{item['id']}").status == 200
    assert ask(method="GET", path=f"{own}/..%2Fx").status == 404
    update = ask({"metadata": {"a": "b"}}, path=f"{CONVERSATIONS}/{id_}")
    assert update.json["metadata"] == {"a": "b"}
    assert ask(method="DELETE", path=f"{CONVERSATIONS}/{id_}").json["deleted"] is True
    assert ask(method="GET", path=f"{CONVERSATIONS}/{id_}").status == 404


def test_broken_turn_makes_conversation_unknown(
    ask: Asking, vendors: FakeProvider, acme: Organization
) -> None:
    limited(acme)
    id_ = ask({}, path=CONVERSATIONS).json["id"]
    vendors.answers(cut_after_bytes=1_500)
    ask(NEXT | {"conversation": id_, "stream": True}, path=RESPONSES)
    known = ask(NEXT | {"conversation": id_}, path=RESPONSES)
    assert hold_of(known) > 100 * hold_of(ask(NEXT, path=RESPONSES))
    # A whole turn tells its size again.
    row = KeptId.objects.get(provider_id=id_)
    assert (row.turn, row.tokens is None) == (None, False)


@pytest.mark.parametrize("status", [400, 429])
def test_rejected_turn_leaves_conversation_as_it_was(
    status: int, ask: Asking, vendors: FakeProvider
) -> None:
    id_ = ask({"items": [{"role": "user", "content": "Hi"}]}, path=CONVERSATIONS).json["id"]
    before = KeptId.objects.get(provider_id=id_)
    vendors.answers(status=status)
    assert ask(NEXT | {"conversation": id_}, path=RESPONSES).status == status
    after = KeptId.objects.get(provider_id=id_)
    assert (after.tokens, after.turn) == (before.tokens, None)


def test_second_turn_at_once_is_refused(
    ask: Asking, api_key: str, vendors: FakeProvider, gateway: Gateway
) -> None:
    id_ = ask({}, path=CONVERSATIONS).json["id"]
    vendors.answers(stall="body", stall_after_events=3)
    may_leave = Event()
    first = Visit(
        "POST",
        RESPONSES,
        headers=[("content-type", b"application/json"), ("x-pulse-key", api_key.encode())],
        body=json.dumps(ASKED | {"conversation": id_, "stream": True}).encode(),
        leaves_when=lambda _: may_leave.is_set(),
    )
    running = Thread(target=first.run)
    running.start()
    vendors.wait_for(lambda call: call.path.endswith("/responses"))
    locked = ask(NEXT | {"conversation": id_}, path=RESPONSES)
    may_leave.set()
    running.join()
    until(lambda: not gateway.tasks)
    status, shown = error(locked)
    assert (status, shown["code"]) == (409, "conversation_locked")
    assert locked.headers["retry-after"] == "1"
    assert (row_of(locked).cost_nanoeur, len(vendors.calls)) == (0, 2)
    # The first one has ended, and its items are not known.
    assert ask(NEXT | {"conversation": id_}, path=RESPONSES).status == 200


def test_conversations_of_organization_are_limited(
    ask: Asking, vendors: FakeProvider, acme: Organization
) -> None:
    id_ = ask({}, path=CONVERSATIONS).json["id"]
    first = KeptId.objects.get(provider_id=id_)
    values = {"org": acme, "provider": "openai", "kind": "conversation", "tokens": 0}
    KeptId.objects.bulk_create(
        KeptId(
            **values,
            provider_id=f"conv_{n}",
            request_id=first.request_id,
            created_at=first.created_at,
        )
        for n in range(kept.CONVERSATIONS_MAX - 1)
    )
    status, shown = error(ask({}, path=CONVERSATIONS))
    assert (status, shown["message"]) == (
        400,
        "An organization can have 10000 conversations; delete some",
    )
    assert ask(method="DELETE", path=f"{CONVERSATIONS}/{id_}").status == 200
    assert ask({}, path=CONVERSATIONS).status == 200

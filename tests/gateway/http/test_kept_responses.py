"""What the Responses API keeps: the next turn by id, of the own organization only."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from decimal import Decimal
from threading import Event, Thread
from typing import Any

import pytest
from django.utils.timezone import now

from costs.ledger.connect import open_store
from costs.models import Hold
from gateway.call.kept import rows
from gateway.call.runtime import Gateway
from gateway.core import kept
from gateway.models import KeptId
from orgs.models import Organization
from orgs.settings.operations import change_organization
from tests.factories import OrganizationFactory, PolicyFactory, RateFactory
from tests.fake_provider.thread import FakeProvider
from tests.gateway.attempts import row_of
from tests.gateway.conftest import Asking
from tests.gateway.stand_ins import until
from tests.gateway.wire import Reply, Visit

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]

RESPONSES, CONVERSATIONS = "/v1/responses", "/v1/conversations"
MODEL = "gpt-5.4"
ASKED: dict[str, Any] = {"model": MODEL, "input": "My name is Ann", "max_output_tokens": 500}
NEXT: dict[str, Any] = {"model": MODEL, "input": "What is my name?", "max_output_tokens": 500}
TOOL = {"type": "function", "name": "weather", "parameters": {"type": "object"}}
CALLS = ({"name": "weather", "arguments": {"city": "Paris"}},)


@pytest.fixture(autouse=True)
def _prices(prices: object) -> None:
    """Price two models, one of them twice as high for a context above 272,000 tokens."""
    for model, above, factor in (("gpt-5.4", 0, 1), ("gpt-5.4", 272_000, 2), ("gpt-5", 0, 1)):
        RateFactory.create(
            model=model,
            above_input_tokens=above,
            input_usd_per_mtok=Decimal("2.5") * factor,
            output_usd_per_mtok=15 * factor,
            cache_read_usd_per_mtok=Decimal("0.25") * factor,
            cache_write_30m_usd_per_mtok=Decimal("2.5") * factor,
            web_search_usd_per_k=10,
        )


@pytest.fixture
def globex_key(make_key: Callable[..., str], vendors: FakeProvider) -> str:
    return make_key(OrganizationFactory.create(name="Globex", ai_gateway_enabled=True))


def error(reply: Reply) -> tuple[int, dict[str, Any]]:
    return reply.status, reply.json["error"]


def hold_of(reply: Reply) -> int:
    return int(Hold.objects.get(request_id=row_of(reply).id).amount_nanoeur)


def tokens_of(id_: str) -> int | None:
    return KeptId.objects.get(provider_id=id_).tokens


def limited(org: Organization) -> None:
    PolicyFactory.create(org=org, max_cost_per_day_nanoeur=100 * 10**9)


# --- the next turn ----------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
def test_next_turn_names_previous_response(
    stream: bool, ask: Asking, vendors: FakeProvider
) -> None:
    vendors.answers(thinking="Hm", input_tokens=900, output_tokens=100)
    first = ask(ASKED | {"stream": stream}, path=RESPONSES)
    response = first.events[-1].data["response"] if stream else first.json
    row = KeptId.objects.get(provider_id=response["id"])
    assert (row.kind, row.tokens, row.model) == ("response", 1000, MODEL)
    items = KeptId.objects.filter(provider_id__in=[item["id"] for item in response["output"]])
    assert [(item.kind, item.tokens) for item in items] == [("item", 100)] * 2
    second = ask(NEXT | {"previous_response_id": response["id"]}, path=RESPONSES)
    assert second.status == 200
    assert (row_of(second).input_tokens or 0) > 1000
    assert "store" not in vendors.calls[0].body
    assert vendors.calls[1].body["previous_response_id"] == response["id"]


def test_id_is_kept_before_its_first_event_is_passed_on(
    ask: Asking, vendors: FakeProvider, acme: Organization
) -> None:
    limited(acme)
    vendors.answers(cut_after_bytes=1_800)
    broken = ask(ASKED | {"stream": True}, path=RESPONSES)
    id_ = broken.events[0].data["response"]["id"]
    row = KeptId.objects.get(provider_id=id_)
    # The end is unknown: as many as the call could have had, at one token for each byte.
    assert len(ASKED["input"]) + 500 < (row.tokens or 0) < len(ASKED["input"]) + 700


def test_bound_of_next_turn_has_tokens_of_its_chain(
    ask: Asking, vendors: FakeProvider, acme: Organization
) -> None:
    limited(acme)
    vendors.answers(input_tokens=100_000, output_tokens=1_000)
    first = ask(ASKED, path=RESPONSES).json
    plain = ask(NEXT, path=RESPONSES)
    continued = ask(NEXT | {"previous_response_id": first["id"]}, path=RESPONSES)
    row = row_of(continued)
    assert row.status == "ok"
    assert row.decision["input"]["kept_tokens"] == 101_000
    assert (row.input_tokens or 0) >= 101_000
    # 2.50 USD per million at 1.10 USD per EUR; a cache write costs no more.
    assert hold_of(continued) - hold_of(plain) == pytest.approx(101_000 * 2.5 / 1.1 * 1000, rel=0.3)
    assert (row.cost_nanoeur or 0) <= hold_of(continued)


def test_long_chain_is_bounded_at_prices_of_long_context(
    ask: Asking, vendors: FakeProvider, acme: Organization
) -> None:
    limited(acme)
    vendors.answers(input_tokens=300_000, output_tokens=1_000)
    first = ask(ASKED, path=RESPONSES).json
    vendors.answers(input_tokens=301_100, output_tokens=400)
    continued = ask(NEXT | {"previous_response_id": first["id"]}, path=RESPONSES)
    assert 0 < (row_of(continued).cost_nanoeur or 0) <= hold_of(continued)


def test_other_model_is_bounded_by_its_context(
    ask: Asking, vendors: FakeProvider, acme: Organization
) -> None:
    limited(acme)
    first = ask(ASKED, path=RESPONSES).json
    same = ask(NEXT | {"previous_response_id": first["id"]}, path=RESPONSES)
    other = ask(NEXT | {"previous_response_id": first["id"], "model": "gpt-5"}, path=RESPONSES)
    assert (same.status, other.status) == (200, 200)
    assert hold_of(other) > 100 * hold_of(same)


def test_policy_of_tokens_counts_what_is_named(
    ask: Asking, vendors: FakeProvider, acme: Organization
) -> None:
    PolicyFactory.create(org=acme, max_tokens_per_request=5_000)
    vendors.answers(input_tokens=10_000, output_tokens=10)
    first = ask(ASKED, path=RESPONSES).json
    refused = ask(NEXT | {"previous_response_id": first["id"]}, path=RESPONSES)
    status, shown = error(refused)
    assert (status, row_of(refused).code) == (400, "token_limit")
    assert shown["message"].startswith("Request needs up to 10")


def test_tool_loop_by_item_references(ask: Asking, vendors: FakeProvider) -> None:
    vendors.answers(tool_calls=CALLS, thinking="The weather, then")
    first = ask(ASKED | {"tools": [TOOL]}, path=RESPONSES).json
    thought, call = first["output"]
    loop = [
        {"role": "user", "content": "My name is Ann"},
        {"type": "item_reference", "id": thought["id"]},
        {"type": "item_reference", "id": call["id"]},
        {"type": "function_call_output", "call_id": call["call_id"], "output": "Rain"},
    ]
    second = ask(ASKED | {"input": loop, "tools": [TOOL]}, path=RESPONSES)
    assert second.status == 200
    assert vendors.calls[1].body["input"] == loop
    again = [*loop, {"type": "item_reference", "id": call["id"]}]
    twice = ask(ASKED | {"input": again}, path=RESPONSES)
    assert error(twice)[1]["message"] == "input must not name the same item twice"


def test_reasoning_by_id_is_passed_on_if_known(ask: Asking, vendors: FakeProvider) -> None:
    vendors.answers(tool_calls=CALLS, thinking="The weather, then")
    thought, call = ask(ASKED | {"tools": [TOOL]}, path=RESPONSES).json["output"]
    output = {"type": "function_call_output", "call_id": call["call_id"], "output": "Rain"}
    loop = [{"role": "user", "content": "My name is Ann"}, thought, call, output]
    assert ask(ASKED | {"input": loop}, path=RESPONSES).status == 200
    assert vendors.calls[1].body["input"] == loop
    unknown = [{"role": "user", "content": "x"}, thought | {"id": "rs_unknown"}]
    refused = ask(ASKED | {"input": unknown}, path=RESPONSES)
    assert error(refused)[1]["message"] == "Item with id 'rs_unknown' not found."
    # Without storage nothing of it was kept, and the provider answers without it.
    assert ask(ASKED | {"input": unknown, "store": False}, path=RESPONSES).status == 200
    assert vendors.calls[-1].body["input"] == unknown[:1]


def test_answer_that_is_not_stored_keeps_no_ids(ask: Asking, vendors: FakeProvider) -> None:
    first = ask(ASKED | {"store": False}, path=RESPONSES).json
    assert vendors.calls[0].body["store"] is False
    assert not KeptId.objects.exists()
    refused = ask(NEXT | {"previous_response_id": first["id"]}, path=RESPONSES)
    assert refused.status == 404


def test_truncated_context_keeps_its_bound(
    ask: Asking, vendors: FakeProvider, acme: Organization
) -> None:
    limited(acme)
    vendors.answers(input_tokens=10, output_tokens=10)
    first = ask(ASKED | {"truncation": "auto"}, path=RESPONSES).json
    assert (KeptId.objects.get(provider_id=first["id"]).tokens or 0) > 500


def test_malformed_ids_of_provider_are_not_kept(ask: Asking, vendors: FakeProvider) -> None:
    ids = ["../files", "x" * 129, "resp\u0000", "", 7, "resp_ok"]
    vendors.answers(extra_fields={"output": [{"id": id_, "type": "x"} for id_ in ids]})
    assert ask(ASKED, path=RESPONSES).status == 200
    kept_ids = KeptId.objects.filter(kind="item").values_list("provider_id", flat=True)
    assert list(kept_ids) == ["resp_ok"]


def test_ids_are_deleted_after_time_of_storage_and_conversations_are_not(
    ask: Asking, vendors: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [ask(ASKED | {"input": text}, path=RESPONSES).json["id"] for text in ("a", "b", "c")]
    conversation = ask({}, path=CONVERSATIONS).json["id"]
    old = now() - kept.KEPT_FOR - timedelta(minutes=1)
    KeptId.objects.exclude(provider_id=ids[2]).update(created_at=old)
    KeptId.objects.filter(provider_id=ids[0]).update(created_at=old - timedelta(minutes=1))
    monkeypatch.setattr(rows, "FORGOTTEN_AT_ONCE_MAX", 1)

    def left() -> set[str]:
        with closing(open_store()) as store:
            rows.forget_expired(store, now=store.begin())
            store.commit()
        return {*KeptId.objects.exclude(kind="item").values_list("provider_id", flat=True)}

    assert left() == {*ids[1:], conversation}
    monkeypatch.setattr(rows, "FORGOTTEN_AT_ONCE_MAX", 100)
    assert left() == {ids[2], conversation}


# --- unknown ids ------------------------------------------------------------------------------

NAMING: dict[str, Callable[[str], dict[str, Any]]] = {
    "previous": lambda id_: {"previous_response_id": id_},
    "conversation": lambda id_: {"conversation": id_},
    "conversation-object": lambda id_: {"conversation": {"id": id_}},
    "item": lambda id_: {"input": [{"type": "item_reference", "id": id_}]},
    "bare-item": lambda id_: {"input": [{"id": id_}]},
    "reasoning": lambda id_: {"input": [{"type": "reasoning", "id": id_, "summary": []}]},
}
WORDS = {
    "previous": ("Previous response", "previous_response_id", "previous_response_not_found"),
    "conversation": ("Conversation", "conversation", "not_found"),
    "conversation-object": ("Conversation", "conversation", "not_found"),
    "item": ("Item", "input", "not_found"),
    "bare-item": ("Item", "input", "not_found"),
    "reasoning": ("Item", "input", "not_found"),
}


@pytest.mark.parametrize("way", NAMING)
@pytest.mark.parametrize("id_", ["resp_never", "a b", "x" * 200, "nul\u0000"])
def test_unknown_id_is_not_found(way: str, id_: str, ask: Asking, vendors: FakeProvider) -> None:
    reply = ask(NEXT | NAMING[way](id_), path=RESPONSES)
    what, param, code = WORDS[way]
    assert error(reply) == (
        404,
        {
            "message": f"{what} with id '{id_[:128]}' not found.",
            "type": "invalid_request_error",
            "param": param,
            "code": code,
        },
    )
    assert row_of(reply).status == "blocked"
    assert not vendors.calls


@pytest.mark.parametrize("way", NAMING)
def test_id_of_other_organization_is_not_found(
    way: str, ask: Asking, vendors: FakeProvider, globex_key: str
) -> None:
    vendors.answers(thinking="Hm")
    response = ask(ASKED, path=RESPONSES).json
    conversation = ask({}, path=CONVERSATIONS).json
    ids = {"previous": response["id"], "conversation": conversation["id"]}
    id_ = ids.get(way.removesuffix("-object"), response["output"][0]["id"])
    assert ask(NEXT | NAMING[way](id_), path=RESPONSES).status == 200
    sent = len(vendors.calls)
    foreign = ask(NEXT | NAMING[way](id_), path=RESPONSES, key=globex_key)
    unknown = ask(NEXT | NAMING[way]("i" * len(id_)), path=RESPONSES, key=globex_key)
    assert foreign.status == unknown.status == 404
    assert foreign.body.replace(id_.encode(), b"ID") == unknown.body.replace(b"i" * len(id_), b"ID")
    assert foreign.headers.keys() == unknown.headers.keys()
    assert len(vendors.calls) == sent


def test_id_of_another_kind_is_not_found(ask: Asking, vendors: FakeProvider) -> None:
    first = ask(ASKED, path=RESPONSES).json
    for way in ("conversation", "item"):
        assert ask(NEXT | NAMING[way](first["id"]), path=RESPONSES).status == 404
    assert ask(method="GET", path=f"{CONVERSATIONS}/{first['id']}").status == 404


# --- storage turned off -----------------------------------------------------------------------


@pytest.mark.parametrize("way", [way for way in NAMING if way != "reasoning"])
def test_storage_turned_off_refuses_ids_and_says_what_to_set(
    way: str, ask: Asking, vendors: FakeProvider, acme: Organization
) -> None:
    change_organization(org=acme, stores_answers=False)
    status, shown = error(ask(NEXT | NAMING[way]("resp_1"), path=RESPONSES))
    assert (status, shown["code"]) == (400, "invalid_request")
    assert "manage.py orgs store SLUG on" in shown["message"]


def test_storage_turned_off_is_written_into_requests(
    ask: Asking, vendors: FakeProvider, acme: Organization
) -> None:
    first = ask(ASKED, path=RESPONSES).json
    change_organization(org=acme, stores_answers=False)
    reasoning = {"type": "reasoning", "id": "rs_1", "summary": []}
    asked = ASKED | {"store": True, "input": [{"role": "user", "content": "x"}, reasoning]}
    reply = ask(asked, path=RESPONSES)
    assert vendors.calls[-1].body["store"] is False
    assert len(vendors.calls[-1].body["input"]) == 1
    assert row_of(reply).decision["adjustments"] == [
        "store is sent as false: answers of this organization are not stored"
    ]
    assert row_of(ask(ASKED, path=RESPONSES)).decision["adjustments"] == []
    assert ask({}, path=CONVERSATIONS).status == 400
    own = f"{RESPONSES}/{first['id']}"
    assert ask(method="GET", path=own).status == 400
    assert ask(method="DELETE", path=own).status == 200


# --- what is free -----------------------------------------------------------------------------


def test_own_response_is_read_and_deleted(
    ask: Asking, vendors: FakeProvider, globex_key: str
) -> None:
    first = ask(ASKED, path=RESPONSES).json
    own = f"{RESPONSES}/{first['id']}"
    assert ask(method="GET", path=own, key=globex_key).status == 404
    assert ask(method="DELETE", path=own, key=globex_key).status == 404
    got = ask(method="GET", path=own)
    row = row_of(got)
    assert got.json["output"] == first["output"]
    assert (row.status, row.cost_nanoeur, row.channel, row.model) == ("ok", 0, "responses", "")
    assert (row.requested_model, row.provider) == ("responses", "openai")
    [item] = ask(method="GET", path=f"{own}/input_items?limit=5&order=asc").json["data"]
    assert vendors.calls[-1].path.endswith("/input_items?limit=5&order=asc")
    assert ask(NEXT | NAMING["item"](item["id"]), path=RESPONSES).status == 200
    assert ask(method="DELETE", path=own).json["deleted"] is True
    assert ask(method="GET", path=own).status == 404
    assert ask(NEXT | {"previous_response_id": first["id"]}, path=RESPONSES).status == 404


def test_stream_of_stored_response_is_refused(ask: Asking, vendors: FakeProvider) -> None:
    first = ask(ASKED, path=RESPONSES).json
    reply = ask(method="GET", path=f"{RESPONSES}/{first['id']}?stream=true")
    assert error(reply)[1]["message"].startswith('Unknown parameter "stream". Known parameters')


def test_count_of_tokens_is_free_and_knows_ids(ask: Asking, vendors: FakeProvider) -> None:
    vendors.answers(input_tokens=700, output_tokens=100)
    first = ask(ASKED, path=RESPONSES).json
    named = {"previous_response_id": first["id"]}
    reply = ask(NEXT | named, path=f"{RESPONSES}/input_tokens")
    row = row_of(reply)
    assert reply.json["input_tokens"] > 800
    assert (row.status, row.cost_nanoeur, row.channel) == ("ok", 0, "responses.input_tokens")
    unknown = {"previous_response_id": "resp_never"}
    assert ask(NEXT | unknown, path=f"{RESPONSES}/input_tokens").status == 404


def test_compaction_is_held_and_charged(
    ask: Asking, vendors: FakeProvider, acme: Organization
) -> None:
    limited(acme)
    vendors.answers(input_tokens=20_000, output_tokens=100)
    first = ask(ASKED, path=RESPONSES).json
    named = {"model": MODEL, "previous_response_id": first["id"]}
    vendors.answers(input_tokens=20_100, output_tokens=1_000)
    reply = ask(named, path=f"{RESPONSES}/compact")
    row = row_of(reply)
    assert reply.json["object"] == "response.compaction"
    assert (row.status, row.channel) == ("ok", "responses.compact")
    # 20,100 x 2.50 and 1,000 x 15 USD per million, at 1.10 USD per EUR.
    assert row.cost_nanoeur == 59_318_182
    assert row.cost_nanoeur <= hold_of(reply)
    assert vendors.calls[-1].body == named | {
        "service_tier": "default",
        "prompt_cache_key": vendors.calls[-1].body["prompt_cache_key"],
    }
    PolicyFactory.create(org=acme, max_output_tokens=100)
    status, shown = error(ask(named, path=f"{RESPONSES}/compact"))
    assert status == 400
    assert "a policy limits output tokens" in shown["message"]


def test_free_call_needs_what_any_call_needs(
    ask: Asking, vendors: FakeProvider, acme: Organization, make_key: Callable[..., str]
) -> None:
    response = ask(ASKED, path=RESPONSES).json["id"]
    conversation = ask({}, path=CONVERSATIONS).json["id"]
    free: list[dict[str, Any]] = [
        {"path": CONVERSATIONS, "body": {}},
        {"path": f"{CONVERSATIONS}/{conversation}", "method": "GET"},
        {"path": f"{RESPONSES}/{response}", "method": "DELETE"},
        {"path": f"{RESPONSES}/input_tokens", "body": NEXT | {"conversation": conversation}},
    ]
    sent, reads = len(vendors.calls), make_key(acme, "reads", permissions="read")
    policy = PolicyFactory.create(org=acme, required_dimensions=["team_id"])
    for call in free:
        assert ask(**call, key="").status == 401
        assert ask(**call, key=reads).status == 403
        assert "teamId must be given" in error(ask(**call))[1]["message"]
    policy.delete()
    change_organization(org=acme, ai_gateway_enabled=False)
    for call in free:
        assert error(ask(**call))[1]["code"] == "gateway_disabled"
    assert len(vendors.calls) == sent


@pytest.mark.parametrize("body", [{"instructions": "x"}, {"items": [{"file_id": "file_1"}]}])
def test_conversation_takes_only_what_is_measured(
    body: dict[str, Any], ask: Asking, vendors: FakeProvider
) -> None:
    assert ask(body, path=CONVERSATIONS).status in (400, 404)
    assert not vendors.calls


# --- conversations ----------------------------------------------------------------------------


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
    # The first one has ended, and what it left is not known.
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

"""What the Responses API keeps: the next turn by id, and what is free."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest
from django.utils.timezone import now

from costs.ledger.connect import open_store
from gateway.call.kept import rows
from gateway.core import kept
from gateway.models import KeptId
from orgs.models import Organization
from orgs.settings.operations import change_organization
from tests.factories import PolicyFactory
from tests.fake_provider.thread import FakeProvider
from tests.gateway.attempts import row_of
from tests.gateway.conftest import Asking
from tests.gateway.http.kept_calls import (
    ASKED,
    CONVERSATIONS,
    MODEL,
    NAMING,
    NEXT,
    RESPONSES,
    error,
    hold_of,
    limited,
)

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.both_databases,
    pytest.mark.usefixtures("kept_prices"),
]

TOOL = {"type": "function", "name": "weather", "parameters": {"type": "object"}}
CALLS = ({"name": "weather", "arguments": {"city": "Paris"}},)


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
    status, shown = error(ask(named | {"stream": True}, path=f"{RESPONSES}/compact"))
    assert (status, len(vendors.calls)) == (400, 2)
    assert "stream is not supported" in shown["message"]
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

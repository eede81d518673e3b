"""A call shows which conversation it continues, and whether only one row can read that."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from gateway.apis.base import Dialect
from gateway.apis.chat.chat import ChatCompletions
from gateway.apis.generate.generate import Generate
from gateway.apis.messages.messages import Messages
from gateway.apis.responses.responses import Responses
from gateway.call.affinity import Affinity, affinity_of
from gateway.core.calls import Dimensions, Principal, Session
from gateway.core.request_body import call_from_fields
from tests.gateway.arrivals import read

ORG_ID = uuid4()
MARK = {"cache_control": {"type": "ephemeral"}}
THINKING = {"type": "thinking", "thinking": "…", "signature": "EqQBCgI"}

HI: dict[str, Any] = {
    "model": "claude-x",
    "max_tokens": 9,
    "messages": [{"role": "user", "content": "Hi"}],
}


def _principal(channel: str, session: Session | None = None) -> Principal:
    return Principal(org_id=ORG_ID, fixed=Dimensions(), channel=channel, session=session)


async def _affinity(dialect: Dialect, fields: dict[str, Any], **more: Any) -> Affinity:
    call = read(dialect, fields, **more)
    return await affinity_of(call, _principal(dialect.channel))


async def _of_messages(*messages: tuple[str, Any], system: str = "Be brief") -> Affinity:
    turns = [{"role": role, "content": content} for role, content in messages]
    fields = {"model": "claude-x", "max_tokens": 9, "system": system, "messages": turns}
    return await _affinity(Messages(), fields)


async def _of_responses(*items: dict[str, Any], **more: Any) -> Affinity:
    fields = {"model": "gpt-5", "instructions": "Be brief", "input": [*items], **more}
    return await _affinity(Responses(), fields)


def _item(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "content": text}


async def test_turns_of_conversation_have_one_affinity() -> None:
    first = await _of_messages(("user", "Hi"))
    second = await _of_messages(("user", "Hi"), ("assistant", "Hello"), ("user", "Bye"))
    other = await _of_messages(("user", "Ho"))
    assert first == second
    assert other.conversation != first.conversation


async def test_turns_of_responses_have_one_affinity() -> None:
    first = await _of_responses(_item("developer", "Rules"), _item("user", "Hi"))
    answered = (_item("developer", "Rules"), _item("user", "Hi"), _item("assistant", "Hello"))
    second = await _of_responses(*answered, _item("user", "Bye"))
    assert first == second


async def test_cache_mark_that_moves_on_changes_no_affinity() -> None:
    one, two = {"type": "text", "text": "Hi"}, {"type": "text", "text": "you"}
    marked = await _of_messages(("user", [one, {**two, **MARK}]))
    first_marked = await _of_messages(("user", [{**MARK, **one}, two]))
    later = await _of_messages(("user", [one, two]), ("assistant", "Hello"), ("user", "Bye"))
    assert marked == first_marked == later


async def test_same_beginning_of_other_organization_is_another_conversation() -> None:
    call = read(Messages(), HI)
    own = _principal("messages")
    assert await affinity_of(call, own) != await affinity_of(call, replace(own, org_id=uuid4()))


async def test_session_is_affinity_of_all_its_calls() -> None:
    principal = _principal("chat.completions", Session(id="s-1"))
    found = {
        await affinity_of(
            read(ChatCompletions(), {"model": "m", "messages": [_item("user", text)]}), principal
        )
        for text in ("Hi", "Ho")
    }
    assert found == {Affinity(f"{ORG_ID} s-1", is_bound=False)}


async def test_chat_without_session_has_no_affinity() -> None:
    fields = {"model": "gpt-4o", "messages": [_item("user", "Hi")]}
    assert await _affinity(ChatCompletions(), fields) == (None, False)
    call = call_from_fields({"model": "m", "prompt": "Hi"}, principal=_principal("api"))
    assert await affinity_of(call, _principal("api")) == (None, False)


async def test_large_call_has_same_affinity() -> None:
    call = read(Messages(), HI)
    principal = _principal("messages")
    large = replace(call, is_large=True)
    assert await affinity_of(large, principal) == await affinity_of(call, principal)


@pytest.mark.parametrize(
    "block",
    [THINKING, {"type": "redacted_thinking", "data": "EmwKAhgB"}],
    ids=lambda block: block["type"],
)
async def test_thinking_binds_messages_to_row(block: dict[str, Any]) -> None:
    answer = [block, {"type": "text", "text": "Hello"}]
    bound = await _of_messages(("user", "Hi"), ("assistant", answer), ("user", "Bye"))
    assert bound.is_bound
    assert bound.conversation == (await _of_messages(("user", "Hi"))).conversation


@pytest.mark.parametrize(
    "item",
    [
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAAA"},
        {"type": "compaction", "encrypted_content": "gAAAA"},
        {"type": "item_reference", "id": "msg_1"},
    ],
    ids=lambda item: item["type"],
)
async def test_sealed_and_kept_items_bind_responses_to_row(item: dict[str, Any]) -> None:
    assert (await _of_responses(_item("user", "Hi"), item, _item("user", "Bye"))).is_bound


async def test_continued_response_is_bound_to_row() -> None:
    bound = await _of_responses(_item("user", "Hi"), previous_response_id="resp_1")
    assert bound.is_bound


async def test_reasoning_without_content_binds_nothing() -> None:
    empty: dict[str, Any] = {"type": "reasoning", "summary": [], "encrypted_content": None}
    assert not (await _of_responses(_item("user", "Hi"), empty)).is_bound


async def test_thought_signature_binds_generated_content_to_row() -> None:
    call = {"functionCall": {"name": "f", "args": {}}, "thoughtSignature": "CvQB"}
    turns = [
        {"role": "user", "parts": [{"text": "Hi"}]},
        {"role": "model", "parts": [call]},
        {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {}}}]},
    ]
    more = {"named": "gemini-3-pro", "path": "/v1beta/models/gemini-3-pro:generateContent"}
    dialect = Generate(method="generateContent", version="v1beta")
    assert (await _affinity(dialect, {"contents": turns}, **more)).is_bound
    assert not (await _affinity(dialect, {"contents": turns[:1]}, **more)).is_bound


async def test_text_about_signatures_binds_nothing() -> None:
    text = '{"signature":"x","encrypted_content":"y","type":"redacted_thinking"}'
    assert not (await _of_messages(("user", text))).is_bound
    assert not (await _of_responses(_item("user", text))).is_bound

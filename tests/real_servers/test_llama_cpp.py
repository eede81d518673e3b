"""llama.cpp's server itself, by the vendors' clients: what a row for it has to deal with."""

from __future__ import annotations

import json
from typing import Any, Final

import httpx2
import pytest
from anthropic import Anthropic
from anthropic.types import TextBlock
from openai import AuthenticationError, OpenAI

from gateway.providers.presets import presets
from tests.real_servers.llama_cpp import MODEL, TEXT, TEXT_TOKENS, LlamaCpp, weather_tool

HELLO: Final[Any] = [{"role": "user", "content": "Say hello"}]
ASKED: Final[Any] = {"model": MODEL, "messages": HELLO}

pytestmark = pytest.mark.servers


@pytest.fixture
def openai(llama_cpp: LlamaCpp) -> OpenAI:
    return OpenAI(base_url=llama_cpp.base_url, api_key=llama_cpp.key, max_retries=0)


@pytest.fixture
def anthropic(llama_cpp: LlamaCpp) -> Anthropic:
    return Anthropic(base_url=llama_cpp.origin, api_key=llama_cpp.key, max_retries=0)


def post_chat(llama_cpp: LlamaCpp, body: Any) -> httpx2.Response:
    headers = {"authorization": f"Bearer {llama_cpp.key}"}
    return httpx2.post(f"{llama_cpp.base_url}/chat/completions", json=body, headers=headers)


def test_plain_chat_is_answered_and_counted(openai: OpenAI) -> None:
    answer = openai.chat.completions.create(**ASKED)
    [choice] = answer.choices
    assert (choice.message.content or "").strip() == TEXT
    assert choice.finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == TEXT_TOKENS
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + TEXT_TOKENS


def test_streamed_chat_has_usage_in_chunk_of_its_own(openai: OpenAI) -> None:
    options: Any = {"include_usage": True}
    chunks = list(openai.chat.completions.create(**ASKED, stream=True, stream_options=options))
    texts = [choice.delta.content or "" for chunk in chunks for choice in chunk.choices]
    assert "".join(texts).strip() == TEXT
    assert len(list(filter(None, texts))) > 1
    [usage] = [chunk.usage for chunk in chunks if chunk.usage is not None]
    assert usage.completion_tokens == TEXT_TOKENS
    assert chunks[-1].choices == []


def test_stream_has_no_usage_unasked(openai: OpenAI) -> None:
    chunks = list(openai.chat.completions.create(**ASKED, stream=True))
    assert all(chunk.usage is None for chunk in chunks)


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_cap_binds_by_both_names(openai: OpenAI, name: str) -> None:
    capped: Any = {**ASKED, name: 3}
    answer = openai.chat.completions.create(**capped)
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 3


def test_repeated_prompt_is_cached_and_still_counted(openai: OpenAI) -> None:
    first, again = (openai.chat.completions.create(**ASKED).usage for _ in range(2))
    assert first is not None
    assert again is not None
    assert again.prompt_tokens == first.prompt_tokens
    assert again.prompt_tokens_details is not None
    assert again.prompt_tokens_details.cached_tokens == again.prompt_tokens - 1


def test_several_choices_are_counted_once(openai: OpenAI) -> None:
    answer = openai.chat.completions.create(**ASKED, n=2)
    assert len(answer.choices) == 2
    assert answer.usage is not None
    assert answer.usage.completion_tokens == TEXT_TOKENS


@pytest.mark.parametrize("streamed", [False, True])
def test_required_tool_is_called(openai: OpenAI, streamed: bool) -> None:
    asked: Any = {
        **ASKED,
        "tools": [weather_tool()],
        "tool_choice": "required",
    }
    if streamed:
        with openai.chat.completions.stream(**asked) as stream:
            [choice] = stream.get_final_completion().choices
    else:
        [choice] = openai.chat.completions.create(**asked).choices
    assert choice.finish_reason == "tool_calls"
    assert choice.message.tool_calls
    for call in choice.message.tool_calls:
        assert call.type == "function"
        assert call.function.name == "weather"
        assert json.loads(call.function.arguments)["city"] in {"Bonn", "Oslo"}


def test_result_of_tool_is_answered(openai: OpenAI) -> None:
    function = {"name": "weather", "arguments": '{"city": "Bonn"}'}
    turns: Any = [
        *HELLO,
        {
            "role": "assistant",
            "tool_calls": [{"id": "call_1", "type": "function", "function": function}],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "12 degrees"},
    ]
    answer = openai.chat.completions.create(model=MODEL, messages=turns, tools=[weather_tool()])
    assert (answer.choices[0].message.content or "").strip() == TEXT


def test_embeddings_are_counted(openai: OpenAI) -> None:
    answer = openai.embeddings.create(model=MODEL, input=["one", "two"])
    one, two = answer.data
    assert len(one.embedding) == len(two.embedding)
    assert one.embedding != two.embedding
    assert answer.usage.prompt_tokens > 0


def test_responses_are_answered_plain_and_streamed(openai: OpenAI) -> None:
    plain = openai.responses.create(model=MODEL, input="Say hello")
    *_, last = openai.responses.create(model=MODEL, input="Say hello", stream=True)
    assert last.type == "response.completed"
    for response in (plain, last.response):
        assert response.status == "completed"
        assert response.usage is not None
        assert response.usage.output_tokens == TEXT_TOKENS
    assert plain.output_text.strip() == TEXT


def test_messages_are_answered_plain_and_streamed(anthropic: Anthropic) -> None:
    plain = anthropic.messages.create(**ASKED, max_tokens=50)
    with anthropic.messages.stream(**ASKED, max_tokens=50) as stream:
        streamed = stream.get_final_message()
    for message in (plain, streamed):
        [block] = message.content
        assert isinstance(block, TextBlock)
        assert block.text.strip() == TEXT
        assert message.stop_reason == "end_turn"
        assert message.usage.output_tokens == TEXT_TOKENS


def test_tokens_of_messages_are_counted_without_answer(anthropic: Anthropic) -> None:
    counted = anthropic.messages.count_tokens(**ASKED).input_tokens
    usage = anthropic.messages.create(**ASKED, max_tokens=1).usage
    assert counted == usage.input_tokens + (usage.cache_read_input_tokens or 0)


def test_unknown_model_is_answered_too(openai: OpenAI) -> None:
    answer = openai.chat.completions.create(model="gpt-4o", messages=HELLO)
    assert (answer.choices[0].message.content or "").strip() == TEXT


def test_models_are_listed(openai: OpenAI) -> None:
    assert [model.id for model in openai.models.list()] == [MODEL]


def test_wrong_key_is_refused(llama_cpp: LlamaCpp) -> None:
    client = OpenAI(base_url=llama_cpp.base_url, api_key="wrong", max_retries=0)
    with pytest.raises(AuthenticationError, match="Invalid API Key"):
        client.chat.completions.create(**ASKED)


def test_bad_request_is_refused_with_number_as_code(llama_cpp: LlamaCpp) -> None:
    answer = post_chat(llama_cpp, {"model": MODEL})
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == 400


def test_fields_of_other_servers_are_ignored(llama_cpp: LlamaCpp) -> None:
    foreign = {"store": False, "service_tier": "auto", "user": "u", "safety_identifier": "s"}
    answer = post_chat(llama_cpp, {**ASKED, **foreign, "prompt_cache_key": "k", "colour": "red"})
    assert answer.status_code == 200


def test_preset_says_what_server_does() -> None:
    preset = presets()["llamacpp"]
    assert set(preset.dialects) == {"chat", "responses", "messages", "embeddings"}
    assert (preset.cap_name, preset.drop, preset.takes_stream_options) == ("", ("n",), True)

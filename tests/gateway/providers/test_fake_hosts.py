"""What the fakes of other servers answer, read by the vendors' own clients."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from gateway.providers.presets import ServerPreset, presets
from tests.fake_provider import HOSTS
from tests.gateway.providers.fake_hosts import (
    HELLO,
    WEATHER,
    Running,
    anthropic_at,
    chat_body,
    key_of,
    openai_at,
    post,
    serving,
)

CHAT = serving("/chat/completions")
MESSAGES = serving("/v1/messages")
RESPONSES = serving("/responses")
EMBEDDINGS = serving("/embeddings")
# Where a stream has its usage unasked: in a chunk of its own, or in the one that finishes.
UNASKED = {"x-ai", "openrouter", "vertex", "deepseek", "together", "fireworks"}


@pytest.mark.parametrize("name", CHAT)
def test_plain_chat_has_text_and_usage(running: Running, name: str) -> None:
    with running(name) as fake:
        answer = openai_at(fake, name).chat.completions.create(
            model=HOSTS[name].models[0], messages=HELLO
        )
    assert answer.choices[0].message.content == "Say hello to all"
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (4, 4)


@pytest.mark.parametrize("with_usage", [True, False])
@pytest.mark.parametrize("name", CHAT)
def test_streamed_chat_has_usage_once(running: Running, name: str, with_usage: bool) -> None:
    options: Any = {"stream_options": {"include_usage": True}} if with_usage else {}
    with running(name) as fake:
        stream = openai_at(fake, name).chat.completions.create(
            model=HOSTS[name].models[0], messages=HELLO, stream=True, **options
        )
        chunks = list(stream)
    texts = [choice.delta.content for chunk in chunks for choice in chunk.choices]
    assert "".join(text or "" for text in texts) == "Say hello to all"
    reported = [chunk.usage for chunk in chunks if chunk.usage is not None]
    assert len(reported) == (with_usage or name in UNASKED)


@pytest.mark.parametrize("name", CHAT)
def test_chat_calls_tools(running: Running, name: str) -> None:
    with running(name) as fake:
        fake.answers(tool_calls=[{"name": "weather", "arguments": {"city": "Bonn"}}])
        answer = openai_at(fake, name).chat.completions.create(
            model=HOSTS[name].models[0],
            messages=HELLO,
            tools=[WEATHER],
            tool_choice="required",
        )
    [choice] = answer.choices
    assert choice.finish_reason == "tool_calls"
    assert choice.message.tool_calls is not None
    [call] = choice.message.tool_calls
    assert call.type == "function"
    assert call.function.arguments == '{"city":"Bonn"}'


@pytest.mark.parametrize("name", MESSAGES)
def test_messages_are_answered_plain_and_streamed(running: Running, name: str) -> None:
    model = HOSTS[name].models[-1]
    with running(name) as fake:
        client = anthropic_at(fake, name)
        plain = client.messages.create(model=model, max_tokens=50, messages=HELLO)
        with client.messages.stream(model=model, max_tokens=50, messages=HELLO) as stream:
            streamed = stream.get_final_message()
    for message in (plain, streamed):
        assert [block.type for block in message.content] == ["text"]
        assert (message.usage.input_tokens, message.usage.output_tokens) == (4, 4)


@pytest.mark.parametrize("name", RESPONSES)
def test_responses_are_answered_plain_and_streamed(running: Running, name: str) -> None:
    model = HOSTS[name].models[0]
    with running(name) as fake:
        client = openai_at(fake, name)
        plain = client.responses.create(model=model, input="Say hello")
        events = list(client.responses.create(model=model, input="Say hello", stream=True))
    assert plain.output_text == "Say hello"
    assert plain.usage is not None
    assert plain.usage.output_tokens == 2
    assert events[-1].type == "response.completed"
    assert events[-1].response.output_text == "Say hello"


@pytest.mark.parametrize("name", EMBEDDINGS)
def test_embeddings_are_counted(running: Running, name: str) -> None:
    with running(name) as fake:
        answer = openai_at(fake, name).embeddings.create(
            model=HOSTS[name].models[-1], input=["one two", "three"]
        )
    assert [row.index for row in answer.data] == [0, 1]
    assert answer.usage.prompt_tokens == 3


@pytest.mark.parametrize("method", ["generateContent", "streamGenerateContent"])
def test_vertex_generates_content_for_token(running: Running, method: str) -> None:
    with running("vertex") as fake:
        path = f"/../../publishers/google/models/gemini-2.5-flash:{method}"
        body = {"contents": [{"role": "user", "parts": [{"text": "Say hello"}]}]}
        answer = post(fake, "vertex", path, body)
    last = answer.json()[-1] if method.startswith("stream") else answer.json()
    assert last["usageMetadata"]["candidatesTokenCount"] == 2


def test_deepseek_reports_what_its_cache_had(running: Running) -> None:
    with running("deepseek") as fake:
        fake.answers(times=2, input_tokens=100, cached_tokens=64)
        plain = post(fake, "deepseek", "/chat/completions", chat_body("deepseek")).json()
        streamed = post(fake, "deepseek", "/chat/completions", chat_body("deepseek", stream=True))
    usage = plain["usage"]
    assert (usage["prompt_cache_hit_tokens"], usage["prompt_cache_miss_tokens"]) == (64, 36)
    assert '"prompt_cache_hit_tokens":64' in streamed.text


def test_openrouter_reports_cost_and_comments_its_streams(running: Running) -> None:
    with running("openrouter") as fake:
        plain = post(fake, "openrouter", "/chat/completions", chat_body("openrouter")).json()
        stream = chat_body("openrouter", stream=True)
        streamed = post(fake, "openrouter", "/chat/completions", stream).text
    assert plain["usage"]["cost"] == 8 * 0.000002
    assert streamed.startswith(": OPENROUTER PROCESSING\n\n")
    assert '"native_finish_reason":"stop"' in streamed
    assert '"cost":1.6e-05' in streamed


def test_groq_reports_usage_of_streams_in_own_field(running: Running) -> None:
    with running("groq") as fake:
        body = chat_body("groq", stream=True)
        streamed = post(fake, "groq", "/chat/completions", body).text
    assert '"x_groq":{"id":"req_fake","usage":{' in streamed
    assert streamed.count('"usage"') == 1


def test_azure_stream_begins_with_filter_results(running: Running) -> None:
    with running("azure") as fake:
        body = chat_body("azure", stream=True)
        first = post(fake, "azure", "/chat/completions", body).text.partition("\n")[0]
    assert '"choices":[]' in first
    assert '"model":""' in first
    assert '"prompt_filter_results"' in first


@pytest.mark.parametrize("name", CHAT)
def test_usage_can_be_missing(running: Running, name: str) -> None:
    with running(name) as fake:
        fake.answers(times=2, no_usage=True)
        plain = post(fake, name, "/chat/completions", chat_body(name))
        body = chat_body(name, stream=True, stream_options={"include_usage": True})
        streamed = post(fake, name, "/chat/completions", body)
    assert "usage" not in plain.json()
    assert '"usage"' not in streamed.text


@pytest.mark.parametrize("name", CHAT)
def test_rate_limit_is_in_form_of_host(running: Running, name: str) -> None:
    with running(name) as fake:
        fake.answers(status=429, headers={"retry-after": "7"})
        answer = post(fake, name, "/chat/completions", chat_body(name))
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")
    assert "The fake provider answers 429" in answer.text


@pytest.mark.parametrize("name", HOSTS)
def test_models_are_listed_where_preset_says(running: Running, name: str) -> None:
    preset = presets()[name]
    with running(name) as fake:
        url = f"{fake.base_url(name)}/models"
        answer = httpx2.get(url, headers={"authorization": f"Bearer {key_of(fake, name)}"})
    assert (answer.status_code == 200) is preset.lists_models


def test_list_of_together_is_bare_array(running: Running) -> None:
    with running("together") as fake:
        headers = {"authorization": f"Bearer {HOSTS['together'].key}"}
        listed = httpx2.get(f"{fake.base_url('together')}/models", headers=headers).json()
    assert [model["id"] for model in listed] == list(HOSTS["together"].models)


def _paths(preset: ServerPreset, base_url: str) -> dict[str, str]:
    """Return the URL of each dialect of a preset."""
    of_openai = {
        "chat": "/chat/completions",
        "responses": "/responses",
        "embeddings": "/embeddings",
    }
    urls = {}
    for dialect in preset.dialects:
        base = preset.base_url_of(dialect, base_url).rstrip("/")
        if dialect == "messages":
            base = base.removesuffix("/v1")
        urls[dialect] = (
            base
            + {
                **of_openai,
                "messages": "/v1/messages",
                "generate": "/models/gemini-2.5-flash:generateContent",
            }[dialect]
        )
    return urls


@pytest.mark.parametrize("name", HOSTS)
def test_dialects_of_preset_are_served(running: Running, name: str) -> None:
    with running(name) as fake:
        headers = {"authorization": f"Bearer {key_of(fake, name)}"}
        for dialect, url in _paths(presets()[name], fake.base_url(name)).items():
            answer = httpx2.post(url, json={}, headers=headers)
            assert answer.status_code == 400, (dialect, url, answer.text)

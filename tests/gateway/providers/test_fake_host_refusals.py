"""What the fakes of other servers refuse, as the real ones do."""

from __future__ import annotations

import json
from typing import Any

import pytest
from anthropic import AnthropicFoundry
from anthropic.types.message_create_params import MessageCreateParamsBase
from openai import APIStatusError
from openai.types.chat.completion_create_params import CompletionCreateParamsBase
from openai.types.responses.response_create_params import ResponseCreateParamsBase

from gateway.providers.presets import presets
from tests.fake_provider import HOSTS
from tests.fake_provider.hosts import fields
from tests.gateway.providers.fake_hosts import (
    HELLO,
    WEATHER,
    Running,
    chat_body,
    openai_at,
    post,
    serving,
)

CHATS = serving("/chat/completions")
WITH_KEYS = [name for name in CHATS if HOSTS[name].credentials]
WITH_MODELS = [name for name in CHATS if HOSTS[name].unknown_model]


@pytest.mark.parametrize(
    ("known", "of_sdk"),
    [
        (fields.CHAT, CompletionCreateParamsBase),
        (fields.RESPONSES, ResponseCreateParamsBase),
        (fields.MESSAGES, MessageCreateParamsBase),
    ],
)
def test_fields_are_those_of_sdk(known: frozenset[str], of_sdk: type) -> None:
    assert known == {*of_sdk.__annotations__, "stream"}


@pytest.mark.parametrize("name", WITH_KEYS)
def test_wrong_key_is_refused(running: Running, name: str) -> None:
    with running(name) as fake:
        answer = post(fake, name, "/chat/completions", chat_body(name), authorization="Bearer no")
        assert answer.status_code == HOSTS[name].wrong_key_status
        assert all(call.billed is None for call in fake.calls)


@pytest.mark.parametrize("name", ["ollama", "tgi"])
def test_local_servers_need_no_key(running: Running, name: str) -> None:
    with running(name) as fake:
        answer = post(fake, name, "/chat/completions", chat_body(name), accept="*/*")
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("name", "header", "status"),
    [
        ("azure", "api-key", 200),
        ("azure", "x-api-key", 401),
        ("groq", "api-key", 401),
        ("groq", "x-api-key", 401),
        ("bedrock", "x-api-key", 403),
        ("llamacpp", "x-api-key", 200),
    ],
)
def test_key_is_taken_in_its_header_only(
    running: Running, name: str, header: str, status: int
) -> None:
    with running(name) as fake:
        headers = {header: HOSTS[name].key}
        answer = post(fake, name, "/chat/completions", chat_body(name), **headers)
    assert answer.status_code == status


@pytest.mark.parametrize("name", WITH_MODELS)
def test_unknown_model_is_refused(running: Running, name: str) -> None:
    with running(name) as fake:
        body = chat_body(name, model="acme/unknown")
        answer = post(fake, name, "/chat/completions", body)
    assert answer.status_code == HOSTS[name].unknown_model_status


def test_azure_names_missing_deployment(running: Running) -> None:
    with running("azure") as fake, pytest.raises(APIStatusError) as refused:
        openai_at(fake, "azure").chat.completions.create(model="gpt-4o-mini", messages=HELLO)
    assert refused.value.status_code == 404
    assert refused.value.code == "DeploymentNotFound"


def test_foundry_serves_deployments_to_its_client(running: Running) -> None:
    host = HOSTS["foundry"]
    with running("foundry") as fake:
        base_url = f"{fake.origin}/anthropic"
        client = AnthropicFoundry(api_key=host.key, base_url=base_url, max_retries=0)
        message = client.messages.create(model="our-claude", max_tokens=9, messages=HELLO)
        sent = {"x-api-key": host.key}
        without_version = post(fake, "foundry", "/messages", {}, **sent)
    assert message.usage.output_tokens == 4
    assert without_version.status_code == 400
    assert "anthropic-version" in without_version.text


@pytest.mark.parametrize("field", sorted(fields.CHAT - {"model", "messages", "stream", "n"}))
def test_groq_refuses_what_its_preset_drops(running: Running, field: str) -> None:
    value: Any = [] if field in {"tools", "functions"} else "x"
    with running("groq") as fake:
        answer = post(fake, "groq", "/chat/completions", chat_body("groq", **{field: value}))
    is_refused = "property" in answer.text
    assert is_refused == (field in presets()["groq"].drop)
    if is_refused:
        sentence = f"property '{field}' is unsupported"
        assert (answer.status_code, answer.json()["error"]["message"]) == (400, sentence)


@pytest.mark.parametrize("field", ["name", "reasoning_content"])
def test_groq_refuses_fields_of_messages(running: Running, field: str) -> None:
    assert f"messages[].{field}" in presets()["groq"].drop
    turns = [*HELLO, {"role": "assistant", "content": "Hi", field: "x"}, *HELLO]
    with running("groq") as fake:
        answer = post(fake, "groq", "/chat/completions", chat_body("groq", messages=turns))
    assert answer.status_code == 400
    assert f"('messages.1' : property '{field}' is unsupported)" in answer.text


@pytest.mark.parametrize(
    ("name", "changes", "sentence"),
    [
        ("azure", {"top_k": 1}, "Unrecognized request argument supplied: top_k"),
        ("groq", {"n": 2}, "'n' : number must be at most 1"),
        ("x-ai", {"presence_penalty": 0}, "Argument not supported on this model: presencePenalty"),
        ("x-ai", {"stop": ["."]}, "Argument not supported on this model: stop"),
        ("vllm", {"tools": [WEATHER]}, '"auto" tool choice requires --enable-auto-tool-choice'),
        ("vertex", {"model": "gemini-2.5-flash"}, "`model` must be {publisher}/{model}"),
        (
            "fireworks",
            {"max_tokens": 1, "max_completion_tokens": 1},
            "Cannot specify both max_tokens and max_completion_tokens",
        ),
    ],
)
def test_field_is_refused(
    running: Running, name: str, changes: dict[str, Any], sentence: str
) -> None:
    with running(name) as fake:
        answer = post(fake, name, "/chat/completions", chat_body(name, **changes))
    assert answer.status_code == 400
    assert json.dumps(sentence)[1:-1] in answer.text


@pytest.mark.parametrize("name", ["ollama", "deepseek", "together", "lmstudio", "tgi"])
def test_cap_binds_by_one_name_only(running: Running, name: str) -> None:
    assert presets()[name].cap_name == "max_tokens"
    with running(name) as fake:
        capped = post(fake, name, "/chat/completions", chat_body(name, max_tokens=2)).json()
        other = chat_body(name, max_completion_tokens=2)
        uncapped = post(fake, name, "/chat/completions", other).json()
    assert capped["usage"]["completion_tokens"] == 2
    assert uncapped["usage"]["completion_tokens"] == 4


@pytest.mark.parametrize("field", ["previous_response_id", "conversation"])
def test_ollama_keeps_no_responses(running: Running, field: str) -> None:
    with running("ollama") as fake:
        body = {"model": HOSTS["ollama"].models[0], "input": "Hi", field: "resp_1"}
        answer = post(fake, "ollama", "/responses", body)
    assert answer.status_code == 400
    assert field in answer.text


def test_deepseek_maps_names_of_claude(running: Running) -> None:
    with running("deepseek") as fake:
        body = {"model": "claude-opus-4-6", "max_tokens": 9, "messages": HELLO}
        answer = post(fake, "deepseek", "/anthropic/v1/messages", body)
    assert answer.json()["model"] == "deepseek-v4-pro"


def test_vertex_puts_errors_of_chat_into_list(running: Running) -> None:
    with running("vertex") as fake:
        body = chat_body("vertex", model="google/unknown")
        [error] = post(fake, "vertex", "/chat/completions", body).json()
    assert error["error"]["status"] == "NOT_FOUND"

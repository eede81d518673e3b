"""Groq, DeepSeek, xAI, OpenRouter, Together and Fireworks."""

from __future__ import annotations

from typing import Any, Final

from tests.fake_provider.behaviour import Answer
from tests.fake_provider.formats.chat import openai_error
from tests.fake_provider.formats.messages import anthropic_error
from tests.fake_provider.hosts import errors, fields
from tests.fake_provider.hosts.host import (
    Body,
    FakeHost,
    HostEndpoint,
    model_object,
    refuses,
    refuses_unknown,
)
from tests.fake_provider.hosts.shapes import (
    EMBEDDINGS,
    MESSAGES,
    RESPONSES,
    SMALL_MESSAGES,
    ChatShape,
    cached_usage,
    plain_usage,
)

# --- Groq: https://console.groq.com/docs/openai, https://console.groq.com/docs/api-reference


def _groq_usage(answer: Answer) -> dict[str, Any]:
    times = {"queue_time": 0.01, "prompt_time": 0.002, "completion_time": 0.03, "total_time": 0.032}
    return cached_usage(answer) | times


def _groq_finish(answer: Answer, chunk: Any) -> dict[str, Any]:
    """The last chunk has the usage in a field of Groq's own, whether asked for or not."""
    usage = {} if answer.behaviour.no_usage else {"usage": _groq_usage(answer)}
    return {**chunk, "x_groq": {"id": "req_fake"} | usage}


def _groq_turns(body: Body) -> str | None:
    for place, turn in enumerate(body["messages"]):
        name = next((name for name in turn if name not in fields.GROQ_TURN), None)
        if name is not None:
            return (
                f"'messages.{place}' : for 'role:{turn['role']}' the following must be satisfied"
                f"[('messages.{place}' : property '{name}' is unsupported)]"
            )
    return None


def _groq_choices(body: Body) -> str | None:
    return None if body.get("n") in {None, 1} else "'n' : number must be at most 1"


_GROQ_CHAT: Final = ChatShape(
    usage=_groq_usage, head={"service_tier": "on_demand"}, finish=_groq_finish
)
GROQ: Final = FakeHost(
    name="groq",
    path="/openai/v1",
    endpoints={
        "/openai/v1/chat/completions": HostEndpoint(
            format=_GROQ_CHAT.format(),
            errors=openai_error,
            checks=(
                refuses_unknown(fields.GROQ_CHAT, "property '{}' is unsupported"),
                _groq_turns,
                _groq_choices,
            ),
        ),
        "/openai/v1/responses": HostEndpoint(format=RESPONSES, errors=openai_error),
    },
    models=("llama-3.3-70b-versatile", "openai/gpt-oss-20b"),
    wrong_key=lambda status, _: openai_error(status, "Invalid API Key"),
    unknown_model="The model `{}` does not exist or you do not have access to it.",
    models_path="/openai/v1/models",
)

# --- DeepSeek: https://api-docs.deepseek.com/api/create-chat-completion


def _deepseek_usage(answer: Answer) -> dict[str, Any]:
    """prompt_tokens is the sum of hits and misses; the newer details repeat the hits."""
    hits = answer.behaviour.cached_tokens
    return cached_usage(answer) | {
        "prompt_cache_hit_tokens": hits,
        "prompt_cache_miss_tokens": answer.input_tokens - hits,
    }


_DEEPSEEK_CHAT: Final = HostEndpoint(
    format=ChatShape(
        usage=_deepseek_usage, usage_in="finish", head={"service_tier": None}
    ).format(),
    errors=openai_error,
    reads=fields.DEEPSEEK_CHAT,
)
DEEPSEEK: Final = FakeHost(
    name="deepseek",
    path="",
    endpoints={
        "/chat/completions": _DEEPSEEK_CHAT,
        "/v1/chat/completions": _DEEPSEEK_CHAT,
        "/anthropic/v1/messages": HostEndpoint(
            format=MESSAGES, errors=anthropic_error, reads=fields.MESSAGES - {"container"}
        ),
    },
    models=("deepseek-flash", "deepseek-v4-pro"),
    credentials=("authorization", "x-api-key"),
    wrong_key=lambda status, _: openai_error(
        status, "Authentication Fails, Your api key: ****6789 is invalid"
    ),
    unknown_model="Model Not Exist",
    unknown_model_status=400,
    # https://api-docs.deepseek.com/guides/anthropic_api
    renamed={"claude-opus": "deepseek-v4-pro", "claude-": "deepseek-flash"},
    models_path="/models",
)

# --- xAI: https://docs.x.ai/docs/api-reference; a wrong key is a bad request there:
# https://docs.x.ai/docs/key-information/debugging

_UNSUPPORTED: Final = "Argument not supported on this model: {}"


def _camel(check_of: str) -> str:
    first, *others = check_of.split("_")
    return first + "".join(map(str.capitalize, others))


X_AI: Final = FakeHost(
    name="x-ai",
    path="/v1",
    endpoints={
        "/v1/chat/completions": HostEndpoint(
            format=ChatShape(usage=cached_usage, usage_in="always").format(),
            errors=errors.x_ai,
            checks=tuple(
                refuses(name, sentence=_UNSUPPORTED.format(_camel(name)))
                for name in ("presence_penalty", "frequency_penalty", "stop", "reasoning_effort")
            ),
        ),
        "/v1/responses": HostEndpoint(
            format=RESPONSES,
            errors=errors.x_ai,
            checks=(refuses("metadata", sentence=_UNSUPPORTED),),
        ),
    },
    models=("grok-4", "grok-code-fast-1"),
    wrong_key_status=400,
    wrong_key=lambda status, _: errors.x_ai(
        status, "Incorrect API key provided: ke***89. You can obtain an API key from console.x.ai."
    ),
    unknown_model="The model {} does not exist or your team does not have access to it.",
    models_path="/v1/models",
)

# --- OpenRouter: https://openrouter.ai/docs/use-cases/usage-accounting

USD_PER_TOKEN: Final = 0.000002


def _openrouter_usage(answer: Answer) -> dict[str, Any]:
    cost = round((answer.input_tokens + answer.output_tokens) * USD_PER_TOKEN, 9)
    details = {"upstream_inference_cost": None}
    return cached_usage(answer) | {"cost": cost, "is_byok": False, "cost_details": details}


def _openrouter_finish(_: Answer, chunk: Any) -> dict[str, Any]:
    choices = [
        choice | {"native_finish_reason": choice["finish_reason"]} for choice in chunk["choices"]
    ]
    return {**chunk, "choices": choices}


_OPENROUTER_CHAT: Final = ChatShape(
    usage=_openrouter_usage,
    usage_in="always",
    head={"provider": "Acme", "service_tier": None},
    finish=_openrouter_finish,
    # https://openrouter.ai/docs/api-reference/streaming#additional-information
    opening=lambda _: [": OPENROUTER PROCESSING\n\n"],
)
OPENROUTER: Final = FakeHost(
    name="openrouter",
    path="/api/v1",
    endpoints={
        "/api/v1/chat/completions": HostEndpoint(
            format=_OPENROUTER_CHAT.format(), errors=errors.by_number
        ),
        "/api/v1/responses": HostEndpoint(format=RESPONSES, errors=errors.by_number),
        "/api/v1/messages": HostEndpoint(format=MESSAGES, errors=anthropic_error),
        "/api/v1/embeddings": HostEndpoint(format=EMBEDDINGS, errors=errors.by_number),
    },
    models=("openai/gpt-4o-mini", "anthropic/claude-sonnet-4.5"),
    wrong_key=lambda status, _: errors.by_number(status, "No auth credentials found"),
    unknown_model="{} is not a valid model ID",
    unknown_model_status=400,
    models_path="/api/v1/models",
    # https://openrouter.ai/docs/api-reference/list-available-models
    model_list=lambda names: {
        "data": [
            {"id": name, "name": name, "pricing": {"prompt": "0.000002", "completion": "0.000002"}}
            for name in names
        ]
    },
)

# --- Together: https://docs.together.ai/reference/chat-completions-1

TOGETHER: Final = FakeHost(
    name="together",
    path="/v1",
    endpoints={
        "/v1/chat/completions": HostEndpoint(
            format=ChatShape(
                usage=plain_usage, usage_in="finish", head={"service_tier": None}
            ).format(),
            errors=openai_error,
            reads=fields.TOGETHER_CHAT,
        ),
        "/v1/embeddings": HostEndpoint(
            format=EMBEDDINGS, errors=openai_error, reads=frozenset({"model", "input"})
        ),
    },
    models=("openai/gpt-oss-20b", "intfloat/multilingual-e5-large-instruct"),
    wrong_key=lambda status, _: openai_error(status, "Invalid API key provided."),
    unknown_model="Unable to access model {}. Please visit https://api.together.ai/models.",
    models_path="/v1/models",
    # https://docs.together.ai/reference/models: a list without anything around it
    model_list=lambda names: [model_object(name, "Acme") | {"type": "chat"} for name in names],
)

# --- Fireworks: https://docs.fireworks.ai/tools-sdks/openai-compatibility

FIREWORKS: Final = FakeHost(
    name="fireworks",
    path="/inference/v1",
    endpoints={
        "/inference/v1/chat/completions": HostEndpoint(
            format=ChatShape(usage=cached_usage, usage_in="finish").format(),
            errors=openai_error,
            checks=(
                lambda body: (
                    "Cannot specify both max_tokens and max_completion_tokens"
                    if "max_tokens" in body and "max_completion_tokens" in body
                    else None
                ),
            ),
        ),
        "/inference/v1/responses": HostEndpoint(format=RESPONSES, errors=openai_error),
        "/inference/v1/messages": HostEndpoint(format=SMALL_MESSAGES, errors=anthropic_error),
        "/inference/v1/embeddings": HostEndpoint(format=EMBEDDINGS, errors=openai_error),
    },
    models=("accounts/fireworks/models/kimi-k2p5", "nomic-ai/nomic-embed-text-v1.5"),
    wrong_key=lambda status, _: openai_error(status, "The API key you provided is invalid."),
    unknown_model="Model not found, inaccessible, and/or not deployed",
    models_path="/inference/v1/models",
)

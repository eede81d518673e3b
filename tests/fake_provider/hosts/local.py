"""Servers of one's own: Ollama, vLLM, LM Studio, llama.cpp, SGLang, TGI and LiteLLM's proxy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from tests.fake_provider.behaviour import Answer
from tests.fake_provider.formats.chat import openai_error
from tests.fake_provider.formats.common import CREATED_AT
from tests.fake_provider.formats.messages import anthropic_error
from tests.fake_provider.hosts import errors, fields
from tests.fake_provider.hosts.host import (
    Body,
    FakeHost,
    HostEndpoint,
    model_object,
    refuses,
)
from tests.fake_provider.hosts.shapes import (
    EMBEDDINGS,
    MESSAGES,
    MESSAGES_COUNT,
    RESPONSES,
    SMALL_MESSAGES,
    ChatShape,
    cached_usage,
    plain_usage,
)

UNTIERED: Final = {"service_tier": None}

# --- Ollama: https://docs.ollama.com/api/openai-compatibility and its code

_STATELESS: Final = refuses(
    "previous_response_id",
    "conversation",
    sentence="{} is not supported, the Responses API is stateless here",
)
OLLAMA: Final = FakeHost(
    name="ollama",
    path="/v1",
    endpoints={
        "/v1/chat/completions": HostEndpoint(
            format=ChatShape(
                usage=plain_usage, head={"service_tier": None, "system_fingerprint": "fp_ollama"}
            ).format(),
            errors=errors.ollama,
            reads=fields.OLLAMA_CHAT,
        ),
        "/v1/responses": HostEndpoint(
            format=RESPONSES,
            errors=errors.ollama,
            reads=fields.OLLAMA_RESPONSES,
            checks=(_STATELESS,),
        ),
        "/v1/messages": HostEndpoint(
            format=SMALL_MESSAGES, errors=anthropic_error, reads=fields.OLLAMA_MESSAGES
        ),
        "/v1/embeddings": HostEndpoint(
            format=EMBEDDINGS, errors=errors.ollama, reads=fields.OLLAMA_EMBEDDINGS
        ),
    },
    models=("llama3.2:3b", "nomic-embed-text:latest"),
    credentials=(),
    wrong_key=errors.ollama,
    unknown_model="model '{}' not found",
    models_path="/v1/models",
    model_list=lambda names: {
        "object": "list",
        "data": [model_object(name, "library") for name in names],
    },
)

# --- vLLM: https://docs.vllm.ai/en/stable/serving/openai_compatible_server/ and its code


def _vllm_usage(answer: Answer) -> dict[str, Any]:
    """As without --enable-prompt-tokens-details: what was cached is not reported."""
    return plain_usage(answer) | {"prompt_tokens_details": None}


def _vllm_tools(body: Body) -> str | None:
    """As without --enable-auto-tool-choice."""
    if not body.get("tools") or body.get("tool_choice", "auto") != "auto":
        return None
    return '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'


def _vllm_models(names: tuple[str, ...]) -> dict[str, Any]:
    more: dict[str, Any] = {
        "root": "acme/weights",
        "parent": None,
        "max_model_len": 8192,
        "permission": [],
    }
    return {"object": "list", "data": [model_object(name, "vllm") | more for name in names]}


VLLM: Final = FakeHost(
    name="vllm",
    path="/v1",
    endpoints={
        "/v1/chat/completions": HostEndpoint(
            format=ChatShape(usage=_vllm_usage, head=UNTIERED).format(),
            errors=errors.vllm,
            checks=(_vllm_tools,),
        ),
        "/v1/responses": HostEndpoint(format=RESPONSES, errors=errors.vllm),
        "/v1/messages": HostEndpoint(format=SMALL_MESSAGES, errors=anthropic_error),
        "/v1/messages/count_tokens": HostEndpoint(format=MESSAGES_COUNT, errors=anthropic_error),
        "/v1/embeddings": HostEndpoint(format=EMBEDDINGS, errors=errors.vllm),
    },
    models=("acme/weights",),
    wrong_key=lambda status, _: errors.bare(status, "Unauthorized"),
    unknown_model="The model `{}` does not exist.",
    models_path="/v1/models",
    model_list=_vllm_models,
)

# --- LM Studio: https://lmstudio.ai/docs/developer/openai-compat, /anthropic-compat; with a key

LMSTUDIO: Final = FakeHost(
    name="lmstudio",
    path="/v1",
    endpoints={
        "/v1/chat/completions": HostEndpoint(
            format=ChatShape(usage=plain_usage, head=UNTIERED).format(),
            errors=openai_error,
            reads=fields.LMSTUDIO_CHAT,
        ),
        "/v1/responses": HostEndpoint(format=RESPONSES, errors=openai_error),
        "/v1/messages": HostEndpoint(format=SMALL_MESSAGES, errors=anthropic_error),
        "/v1/embeddings": HostEndpoint(format=EMBEDDINGS, errors=openai_error),
    },
    models=("ibm/granite-4-micro", "text-embedding-nomic-embed-text-v1.5"),
    credentials=("authorization", "x-api-key"),
    wrong_key=lambda status, _: openai_error(status, "Malformed LM Studio API token provided"),
    unknown_model='Model "{}" not found',
    models_path="/v1/models",
    model_list=lambda names: {
        "object": "list",
        "data": [
            {"id": name, "object": "model", "owned_by": "organization_owner"} for name in names
        ],
    },
)

# --- llama.cpp: as tests/real_servers measures it; one model, whatever the request names


def _llamacpp_models(names: tuple[str, ...]) -> dict[str, Any]:
    listed = [model_object(name, "llamacpp") | {"meta": {"n_ctx_train": 2048}} for name in names]
    by_its_own_api = [{"name": name, "model": name, "type": "model"} for name in names]
    return {"models": by_its_own_api, "object": "list", "data": listed}


def _llamacpp_usage(answer: Answer) -> dict[str, Any]:
    """Only the first choice is counted."""
    return cached_usage(replace(answer, output_tokens=answer.output_tokens // answer.asked.choices))


LLAMACPP: Final = FakeHost(
    name="llamacpp",
    path="/v1",
    endpoints={
        "/v1/chat/completions": HostEndpoint(
            format=ChatShape(
                usage=_llamacpp_usage, head={"service_tier": None, "timings": {"predicted_n": 7}}
            ).format(),
            errors=errors.llamacpp,
        ),
        "/v1/responses": HostEndpoint(format=RESPONSES, errors=errors.llamacpp),
        "/v1/messages": HostEndpoint(format=MESSAGES, errors=errors.llamacpp),
        "/v1/messages/count_tokens": HostEndpoint(format=MESSAGES_COUNT, errors=errors.llamacpp),
        "/v1/embeddings": HostEndpoint(format=EMBEDDINGS, errors=errors.llamacpp),
    },
    models=("tiny",),
    credentials=("authorization", "x-api-key"),
    wrong_key=lambda status, _: errors.llamacpp(status, "Invalid API Key"),
    unknown_model=None,
    models_path="/v1/models",
    model_list=_llamacpp_models,
)

# --- SGLang: https://docs.sglang.io/docs/basic_usage/openai_api, /anthropic_api

SGLANG: Final = FakeHost(
    name="sglang",
    path="/v1",
    endpoints={
        "/v1/chat/completions": HostEndpoint(
            format=ChatShape(usage=_vllm_usage, head=UNTIERED).format(), errors=errors.sglang
        ),
        "/v1/responses": HostEndpoint(format=RESPONSES, errors=errors.sglang),
        "/v1/messages": HostEndpoint(format=SMALL_MESSAGES, errors=anthropic_error),
        "/v1/messages/count_tokens": HostEndpoint(format=MESSAGES_COUNT, errors=anthropic_error),
        "/v1/embeddings": HostEndpoint(format=EMBEDDINGS, errors=errors.sglang),
    },
    models=("acme/weights",),
    wrong_key=lambda status, _: errors.bare(status, "Unauthorized"),
    unknown_model=None,
    models_path="/v1/models",
    model_list=_vllm_models,
)

# --- TGI: https://huggingface.co/docs/text-generation-inference/messages_api; no key, one model

TGI: Final = FakeHost(
    name="tgi",
    path="/v1",
    endpoints={
        "/v1/chat/completions": HostEndpoint(
            format=ChatShape(usage=plain_usage, head=UNTIERED).format(),
            errors=errors.tgi,
            reads=fields.TGI_CHAT,
        ),
    },
    models=("acme/weights",),
    credentials=(),
    wrong_key=errors.tgi,
    unknown_model=None,
    models_path="/v1/models",
    model_list=lambda names: {
        "object": "list",
        "data": [{"id": n, "object": "model", "created": 0, "owned_by": n} for n in names],
    },
)

# --- LiteLLM's proxy: https://docs.litellm.ai/docs/proxy/user_keys

LITELLM: Final = FakeHost(
    name="litellm",
    path="/v1",
    endpoints={
        "/v1/chat/completions": HostEndpoint(
            format=ChatShape(usage=cached_usage).format(), errors=errors.litellm
        ),
        "/v1/responses": HostEndpoint(format=RESPONSES, errors=errors.litellm),
        "/v1/messages": HostEndpoint(format=MESSAGES, errors=errors.litellm),
        "/v1/embeddings": HostEndpoint(format=EMBEDDINGS, errors=errors.litellm),
    },
    models=("team-model",),
    credentials=("authorization", "x-api-key"),
    wrong_key=lambda status, _: errors.litellm(status, "Authentication Error, Invalid proxy key"),
    unknown_model="Invalid model name passed in model={}. Call `/v1/models` to view all.",
    unknown_model_status=400,
    models_path="/v1/models",
    model_list=lambda names: {
        "object": "list",
        "data": [
            {"id": n, "object": "model", "created": CREATED_AT, "owned_by": "openai"} for n in names
        ],
    },
)

"""Mistral's own description of its requests: no field that it does not name is accepted (422).

Copied from https://docs.mistral.ai/api/endpoint/chat and /embeddings (ChatCompletionRequest and
EmbeddingRequest of https://github.com/mistralai/platform-docs-public, public/openapi.yaml, whose
objects have `additionalProperties: false`), with the fields that the SDK 3.7 knows besides.
A field is nullable only where the description says so.
"""

from __future__ import annotations

from typing import Final
from uuid import UUID

from tests.vendor_rules.shapes import (
    by_kind,
    either,
    flag,
    free_object,
    list_of,
    nullable,
    number,
    one_of,
    record,
    text,
)


def _file_id(value: object, where: str) -> list[str]:
    """Accept the id of an uploaded file."""
    try:
        UUID(str(value))
    except ValueError:
        return [f"{where} must be the id of an uploaded file"]
    return []


_WHOLE: Final = number(whole=True)
_FUNCTION_TYPE: Final = one_of("function")
_TEXT: Final = record({"type": text, "text": text}, required=("text",))
_REFERENCE: Final = record(
    {"type": text, "reference_ids": list_of(either(_WHOLE, text))}, required=("reference_ids",)
)
_TOOL_REFERENCE: Final = record(
    {
        "type": text,
        "tool": text,
        "title": text,
        "url": nullable(text),
        "favicon": nullable(text),
        "description": nullable(text),
    },
    required=("tool", "title"),
)
_THINKING: Final = record(
    {
        "type": text,
        "thinking": list_of(
            by_kind(
                {"text": _TEXT, "reference": _REFERENCE, "tool_reference": _TOOL_REFERENCE},
                default="text",
            )
        ),
        "signature": nullable(text),
        "closed": flag,
    },
    required=("thinking",),
)
_IMAGE_URL: Final = record(
    {"url": text, "detail": nullable(one_of("low", "auto", "high"))}, required=("url",)
)
_PARTS: Final = by_kind(
    {
        "text": _TEXT,
        "image_url": record(
            {"type": text, "image_url": either(text, _IMAGE_URL)}, required=("image_url",)
        ),
        "document_url": record(
            {"type": text, "document_url": text, "document_name": nullable(text)},
            required=("document_url",),
        ),
        "reference": _REFERENCE,
        # No content: https://github.com/BerriAI/litellm/issues/25531
        "file": record({"type": text, "file_id": _file_id}, required=("file_id",)),
        "thinking": _THINKING,
        # A URL or base64, no object with a format.
        "input_audio": record({"type": text, "input_audio": text}, required=("input_audio",)),
    }
)
_CONTENT: Final = nullable(either(text, list_of(_PARTS)))
_INSTRUCTIONS: Final = either(text, list_of(by_kind({"text": _TEXT, "thinking": _THINKING})))
_CALL: Final = record(
    {
        "id": text,
        "type": _FUNCTION_TYPE,
        "index": _WHOLE,
        "function": record(
            {"name": text, "arguments": either(text, free_object)}, required=("name", "arguments")
        ),
    },
    required=("function",),
)
# No `name` outside results, no `refusal`, no `reasoning_content`:
# https://github.com/danny-avila/LibreChat/issues/4866,
# https://github.com/charmbracelet/crush/issues/1590
_MESSAGES: Final = by_kind(
    {
        "system": record({"role": text, "content": _INSTRUCTIONS}, required=("content",)),
        "user": record({"role": text, "content": _CONTENT}, required=("content",)),
        "assistant": record(
            {
                "role": text,
                "content": _CONTENT,
                "tool_calls": nullable(list_of(_CALL)),
                "prefix": flag,
            }
        ),
        "tool": record(
            {
                "role": text,
                "content": _CONTENT,
                "tool_call_id": nullable(text),
                "name": nullable(text),
            },
            required=("content",),
        ),
    },
    name="role",
)
_FUNCTION_TOOL: Final = record(
    {
        "type": _FUNCTION_TYPE,
        "function": record(
            {"name": text, "description": text, "strict": flag, "parameters": free_object},
            required=("name", "parameters"),
        ),
    },
    required=("function",),
)
# The vendor's own tools are only named: the gateway refuses them, since they run at the vendor.
_TOOLS: Final = by_kind(
    {
        "function": _FUNCTION_TOOL,
        "web_search": free_object,
        "web_search_premium": free_object,
        "code_interpreter": free_object,
        "image_generation": free_object,
        "document_library": free_object,
        "connector": free_object,
    },
    default="function",
)
_CHOICE: Final = record(
    {"type": _FUNCTION_TYPE, "function": record({"name": text}, required=("name",))},
    required=("function",),
)
_SCHEMA: Final = record(
    {"name": text, "description": nullable(text), "schema": free_object, "strict": flag},
    required=("name", "schema"),
)
_PENALTY: Final = nullable(number(least=-2, most=2))
_TOKENS: Final = nullable(number(least=0, whole=True))

CHAT: Final = {
    "model": text,
    "messages": list_of(_MESSAGES),
    "temperature": nullable(number(least=0, most=1.5)),
    # https://github.com/mnfst/modelparams.dev/pull/231
    "top_p": nullable(number(above=0, most=1)),
    "max_tokens": _TOKENS,
    "stream": flag,
    "stop": nullable(either(text, list_of(text))),
    "random_seed": nullable(number(least=0, whole=True)),
    "metadata": nullable(free_object),
    "response_format": record(
        {
            "type": one_of("text", "json_object", "json_schema"),
            "json_schema": nullable(_SCHEMA),
        }
    ),
    "tools": nullable(list_of(_TOOLS)),
    "tool_choice": either(one_of("auto", "none", "any", "required"), _CHOICE),
    "presence_penalty": _PENALTY,
    "frequency_penalty": _PENALTY,
    "n": nullable(number(least=1, whole=True)),
    "prediction": record({"type": one_of("content"), "content": text}),
    "parallel_tool_calls": flag,
    "reasoning_effort": nullable(
        one_of("none", "minimal", "low", "medium", "high", "xhigh", "max")
    ),
    "prompt_mode": nullable(one_of("reasoning")),
    "guardrails": nullable(list_of(free_object)),
    "prompt_cache_key": nullable(text),
    "service_tier": nullable(one_of("auto", "standard_only")),
    "safe_prompt": flag,
    # Known to the SDK 3.7 only, without limits:
    "min_tokens": nullable(_WHOLE),
    "repetition_penalty": nullable(number()),
    "top_k": nullable(_WHOLE),
    "logprobs": nullable(flag),
    "top_logprobs": nullable(_WHOLE),
    "prompt_logprobs": nullable(flag),
    "top_prompt_logprobs": nullable(_WHOLE),
}
EMBEDDINGS: Final = {
    "model": text,
    "input": either(text, list_of(text)),
    "metadata": nullable(free_object),
    "output_dimension": nullable(number(least=1, whole=True)),
    "output_dtype": one_of("float", "int8", "uint8", "binary", "ubinary"),
    "encoding_format": one_of("float", "base64"),
}

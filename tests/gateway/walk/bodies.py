"""A valid body for every endpoint, with every field that the gateway reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

PNG: Final = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5E"
)
DATA_URL: Final = f"data:image/png;base64,{PNG}"
SCHEMA: Final = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "minLength": 1, "format": "uuid"},
        "days": {"type": ["integer", "null"], "minimum": 0, "exclusiveMaximum": 9},
        "tags": {
            "type": "array",
            "items": {"enum": ["a", "b"]},
            "minItems": 1,
            "prefixItems": [{"const": 1}],
        },
        "either": {"oneOf": [{"$ref": "#/$defs/x"}, {"anyOf": [{"not": {"type": "null"}}]}]},
    },
    "required": ["city", "tags", "days", "either"],
    "additionalProperties": False,
    "$defs": {"x": {"type": "boolean"}},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A path and a valid body for it; `leaves_rows` is False where no request leaves a row."""

    path: str
    body: dict[str, Any]
    leaves_rows: bool = True

    @property
    def shape(self) -> str:
        """Whose errors it answers with."""
        if self.path.startswith("/api/"):
            return "native"
        if "/models/" in self.path:
            return "google"
        return "anthropic" if self.path.startswith("/v1/messages") else "openai"


NATIVE: Final = {
    "model": "sandbox-small",
    "messages": [
        {"role": "system", "content": "Be brief"},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hi"},
        {"role": "user", "content": "Hello again"},
    ],
    "maxTokens": 100,
    "temperature": 0.5,
    "stream": False,
    "teamId": "t",
    "metadata": {"projectId": "p", "taskType": "review", "userId": "u"},
}
CHAT_TURNS: Final = [
    {"role": "system", "content": "Be brief"},
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "What is this?"},
            {"type": "image_url", "image_url": {"url": DATA_URL, "detail": "low"}},
            {"type": "image_url", "image_url": {"url": "https://example.com/a.png?x=1"}},
        ],
    },
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {
                "id": "call_1",
                "type": "function",
                "function": {"name": "weather", "arguments": '{"city": "Paris"}'},
                "extra_content": {"google": {"thought_signature": "c2lnbmF0dXJl"}},
            }
        ],
    },
    {"role": "tool", "tool_call_id": "call_1", "content": "Sunny"},
    {"role": "assistant", "content": [{"type": "refusal", "refusal": "No"}]},
    {"role": "user", "content": "And tomorrow?"},
]
TOOL: Final = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city",
        "parameters": SCHEMA,
        "strict": True,
    },
}
# What the vendors that are called through their SDKs understand too.
TRANSLATED: Final = {
    "messages": CHAT_TURNS,
    "max_completion_tokens": 100,
    "temperature": 0.5,
    "top_p": 0.9,
    "stop": ["END", "STOP"],
    "stream": False,
    "stream_options": {"include_usage": True},
    "tools": [TOOL],
    "tool_choice": {
        "type": "allowed_tools",
        "allowed_tools": {
            "mode": "auto",
            "tools": [{"type": "function", "function": {"name": "weather"}}],
        },
    },
    "parallel_tool_calls": False,
    "response_format": {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True},
    },
    "reasoning_effort": "low",
    "service_tier": "auto",
    "user": "someone",
    "metadata": {"a": "b"},
    "seed": 1,
    "store": True,
    "n": 1,
    "best_of": 1,
    "logprobs": False,
    "top_logprobs": 0,
    "logit_bias": {},
    "modalities": ["text"],
    "frequency_penalty": 0,
    "presence_penalty": 0,
    "verbosity": "medium",
    "functions": [],
    "function_call": "auto",
}
CHAT: Final = {
    **TRANSLATED,
    "model": "gpt-4o-mini",
    "messages": [
        *CHAT_TURNS,
        {
            "role": "user",
            "name": "someone",
            "content": [
                "Plain",
                {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
                {"type": "file", "file": {"file_data": DATA_URL, "filename": "a.pdf"}},
                {"type": "document_url", "document_url": "https://example.com/a.pdf"},
                {"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]},
                {"type": "unheard_of", "of": 1},
            ],
        },
    ],
    "max_tokens": 100,
    "stream": True,
    "modalities": ["text", "audio"],
    "audio": {"voice": "alloy", "format": "wav"},
    "prediction": {"type": "content", "content": "Hello"},
    "web_search_options": {"search_context_size": "low"},
    "n": 2,
    "best_of": 3,
    "logit_bias": {"50256": -100},
    "safety_identifier": "s",
    "prompt_cache_key": "k",
}
RESPONSES: Final = {
    "model": "gpt-4o-mini",
    "instructions": "Be brief",
    "input": [
        {"role": "user", "content": "Hello"},
        {
            "type": "message",
            "role": "user",
            "content": [
                {"type": "input_text", "text": "What is this?"},
                {"type": "input_image", "image_url": DATA_URL, "detail": "low"},
                {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
                {"type": "input_file", "file_data": DATA_URL, "filename": "a.pdf"},
            ],
        },
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "AAAA"},
        {"type": "reasoning", "id": "rs_2", "summary": []},
        {
            **{"type": "message", "id": "msg_1", "role": "assistant", "status": "completed"},
            "content": [{"type": "output_text", "text": "Hm", "annotations": []}],
        },
        {"type": "function_call", "id": "f", "call_id": "c", "name": "weather", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "Sunny"},
        {
            "type": "custom_tool_call_output",
            "call_id": "d",
            "output": [{"type": "input_text", "text": "x"}],
        },
        {
            "type": "computer_call_output",
            "call_id": "e",
            "acknowledged_safety_checks": [{"id": "check_1"}],
            "output": {"type": "computer_screenshot", "image_url": DATA_URL},
        },
        {"type": "image_generation_call", "id": "i", "result": PNG},
        {"type": "tool_search_output", "tools": [{"type": "function", "name": "found"}]},
        {"type": "compaction_trigger"},
        {"type": "unheard_of", "of": 1},
    ],
    "tools": [
        {"type": "function", "name": "weather", "parameters": SCHEMA, "strict": True},
        {"type": "custom", "name": "free", "format": {"type": "text"}},
        {"type": "web_search", "filters": {"allowed_domains": ["example.com"]}},
        {"type": "namespace", "name": "n", "tools": [{"type": "function", "name": "inner"}]},
        {"type": "tool_search", "execution": "client"},
        {"type": "shell", "environment": {"type": "local"}},
        {"type": "apply_patch"},
    ],
    "tool_choice": "auto",
    "max_tool_calls": 3,
    "max_output_tokens": 100,
    "parallel_tool_calls": True,
    "reasoning": {"effort": "low", "summary": "auto"},
    "text": {"format": {"type": "json_schema", "name": "a", "schema": SCHEMA}, "verbosity": "low"},
    "stream": True,
    "stream_options": {"include_obfuscation": False},
    "store": False,
    "include": ["reasoning.encrypted_content"],
    "service_tier": "default",
    "truncation": "auto",
    "temperature": 1,
    "top_p": 1,
    "top_logprobs": 1,
    "metadata": {"a": "b"},
    "context_management": [{"type": "compaction", "compact_threshold": 1000}],
    "prompt_cache_options": {"ttl": "30m"},
    "prompt_cache_key": "k",
    "background": False,
    "client_metadata": {"session_id": "s", "turn_id": "t"},
    "previous_response_id": None,
}
EPHEMERAL: Final = {"type": "ephemeral", "ttl": "1h"}
MESSAGES: Final = {
    "model": "claude-opus-4-6",
    "max_tokens": 2000,
    "system": [{"type": "text", "text": "Be brief", "cache_control": EPHEMERAL}],
    "messages": [
        {"role": "user", "content": "Hello"},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "Hm", "signature": "AAAA"},
                {"type": "tool_use", "id": "t", "name": "weather", "input": {"city_id": "Paris"}},
                {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "t",
                    "content": [{"type": "text", "text": "Sunny", "citations": []}],
                    "is_error": False,
                },
                {
                    "type": "image",
                    "source": {"type": "base64", "media_type": "image/png", "data": PNG},
                },
                {"type": "document", "source": {"type": "text", "data": "x"}, "title": "T"},
                {"type": "document", "source": {"type": "base64", "data": PNG}, "title": "T"},
                {
                    "type": "document",
                    "source": {"type": "content", "content": [{"type": "text", "text": "x"}]},
                    "context": "c",
                },
                {"type": "search_result", "source": "s", "title": "t", "content": []},
                {"type": "unheard_of", "of": 1},
            ],
        },
        {"role": "user", "content": [{"type": "text", "text": "Hello"}]},
    ],
    "tools": [
        {"name": "weather", "description": "d", "input_schema": SCHEMA, "cache_control": EPHEMERAL},
        {
            "type": "web_search_20250305",
            "name": "web_search",
            "max_uses": 2,
            "allowed_callers": ["direct"],
        },
        {"type": "web_fetch_20250910", "name": "web_fetch", "max_uses": 2},
        {"type": "bash_20250124", "name": "bash"},
        {"type": "memory_20250818", "name": "memory"},
    ],
    "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
    "thinking": {"type": "enabled", "budget_tokens": 3000},
    "context_management": {"edits": [{"type": "clear_tool_uses_20250919", "keep": {"value": 1}}]},
    "cache_control": EPHEMERAL,
    "output_config": {"effort": "low"},
    "metadata": {"user_id": "u"},
    "stop_sequences": ["END"],
    "service_tier": "auto",
    "speed": "standard",
    "inference_geo": "global",
    "stream": True,
    "temperature": 1,
    "top_k": 5,
    "top_p": 1,
    "container": None,
    "mcp_servers": [],
}
CONTENTS: Final = {
    "systemInstruction": {"parts": [{"text": "Be brief"}]},
    "contents": [
        {"role": "user", "parts": [{"text": "Hello"}]},
        {
            "role": "model",
            "parts": [
                {"functionCall": {"id": "f", "name": "weather", "args": {"city_id": "Paris"}}},
                {"text": "Hm", "thought": True, "thoughtSignature": "AAAA"},
                {"executableCode": {"language": "PYTHON", "code": "1"}},
            ],
        },
        {
            "role": "user",
            "parts": [
                {
                    "functionResponse": {
                        "id": "f",
                        "name": "weather",
                        "response": {"output": "Sunny"},
                        "parts": [{"inlineData": {"mimeType": "image/png", "data": PNG}}],
                    }
                },
                {"inline_data": {"mime_type": "audio/wav", "data": "AAAA"}},
                {"inlineData": {"mimeType": "video/mp4", "data": "AAAA"}},
                {
                    "fileData": {"fileUri": "https://youtu.be/x", "mimeType": "video/mp4"},
                    "videoMetadata": {"fps": 1},
                },
                {"unheardOf": {"of": 1}},
            ],
        },
        {"role": "user", "parts": {"text": "Hello"}},
    ],
    "tools": [
        {"functionDeclarations": [{"name": "weather", "parameters": SCHEMA}]},
        {"computer_use": {"environment": "ENVIRONMENT_BROWSER"}},
    ],
    "toolConfig": {"functionCallingConfig": {"mode": "AUTO"}},
    "safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}],
    "generationConfig": {
        "maxOutputTokens": 100,
        "candidateCount": 1,
        "stop_sequences": ["END"],
        "responseModalities": ["TEXT"],
        "responseMimeType": "application/json",
        "responseSchema": SCHEMA,
        "thinkingConfig": {"thinkingBudget": 100, "includeThoughts": True},
        "temperature": 1,
        "topP": 1,
        "topK": 5,
        "seed": 1,
        "mediaResolution": "MEDIA_RESOLUTION_LOW",
        "speechConfig": {"voiceConfig": {}},
        "routingConfig": None,
    },
    "serviceTier": "standard",
    "store": True,
    "cachedContent": None,
    "model": "models/gemini-2.5-flash",
}
FLASH: Final = "gemini-2.5-flash"


def _generate(version: str, method: str) -> Endpoint:
    return Endpoint(path=f"/{version}/models/{FLASH}:{method}", body=CONTENTS)


def _chat(model: str, **changes: Any) -> Endpoint:
    return Endpoint(path="/v1/chat/completions", body={**TRANSLATED, "model": model, **changes})


EMBED_REQUEST: Final[dict[str, Any]] = {
    "model": "models/gemini-embedding-001",
    "content": {"role": "user", "parts": [{"text": "Hello"}]},
    "taskType": "RETRIEVAL_DOCUMENT",
    "title": "A title",
    "outputDimensionality": 2,
}

ITEMS: Final = [
    {"role": "user", "content": "Hello"},
    {
        **{"type": "message", "id": "msg_1", "role": "assistant", "status": "completed"},
        "content": [{"type": "output_text", "text": "Hm", "annotations": []}],
    },
    {"type": "function_call", "id": "f", "call_id": "c", "name": "weather", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "c", "output": "Sunny"},
]
COMPACTED: Final = {
    **{"model": "gpt-4o-mini", "instructions": "Be brief", "input": ITEMS},
    **{"previous_response_id": None, "prompt_cache_key": "k", "service_tier": "flex"},
    "tools": [{"type": "function", "name": "weather", "parameters": SCHEMA, "strict": True}],
}
ENDPOINTS: Final[dict[str, Endpoint]] = {
    "native": Endpoint(path="/api/ai/request", body=NATIVE),
    "native, prompt": Endpoint(
        path="/api/ai/request", body={"model": "sandbox-large", "prompt": "Hello", "stream": True}
    ),
    "quote": Endpoint(path="/api/ai/quote", body=NATIVE, leaves_rows=False),
    "chat, openai": Endpoint(path="/v1/chat/completions", body=CHAT),
    "chat, mistral": _chat("mistral-large-latest", n=2, stream=True),
    "chat, anthropic": _chat("claude-opus-4-6"),
    "chat, anthropic, streamed": _chat("claude-opus-4-6", stream=True),
    "chat, google": _chat(FLASH),
    "chat, google, streamed": _chat(FLASH, stream=True),
    "chat, sandbox": _chat("sandbox-small", tool_choice="required"),
    "chat, sandbox, streamed": _chat("sandbox-small", stream=True, tool_choice="none"),
    "responses": Endpoint(path="/v1/responses", body=RESPONSES),
    "responses, compacted": Endpoint(path="/v1/responses/compact", body=COMPACTED),
    "responses, counted": Endpoint(path="/v1/responses/input_tokens", body=COMPACTED),
    "conversations": Endpoint(
        path="/v1/conversations", body={"items": ITEMS, "metadata": {"a": "b"}}
    ),
    "embeddings, openai": Endpoint(
        path="/v1/embeddings",
        body={
            "model": "text-embedding-3-small",
            "input": [[1, 2, 3], [4]],
            "dimensions": 2,
            "encoding_format": "float",
            "user": "u",
            "service_tier": "auto",
        },
    ),
    "embeddings, mistral": Endpoint(
        path="/v1/embeddings",
        body={"model": "mistral-embed", "input": ["Hello", "you"], "dimensions": 1024},
    ),
    "embeddings, google": Endpoint(
        path="/v1/embeddings",
        body={
            "model": "gemini-embedding-001",
            "input": ["Hello", "you"],
            "dimensions": 2,
            "encoding_format": "base64",
        },
    ),
    "messages": Endpoint(path="/v1/messages", body=MESSAGES),
    "messages, counted": Endpoint(path="/v1/messages/count_tokens", body=MESSAGES),
    **{
        f"{method}, {version}": _generate(version, method)
        for version in ("v1beta", "v1")
        for method in ("generateContent", "streamGenerateContent", "countTokens")
    },
    "streamGenerateContent, events": _generate("v1beta", "streamGenerateContent?alt=sse"),
    "embedContent": Endpoint(
        path="/v1beta/models/gemini-embedding-001:embedContent", body=EMBED_REQUEST
    ),
    "batchEmbedContents": Endpoint(
        path="/v1/models/gemini-embedding-001:batchEmbedContents",
        body={"requests": [EMBED_REQUEST, {"content": {"parts": {"text": "you"}}}]},
    ),
    "countTokens, whole request": Endpoint(
        path=f"/v1beta/models/{FLASH}:countTokens", body={"generateContentRequest": CONTENTS}
    ),
}

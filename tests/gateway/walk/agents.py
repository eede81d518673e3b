"""Requests as coding agents and frameworks send them, by their shapes; some are refused whole."""

from __future__ import annotations

from typing import Any, Final

from tests.gateway.walk.bodies import Endpoint

EPHEMERAL: Final = {"type": "ephemeral"}
_TOOL: Final = {
    "type": "object",
    "properties": {"command": {"type": "string", "description": "d", "enum": ["a", "b"]}},
    "required": ["command"],
    "additionalProperties": False,
}
_FUNCTION: Final = {"type": "function", "name": "wait", "strict": False, "parameters": _TOOL}
_GRAMMAR: Final = {"type": "grammar", "syntax": "lark", "definition": "start: /x/"}


def _responses(*items: dict[str, Any], **more: Any) -> Endpoint:
    return Endpoint(
        path="/v1/responses", body={"model": "gpt-4o-mini", "input": list(items), **more}
    )


def _says(text: str) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "input_text", "text": text}]}


AGENTS: Final[dict[str, Endpoint]] = {
    "claude code": Endpoint(
        path="/v1/messages?beta=true",
        body={
            "model": "claude-opus-4-6",
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "x"}]},
                {"role": "system", "content": "x", "output_config": {"effort": "medium"}},
                {
                    "role": "assistant",
                    "content": [
                        {"type": "thinking", "thinking": "x", "signature": "c2ln"},
                        {"type": "tool_use", "id": "t", "name": "Bash", "input": {"command": "a"}},
                    ],
                },
                {
                    "role": "user",
                    "content": [
                        {
                            "tool_use_id": "t",
                            "type": "tool_result",
                            "content": "x",
                            "is_error": False,
                            "cache_control": EPHEMERAL,
                        }
                    ],
                },
            ],
            "system": [{"type": "text", "text": "x", "cache_control": EPHEMERAL}],
            "tools": [{"name": "Bash", "description": "d", "input_schema": _TOOL}],
            "metadata": {"user_id": '{"session_id": "x"}'},
            "max_tokens": 2000,
            "thinking": {"type": "adaptive", "display": "omitted"},
            "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
            "output_config": {"effort": "medium"},
            "stream": True,
        },
    ),
    "codex": _responses(
        {
            "type": "additional_tools",
            "id": "x",
            "role": "developer",
            "tools": [
                {
                    "type": "namespace",
                    "name": "functions",
                    "description": "",
                    "tools": [{"type": "custom", "name": "exec", "format": _GRAMMAR}, _FUNCTION],
                }
            ],
        },
        {"type": "message", **_says("x"), "role": "developer"},
        tool_choice="auto",
        parallel_tool_calls=False,
        reasoning={"effort": "low", "context": "x"},
        store=False,
        stream=True,
        include=["reasoning.encrypted_content"],
        prompt_cache_key="x",
        text={"verbosity": "low"},
        client_metadata={"x": "y"},
    ),
    "vercel ai sdk": _responses(
        _says("x"), {"type": "item_reference", "id": "msg_1"}, _says("again")
    ),
    "agno": _responses(
        _says("x"),
        previous_response_id="resp_1",
        reasoning={"effort": "low"},
        store=True,
        tools=[_FUNCTION],
    ),
}

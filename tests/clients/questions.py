"""The requests of every client, in each vendor's format: a tool, an image, a response schema."""

from __future__ import annotations

from typing import Any, Final

# JSON as it stands on the wire is Any here: each client has types of its own for it.

PROMPT: Final = "Grüße an alle, bitte — 你好"
WORDS: Final = 6
ANSWER: Final = "It is 21 °C in Zürich"
PARIS: Final = {"city": "Paris", "unit": "celsius"}
ROME: Final = {"city": "Rome", "unit": "celsius"}
WEATHER: Final[Any] = {"name": "get_weather", "arguments": PARIS}
# Two calls in one answer, as a model that can call tools in parallel makes them.
TWO_CALLS: Final[Any] = [WEATHER, {"name": "get_weather", "arguments": ROME}]
PARAMETERS: Final[Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "unit": {"type": "string"}},
    "required": ["city", "unit"],
    "additionalProperties": False,
}
ABOUT: Final = "Say what the weather is"
PIXEL: Final = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYGD4DwABBAEAX+XDSwAAAABJRU5ErkJggg=="  # noqa: E501  one dot

CHAT_TOOL: Final[Any] = {
    "type": "function",
    "function": {"name": "get_weather", "description": ABOUT, "parameters": PARAMETERS},
}
RESPONSES_TOOL: Final[Any] = {
    "type": "function",
    "name": "get_weather",
    "description": ABOUT,
    "parameters": PARAMETERS,
    "strict": True,
}
ANTHROPIC_TOOL: Final[Any] = {
    "name": "get_weather",
    "description": ABOUT,
    "input_schema": PARAMETERS,
}
CHAT_IMAGE: Final[Any] = [
    {"type": "text", "text": "What is this?"},
    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
]
CHAT_FORMAT: Final[Any] = {
    "type": "json_schema",
    "json_schema": {"name": "weather", "strict": True, "schema": PARAMETERS},
}


def chat_turns(prompt: str = PROMPT) -> Any:
    """Return a conversation of one system and one user message, in OpenAI's form."""
    return [{"role": "system", "content": "Be brief"}, {"role": "user", "content": prompt}]


def chat_tool_turns() -> Any:
    """Return a conversation in which a tool was called and has answered, in OpenAI's form."""
    called = {
        "id": "fakeCall0",
        "type": "function",
        "function": {"name": "get_weather", "arguments": '{"city": "Paris", "unit": "celsius"}'},
    }
    return [
        *chat_turns(),
        {"role": "assistant", "content": None, "tool_calls": [called]},
        {"role": "tool", "tool_call_id": "fakeCall0", "content": "21"},
    ]

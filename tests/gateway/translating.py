"""Helpers for translation tests: models, a conversation with a tool, and the vendor's call."""

from __future__ import annotations

from typing import Any, Final

from gateway.apis.chat.translation import provider_call
from gateway.apis.families.fitting import fitted
from gateway.core.calls import ProviderCall
from gateway.core.model_names import Model
from gateway.core.usage_bound import OutputCap
from gateway.providers.catalog import load_catalog
from tests.gateway.arrivals import NAMES

CLAUDE: Final = "claude-opus-4-6"
GEMINI: Final = "gemini-2.5-flash"
GEMINI_3: Final = "gemini-3.6-flash"
PIXEL: Final = "iVBORw0KGgo="
PICTURE: Any = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
USER: Any = {"role": "user", "content": "Weather in Paris?"}
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}
TIME: Any = {"type": "function", "function": {"name": "get_time"}}
CALLED: Any = {
    "role": "assistant",
    "content": None,
    "tool_calls": [
        {
            "id": "call_1",
            "type": "function",
            "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'},
        },
        {"id": "call_2", "type": "function", "function": {"name": "get_time", "arguments": ""}},
    ],
}
RESULTS: Any = (
    {"role": "tool", "tool_call_id": "call_1", "content": "Sunny"},
    {"role": "tool", "tool_call_id": "call_2", "content": [{"type": "text", "text": "Noon"}]},
)
TALK: Any = [{"role": "system", "content": "Be brief"}, USER, CALLED, *RESULTS]
SCHEMA: Any = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "title": "Person",
    "properties": {
        "title": {"type": "string", "minLength": 1, "description": "As given"},
        "age": {"type": "integer", "minimum": 0, "exclusiveMaximum": 150},
        "kind": {"const": "person"},
        "note": {"type": ["string", "null"], "format": "color"},
        "tags": {"type": "array", "items": {"type": "string", "format": "uri"}, "minItems": 2},
        "more": {"oneOf": [{"type": "object"}, {"$ref": "#/$defs/other"}]},
    },
    "required": ["title", "age"],
    "$defs": {"other": {"type": "object", "properties": {"examples": {"type": "null"}}}},
}
CATALOG: Final = load_catalog(sandbox=True)


def model_of(name: str) -> Model:
    """Return a model of the catalog."""
    found = CATALOG.find(name)
    assert found is not None
    return found


def asked(model: str = CLAUDE, *, cap: OutputCap | None = None, **fields: Any) -> ProviderCall:
    """Return the vendor's call for a body with these fields."""
    body = {"model": model, "messages": [USER], **fields}
    return provider_call(
        body, model_of(model), cap or OutputCap(100, is_written=True), timeout_s=5.0, names=NAMES
    )


def fit(model: str = CLAUDE, *, cap: OutputCap | None = None, **fields: Any) -> ProviderCall:
    """Return the same call as it is sent, fitted to its vendor."""
    return fitted(asked(model, cap=cap, **fields), model_of(model).provider)

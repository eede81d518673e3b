"""Ask Google how many tokens the input of a request has, which is free.

https://ai.google.dev/api/tokens: the answer includes the instruction and the tools.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, Final

import orjson

from gateway.apis import counting
from gateway.apis.generate.request import config_from, contents_from
from gateway.core.calls import ProviderCall, RelayRequest
from gateway.core.providers import GENERATE

# What is no prompt is not sent again.
_COUNTED: Final = ("contents", "generationConfig", "systemInstruction", "toolConfig", "tools")
_SCHEMA: Final = ("response_json_schema", "response_mime_type")


def input_count(fields: Mapping[str, Any], *, model: str, version: str) -> RelayRequest:
    """Return the request for the input tokens of a body of generateContent."""
    counted = {name: fields[name] for name in _COUNTED if fields.get(name) is not None}
    named = {"generateContentRequest": {**counted, "model": f"models/{model}"}}
    return counting.input_count(
        GENERATE,
        f"/{version}/models/{model}:countTokens",
        orjson.dumps(named, default=_as_json),
        headers={"content-type": "application/json"},
        model=model,
        reported_as="totalTokens",
    )


def input_count_of(call: ProviderCall) -> RelayRequest:
    """Return the request for the input tokens of a call."""
    config = config_from(call)
    system = config.get("system_instruction")
    fields = {
        "contents": contents_from(call),
        "systemInstruction": system and {"parts": [{"text": system}]},
        "generationConfig": {name: config[name] for name in _SCHEMA if name in config},
        "toolConfig": config.get("tool_config"),
        "tools": config.get("tools"),
    }
    return input_count(fields, model=call.model, version="v1beta")


def _as_json(value: object) -> str:
    """Return bytes as JSON has them: those of images and of signatures."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    raise TypeError(type(value).__name__)

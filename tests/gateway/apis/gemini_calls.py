"""Chat completions for Gemini's models, and their refusals."""

from __future__ import annotations

from typing import Any, Final

import pytest

from gateway.core.errors import Refused
from tests.gateway.translating import fit

FLASH_25: Final = "gemini-2.5-flash"
PRO_3: Final = "gemini-3-pro-preview"
GEMMA: Final = "gemma-3-27b-it"


def call(*ids: str, name: str = "get_weather", **more: Any) -> dict[str, Any]:
    calls = [
        {"id": each, "type": "function", "function": {"name": name, "arguments": "{}"}}
        for each in ids
    ]
    return {"role": "assistant", "content": None, "tool_calls": calls, **more}


def result(call_id: str, content: Any = "Sunny") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": content}


def turn(role: str, text: Any) -> dict[str, Any]:
    return {"role": role, "content": text}


def refusal(model: str = FLASH_25, **fields: Any) -> str:
    with pytest.raises(Refused) as refused:
        fit(model, **fields)
    assert refused.value.status == 400
    return refused.value.message

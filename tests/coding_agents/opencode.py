"""OpenCode with Anthropic's models: its provider takes the gateway as a base URL."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

from tests.coding_agents.agent import Agent, Gateway, ToolCall


def _files(gateway: Gateway) -> dict[str, str]:
    options = {"baseURL": f"{gateway.url}/v1", "apiKey": gateway.key}
    config = {
        "$schema": "https://opencode.ai/config.json",
        "autoupdate": False,
        "share": "disabled",
        "model": "anthropic/claude-sonnet-5",
        "provider": {"anthropic": {"options": options}},
    }
    return {".config/opencode/opencode.json": json.dumps(config)}


def _shell(command: str) -> ToolCall:
    return {"name": "bash", "arguments": {"command": command, "description": "Run it"}}


def _subagent(prompt: str) -> Sequence[ToolCall]:
    task = {"description": "Ask another", "prompt": prompt, "subagent_type": "general"}
    return ({"name": "task", "arguments": task},)


OPENCODE: Final = Agent(
    page="opencode",
    package="opencode-ai",
    program="opencode",
    vendor="anthropic",
    model="claude-sonnet-5",
    environment=lambda _: {"OPENCODE_DISABLE_MODELS_FETCH": "1"},
    files=_files,
    once=lambda prompt: ("run", prompt),
    again=lambda prompt: ("run", "--continue", prompt),
    opening={},
    ready="Ask anything",
    stopping={"esc interrupt": "Escape", "esc again to interrupt": "Escape"},
    stopped="· interrupted",
    main='"name":"bash"',
    shell=_shell,
    subagent=_subagent,
    search=None,  # of its own: it fetches pages itself
)

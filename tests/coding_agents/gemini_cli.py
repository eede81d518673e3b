"""Gemini CLI: it speaks Google's API, and searches in requests of their own."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final

from tests.coding_agents.agent import Agent, Answer, Gateway, ToolCall

# Its main requests declare this tool; a search and a subagent do not.
MAIN: Final = '"name":"invoke_agent"'
_SETTINGS: Final = {
    "security": {"auth": {"selectedType": "gemini-api-key"}},
    "model": {"name": "gemini-3.8-flash"},  # else another model chooses one, turn by turn
    "privacy": {"usageStatisticsEnabled": False},
    "telemetry": {"enabled": False},
    "general": {"enableAutoUpdate": False, "enableAutoUpdateNotification": False},
}


def _environment(gateway: Gateway) -> Mapping[str, str]:
    return {"GOOGLE_GEMINI_BASE_URL": gateway.url, "GEMINI_API_KEY": gateway.key}


def _shell(command: str) -> ToolCall:
    return {"name": "run_shell_command", "arguments": {"command": command}}


def _subagent(prompt: str) -> Sequence[ToolCall]:
    return ({"name": "invoke_agent", "arguments": {"agent_name": "generalist", "prompt": prompt}},)


def _reports(text: str) -> Answer:
    done = {"name": "complete_task", "arguments": {"result": {"response": text}}}
    return {"tool_calls": [done]}


def _search(asked: str, shown: str) -> Sequence[Answer]:
    query = f"What is found for {asked}"
    found = {"content": f"Found for {query}", "web_searches": 1}
    return (
        {"when": [asked, "Found for"], "content": shown},
        {"when": [query, '"googleSearch"'], **found},
        {
            "when": [asked, MAIN],
            "tool_calls": [{"name": "google_web_search", "arguments": {"query": query}}],
        },
    )


GEMINI_CLI: Final = Agent(
    page="gemini-cli",
    package="@google/gemini-cli",
    program="gemini",
    vendor="google",
    model="gemini-3.8-flash",
    environment=_environment,
    files=lambda _: {".gemini/settings.json": json.dumps(_SETTINGS)},
    once=lambda prompt: ("--skip-trust", "--yolo", "-p", prompt),
    again=lambda prompt: ("--skip-trust", "--resume", "latest", "-p", prompt),
    window=("--skip-trust",),
    opening={},
    ready="Type your message",
    approving={"Allow once": "1"},
    stopping={"esc to cancel": "Escape"},
    stopped="Request cancelled",
    dismissing={"2. Stop": "2"},
    main=MAIN,
    shell=_shell,
    subagent=_subagent,
    reports=_reports,
    search=_search,
)

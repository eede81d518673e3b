"""Claude Code: it speaks Anthropic's messages, and searches in requests of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tests.coding_agents.agent import Agent, Answer, Gateway, ToolCall

CHOSEN: Final = "\u276f"  # the mark at a menu's line
# Its main requests declare this tool; a search and a title do not.
MAIN: Final = '"name":"Bash"'


def _environment(gateway: Gateway) -> dict[str, str]:
    return {
        "ANTHROPIC_BASE_URL": gateway.url,
        "ANTHROPIC_AUTH_TOKEN": gateway.key,
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",  # telemetry, updates
    }


def _shell(command: str) -> ToolCall:
    return {"name": "Bash", "arguments": {"command": command, "description": "Run it"}}


def _subagent(prompt: str) -> Sequence[ToolCall]:
    task = {"description": "Ask another", "prompt": prompt, "subagent_type": "general-purpose"}
    return ({"name": "Agent", "arguments": {**task, "run_in_background": False}},)


def _search(asked: str, shown: str) -> Sequence[Answer]:
    query = f"What is found for {asked}"
    found = {"content": f"Found for {query}", "web_searches": 1}
    return (
        {"when": [asked, "Found for"], "content": shown},
        {"when": [query, '"type":"web_search_20250305"'], **found},
        {
            "when": [asked, MAIN],
            "tool_calls": [{"name": "WebSearch", "arguments": {"query": query}}],
        },
    )


CLAUDE_CODE: Final = Agent(
    page="claude-code",
    package="@anthropic-ai/claude-code",
    program="claude",
    vendor="anthropic",
    model="claude-opus-5-5",
    environment=_environment,
    once=lambda prompt: ("-p", prompt, "--allowedTools", "Bash,WebSearch"),
    again=lambda prompt: ("-p", prompt, "--continue"),
    opening={
        "Choose the text style": "Enter",
        "Press Enter to continue": "Enter",
        f"{CHOSEN} No, exit": "Down",
        f"{CHOSEN} Yes, I trust this folder": "Enter",
    },
    ready="shift+tab to cycle",
    stopping={"esc to interrupt": "Escape"},
    stopped="Interrupted",
    main=MAIN,
    shell=_shell,
    subagent=_subagent,
    search=_search,
)

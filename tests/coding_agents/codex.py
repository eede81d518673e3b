"""Codex: it speaks OpenAI's responses. Its newer models call its tools from scripts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from tests.coding_agents.agent import Agent, Answer, Gateway, ToolCall

_OPENAI: Final = """\
openai_base_url = "{url}/v1"
check_for_update_on_startup = false
analytics.enabled = false
"""
# An older model, for which it declares one tool each and OpenAI's own search.
WITH_PROVIDER: Final = """\
model = "gpt-5.4"
model_provider = "pulse"
check_for_update_on_startup = false
analytics.enabled = false

[model_providers.pulse]
name = "Pulse AI Gateway"
base_url = "{url}/v1"
env_key = "PULSE_KEY"
wire_api = "responses"
"""

_SEARCH: Final = '"type":"web_search"'


def _files(gateway: Gateway) -> Mapping[str, str]:
    """Return what is in its configuration, and what `codex login --with-api-key` writes."""
    login = {"auth_mode": "apikey", "OPENAI_API_KEY": gateway.key}
    config = _OPENAI.format(url=gateway.url)
    return {".codex/auth.json": json.dumps(login), ".codex/config.toml": config}


def _script(command: str) -> ToolCall:
    called = f"const done = await tools.exec_command({json.dumps({'cmd': command})});"
    return {"name": "exec", "namespace": "functions", "input": f"{called}\ntext(done.output);"}


def _shell(command: str) -> ToolCall:
    return {"name": "exec_command", "arguments": {"cmd": command}}


def _subagent(prompt: str) -> Sequence[ToolCall]:
    task = {"task_name": "helper", "message": prompt, "fork_turns": "none"}
    return (
        {"name": "spawn_agent", "namespace": "collaboration", "arguments": task},
        {"name": "wait_agent", "namespace": "collaboration", "arguments": {}},
    )


def _search(asked: str, shown: str) -> Sequence[Answer]:
    return ({"when": [asked, _SEARCH], "content": shown, "web_searches": 1},)


CODEX: Final = Agent(
    page="codex",
    package="@openai/codex",
    program="codex",
    vendor="openai",
    model="gpt-6.2-sol",
    environment=lambda _: {},
    files=_files,
    once=lambda prompt: ("exec", "--skip-git-repo-check", prompt),
    again=lambda prompt: ("exec", "resume", "--last", "--skip-git-repo-check", prompt),
    window=("--no-daemon",),
    opening={"Trust and continue": "Enter"},
    ready="← for agents",  # nothing else comes over it any more
    stopping={"esc to interrupt": "Escape"},
    stopped="Conversation interrupted -",
    main='"text":{"verbosity":"low"}',  # a title has a format besides
    shell=_script,
    subagent=_subagent,
    search=None,  # its own way to search is no part of OpenAI's API
)
CODEX_WITH_PROVIDER: Final = replace(
    CODEX,
    model="gpt-5.4",
    environment=lambda gateway: {"PULSE_KEY": gateway.key},
    files=lambda gateway: {".codex/config.toml": WITH_PROVIDER.format(url=gateway.url)},
    main=_SEARCH,
    shell=_shell,
    subagent=None,  # it names another conversation by an id that it makes up
    search=_search,
)

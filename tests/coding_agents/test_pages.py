"""The pages of agents name what the tests with real ones run: set-up and version. No agent runs."""

from __future__ import annotations

import json
from typing import Final

import pytest

from gateway.keys.snippets import snippets_for
from tests.coding_agents.agent import Agent, Gateway
from tests.coding_agents.agents import AGENTS
from tests.coding_agents.npm import versions_seen
from tests.system.processes import ROOT

GATEWAY: Final = Gateway("http://127.0.0.1:8000", "pulse_key")
EACH_AGENT: Final = pytest.mark.parametrize("agent", AGENTS, ids=lambda agent: agent.page)


def _page(agent: Agent) -> str:
    return (ROOT / "docs" / "clients" / f"{agent.page}.md").read_text()


@EACH_AGENT
def test_page_and_readme_name_version_last_seen_to_work(agent: Agent) -> None:
    version = versions_seen()[agent.package]
    assert f"Last seen to work: **{version}**, from npm (`{agent.package}`)" in _page(agent)
    assert f"](docs/clients/{agent.page}.md) | {version} |" in (ROOT / "README.md").read_text()


@EACH_AGENT
def test_page_names_environment_of_tests(agent: Agent) -> None:
    page = _page(agent)
    assert [name for name in agent.environment(GATEWAY) if name not in page] == []
    for value in agent.environment(GATEWAY).values():
        assert GATEWAY.url not in value or f"={value}\n" in page


@pytest.mark.parametrize("page", ["claude-code", "opencode"])
def test_lines_of_key_page_are_those_of_tests(page: str) -> None:
    [agent] = [agent for agent in AGENTS if agent.page == page]
    snippets = snippets_for(key=GATEWAY.key, base_url=f"{GATEWAY.url}/", sandbox=False)
    [code] = [snippet.code for snippet in snippets if snippet.name == page]
    if code.startswith("{"):
        [file] = agent.files(GATEWAY).values()
        assert json.loads(code).items() <= json.loads(file).items()
    else:
        *exports, program = code.splitlines()
        exported = dict(line.removeprefix("export ").split("=", 1) for line in exports)
        assert exported.items() <= agent.environment(GATEWAY).items()
        assert program == agent.program

"""Claude Code and Codex at servers of one's own: their own dialects, without any translation."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import pytest

from tests.coding_agents.agent import Agent, Gateway
from tests.coding_agents.books import Books
from tests.coding_agents.claude_code import CLAUDE_CODE
from tests.coding_agents.codex import CODEX_WITH_PROVIDER, WITH_PROVIDER
from tests.coding_agents.seat import Seat
from tests.fake_provider import FOREVER, HOSTS
from tests.system.servers import HOST, Installation
from tests.system.upstream import Upstream

PATHS: Final = {"claude-code": "/v1/messages", "codex": "/v1/responses"}

pytestmark = pytest.mark.agents


@dataclass(frozen=True, slots=True)
class LocalServer:
    """A fake server, and the name of its model at the gateway."""

    upstream: Upstream
    model: str


@pytest.fixture(params=["vllm", "ollama"], scope="module")
def local(
    request: pytest.FixtureRequest,
    installation: Installation,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[LocalServer]:
    """vLLM and Ollama as rows, by their presets."""
    name, host = request.param, HOSTS[request.param]
    upstream = Upstream(tmp_path_factory.mktemp(name) / "record.jsonl", host=name)
    url = f"http://{HOST}:{upstream.port}{host.path}"
    secret = ("--secret-stdin",) if host.credentials else ()
    # Codex declares OpenAI's search with every model; these servers have none.
    usd = ("--input", "1", "--output", "2", "--web-search", "0")
    try:
        installation.run_each(
            ("providers", "add", f"my-{name}", "--preset", name, "--base-url", url, *secret),
            ("prices", "set", host.models[0], "--provider", f"my-{name}", *usd),
            stdin=host.key,
        )
        yield LocalServer(upstream, f"my-{name}/{host.models[0]}")
    finally:
        upstream.stop()


@pytest.fixture(params=[CLAUDE_CODE, CODEX_WITH_PROVIDER], ids=lambda agent: agent.page)
def seat(
    request: pytest.FixtureRequest,
    local: LocalServer,
    gateway: Gateway,
    programs: Path,
    place: Path,
) -> Seat:
    """An agent that is set to the server's model."""
    made = Seat(_with_model(request.param, local.model), gateway, programs, place)
    made.prepare()
    return made


def _with_model(agent: Agent, model: str) -> Agent:
    if agent is CLAUDE_CODE:
        # https://code.claude.com/docs/en/model-config
        names = ("ANTHROPIC_MODEL", "ANTHROPIC_DEFAULT_HAIKU_MODEL")
        named = dict.fromkeys(names, model)
        return replace(agent, environment=lambda at: {**agent.environment(at), **named})
    config = WITH_PROVIDER.replace(agent.model, model)
    return replace(agent, files=lambda at: {".codex/config.toml": config.format(url=at.url)})


def test_tool_runs_by_model_of_local_server(seat: Seat, local: LocalServer, books: Books) -> None:
    asked, answered, made = (f"w{secrets.token_hex(6)}" for _ in range(3))
    command = f"printf '%s-%s' {made} tool"
    answers: list[dict[str, Any]] = [
        {"when": [asked, f"{made}-tool"], "content": answered},
        {"when": [asked, '"tools":['], "tool_calls": [seat.agent.shell(command)]},
        {},
    ]
    local.upstream.reset()
    local.upstream.answers(*({"times": FOREVER} | answer for answer in answers))
    assert answered in seat.run(seat.agent.once(f"Run {asked}"))
    calls = local.upstream.calls()
    assert {call["path"].partition("?")[0] for call in calls} == {PATHS[seat.agent.page]}
    assert f"my-{calls[0]['vendor']}/{calls[0]['body']['model']}" == local.model
    rows = books.new()
    assert {row.status for row in rows} == {"ok"}
    assert all(row.cost_nanoeur for row in rows)

"""Fixtures of the tests with coding agents: one gateway, one fake provider, 20 EUR a day."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.coding_agents.agent import Agent, Gateway
from tests.coding_agents.agents import AGENTS
from tests.coding_agents.books import Books
from tests.coding_agents.npm import installed
from tests.coding_agents.seat import Seat
from tests.system.databases import at_upstream, prepare
from tests.system.rows import Rows
from tests.system.servers import Installation
from tests.system.upstream import Upstream

EUR_A_DAY: Final = "20"


@pytest.fixture(scope="session")
def programs(pytestconfig: pytest.Config) -> Path:
    """The folder of the agents' commands."""
    return installed(newest=pytestconfig.getoption("--agents") == "newest")


@pytest.fixture(scope="session")
def vendors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstream]:
    """The fake provider as a process."""
    running = Upstream(tmp_path_factory.mktemp("vendors") / "record.jsonl")
    yield running
    running.stop()


@pytest.fixture(scope="session")
def installation(
    vendors: Upstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    """A gateway on SQLite, with the agents' organization."""
    folder = tmp_path_factory.mktemp("gateway")
    made = Installation(
        database_url=f"sqlite:///{folder}/gateway.sqlite3",
        folder=folder,
        environment={**at_upstream(vendors.port), "PULSE_PROVIDER_TIMEOUT_S": "3600"},
    )
    try:
        made.key = prepare(made)
        made.run("policies", "create", "acme", "--name", "day", "--max-cost-per-day", EUR_A_DAY)
        yield made
    finally:
        made.kill_all()


@pytest.fixture(scope="session")
def gateway(installation: Installation) -> Gateway:
    """The gateway, with a key of the agents' organization."""
    [server] = installation.serve()
    return Gateway(server.url, installation.key)


@pytest.fixture
def upstream(vendors: Upstream) -> Upstream:
    """The fake provider, strict, without calls."""
    vendors.reset()
    return vendors


@pytest.fixture
def books(installation: Installation, upstream: Upstream) -> Iterator[Books]:
    """The rows of a test; after it, the books must agree."""
    made = Books(installation, Rows(installation.database_url))
    made.begin()
    yield made
    made.check()


@pytest.fixture(params=AGENTS, ids=lambda agent: agent.page)
def agent(request: pytest.FixtureRequest) -> Agent:
    """Each agent in turn."""
    taken: Agent = request.param
    return taken


@pytest.fixture
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose name, which agents show, has none of the words that tests look for."""
    return tmp_path_factory.mktemp("place")


@pytest.fixture
def seat(agent: Agent, gateway: Gateway, programs: Path, place: Path) -> Seat:
    """The agent, ready to run."""
    made = Seat(agent, gateway, programs, place)
    made.prepare()
    return made

"""Fixtures of the system tests: a prepared database and a fake provider for each module."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.system.clients import ClientCall, ask_one, first_calls, warm_up
from tests.system.console import Console, fill
from tests.system.databases import SECRET_KEY, Databases, at_upstream, prepare
from tests.system.misbehaviour import TIMEOUT_S, Case
from tests.system.rows import Rows
from tests.system.servers import Installation, Server, free_port
from tests.system.upstream import Upstream


@pytest.fixture(scope="session")
def databases(tmp_path_factory: pytest.TempPathFactory) -> Databases:
    """Where databases of the kind of this run are made."""
    return Databases(tmp_path_factory.mktemp("system-databases"))


@pytest.fixture(scope="session")
def template(
    databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, str]]:
    """A database as `prepare` leaves it, to be copied, and Acme's key."""
    name = databases.make()
    installation = Installation(
        database_url=databases.url(name),
        folder=tmp_path_factory.mktemp("template"),
        environment={"SECRET_KEY": SECRET_KEY},
    )
    try:
        yield name, prepare(installation)
    finally:
        databases.drop(name)


@pytest.fixture(scope="module")
def empty_database_url(databases: Databases, template: tuple[str, str]) -> Iterator[str]:
    """Like the suite's fixture of this name, but for a module and filled from the template."""
    name = databases.make(template=template[0])
    yield databases.url(name)
    databases.drop(name)


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstream]:
    """The fake provider as a process, for a whole module."""
    running = Upstream(tmp_path_factory.mktemp("upstream") / "record.jsonl")
    yield running
    running.stop()


@pytest.fixture(scope="module")
def installation(
    empty_database_url: str,
    template: tuple[str, str],
    upstream: Upstream,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Installation]:
    """Acme's and Globex' gateway, priced, pointed at the fake provider; nothing runs yet."""
    made = Installation(
        database_url=empty_database_url,
        folder=tmp_path_factory.mktemp("servers"),
        environment=at_upstream(upstream.port),
        key=template[1],
    )
    try:
        yield made
    finally:
        made.kill_all()


@pytest.fixture(scope="module")
def server(installation: Installation) -> Server:
    """One server process that a whole module uses; it has called every vendor."""
    [started] = installation.serve()
    asyncio.run(warm_up(started.url, installation.key))
    return started


@pytest.fixture(scope="module")
def hasty(installation: Installation) -> Server:
    """A server with a short provider timeout, possibly too short for the first calls."""
    [started] = installation.serve(PULSE_PROVIDER_TIMEOUT_S=str(TIMEOUT_S))
    asyncio.run(first_calls(started.url, installation.key))
    return started


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def console(
    chromium: Browser,
    databases: Databases,
    template: tuple[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Console]:
    """Acme's console with weeks of data; tests leave its people, policies and settings as found."""
    name = databases.make(template=template[0])
    installation = Installation(
        database_url=databases.url(name),
        folder=tmp_path_factory.mktemp("console"),
        environment=at_upstream(free_port()),  # vendors that no test of the console calls
        key=template[1],
    )
    try:
        fill(installation, per_day=16)
        [server] = installation.serve()
        # A new process imports what calls need when the first one comes.
        first = ClientCall(call="first", more={"model": "sandbox-small"})
        assert (await ask_one(server.url, installation.key, first)).is_answered
        made = Console(browser=chromium, installation=installation, url=server.url)
        yield made
        await made.close()
    finally:
        installation.kill_all()
        databases.drop(name)


@pytest.fixture
def facing(server: Server, hasty: Server, case: Case) -> Server:
    """The server for a case: with a short timeout only if the case is about it."""
    return hasty if case.waits else server


@pytest.fixture
def rows(installation: Installation) -> Rows:
    """The rows of the installation's database."""
    return Rows(installation.database_url)

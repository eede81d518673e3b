"""Fixtures of the system tests: a prepared database and a fake provider for each module."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser
from pytest_django import DjangoDbBlocker

from tests.databases import shared_folder
from tests.system.clients import ClientCall, ask_one, first_calls, warm_up
from tests.system.console import Console, fill
from tests.system.databases import Template, at_upstream, one_template
from tests.system.misbehaviour import TIMEOUT_S, Case
from tests.system.rows import Rows
from tests.system.servers import Installation, Server, free_port
from tests.system.upstream import Upstream


@pytest.fixture(scope="session")
def forks(pytestconfig: pytest.Config) -> bool:
    """Whether commands and servers are forks; the long run starts each as a shell does."""
    return not pytestconfig.getoption("--long")


@pytest.fixture(scope="session")
def template(
    tmp_path_factory: pytest.TempPathFactory, django_db_blocker: DjangoDbBlocker, forks: bool
) -> Iterator[Template]:
    """A database as `prepare` leaves it, to be copied, and Acme's key."""
    folder = shared_folder(tmp_path_factory)
    with one_template(folder, django_db_blocker, forks=forks) as made:
        yield made


@pytest.fixture(scope="module")
def empty_database_url(template: Template) -> Iterator[str]:
    """Like the suite's fixture of this name, but for a module and filled from the template."""
    with template.copied() as url:
        yield url


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstream]:
    """The fake provider as a process, for a whole module."""
    running = Upstream(tmp_path_factory.mktemp("upstream") / "record.jsonl")
    yield running
    running.stop()


@pytest.fixture(scope="module")
def installation(
    empty_database_url: str,
    template: Template,
    upstream: Upstream,
    tmp_path_factory: pytest.TempPathFactory,
    forks: bool,
) -> Iterator[Installation]:
    """Acme's and Globex' gateway, priced, pointed at the fake provider; nothing runs yet."""
    made = Installation(
        database_url=empty_database_url,
        folder=tmp_path_factory.mktemp("servers"),
        environment=at_upstream(upstream.port),
        key=template.key,
        forks=forks,
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
    template: Template,
    tmp_path_factory: pytest.TempPathFactory,
    forks: bool,
) -> AsyncIterator[Console]:
    """Acme's console with weeks of data; tests leave its people, policies and settings as found."""
    with template.copied() as url:
        installation = Installation(
            database_url=url,
            folder=tmp_path_factory.mktemp("console"),
            environment=at_upstream(free_port()),  # vendors that no test of the console calls
            key=template.key,
            forks=forks,
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


@pytest.fixture
def facing(server: Server, hasty: Server, case: Case) -> Server:
    """The server for a case: with a short timeout only if the case is about it."""
    return hasty if case.waits else server


@pytest.fixture
def rows(installation: Installation) -> Rows:
    """The rows of the installation's database."""
    return Rows(installation.database_url)

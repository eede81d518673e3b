"""Fixtures of the client tests: one fake provider and one gateway for all tests of a process."""

from __future__ import annotations

from collections.abc import Iterator

import httpx2
import pytest
from pytest_django import DjangoDbBlocker

from tests.clients.raw import CALL_MAX_S
from tests.clients.targets import Target, direct_target, gateway_target
from tests.databases import shared_folder
from tests.system.databases import at_upstream, one_template
from tests.system.rows import Rows
from tests.system.servers import Installation
from tests.system.upstream import Upstream


@pytest.fixture(scope="session")
def vendors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstream]:
    """The fake provider as a process."""
    running = Upstream(tmp_path_factory.mktemp("vendors") / "record.jsonl")
    yield running
    running.stop()


@pytest.fixture
def upstream(vendors: Upstream) -> Upstream:
    """The fake provider, reset."""
    vendors.reset()
    return vendors


@pytest.fixture(scope="session")
def installation(
    vendors: Upstream,
    tmp_path_factory: pytest.TempPathFactory,
    django_db_blocker: DjangoDbBlocker,
    pytestconfig: pytest.Config,
) -> Iterator[Installation]:
    """A gateway with Acme."""
    forks = not pytestconfig.getoption("--long")
    with (
        one_template(shared_folder(tmp_path_factory), django_db_blocker, forks=forks) as template,
        template.copied() as url,
    ):
        made = Installation(
            database_url=url,
            folder=tmp_path_factory.mktemp("gateway"),
            environment=at_upstream(vendors.port),
            key=template.key,
            forks=forks,
        )
        try:
            yield made
        finally:
            made.kill_all()


@pytest.fixture(scope="session")
def gateway_url(installation: Installation) -> str:
    """The gateway's base URL."""
    [server] = installation.serve()
    return server.url


@pytest.fixture
def gateway(gateway_url: str, installation: Installation, upstream: Upstream) -> Target:
    """The gateway as a target."""
    return gateway_target(gateway_url, installation.key)


@pytest.fixture
def direct(upstream: Upstream) -> Target:
    """The fake provider as a target."""
    return direct_target(upstream.port)


@pytest.fixture(params=["direct", "gateway"])
def target(request: pytest.FixtureRequest) -> Target:
    """Each target in turn."""
    taken: Target = request.getfixturevalue(request.param)
    return taken


@pytest.fixture
def rows(installation: Installation) -> Rows:
    """The rows of the gateway's database."""
    return Rows(installation.database_url)


@pytest.fixture
def http() -> Iterator[httpx2.Client]:
    """A plain HTTP client. It loads no certificates, which would take 0.05 s."""
    with httpx2.Client(timeout=CALL_MAX_S, trust_env=False, verify=False) as opened:
        yield opened

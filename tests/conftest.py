"""Common to all tests: a separate database, no network, and the selection of tests."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from django.conf import settings as project
from django.db import connection
from pytest_django import Settings
from xdist.scheduler import LoadScopeScheduling

pytest_plugins = ["tests.databases", "tests.cast", "tests.chromium"]

BROWSER = ("test_console_", "test_first_minute")
SYSTEM = Path(__file__).parent / "system"
LEDGER = Path(__file__).parent / "costs" / "ledger"
SECOND_DATABASE = re.compile("both_databases|postgres_only")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="also run the long loops")
    parser.addoption("--aimock", action="store_true", help="also try a fake that npm installs")
    parser.addoption("--servers", choices=("seen", "newest"), help="also run real model servers")
    parser.addoption("--agents", choices=("seen", "newest"), help="also run the coding agents")
    parser.addoption(
        "--second-database", action="store_true", help="run only what is marked both_databases"
    )
    parser.addoption("--ledger-only", action="store_true", help="run only the ledger's tests")


# How long an example takes says how busy the machine is.
hypothesis.settings.register_profile(
    "suite", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)


def pytest_configure() -> None:
    """Turn off slow parts that no test in this process needs; servers under test have them."""
    hypothesis.settings.load_profile("suite")
    # The sign-in's tests guess a hundred passwords.
    project.PASSWORD_HASHERS = ["tests.factories.CheapArgon2"]
    # Each test client makes its own middleware, which looks up 180 files in 0.07 s.
    project.SERVESTATIC_USE_FINDERS = project.SERVESTATIC_AUTOREFRESH = False
    project.SERVESTATIC_USE_STATIC_ROOT = False
    # What is served on this machine is no matter of the tests.
    project.SERVED_URL_FILE = Path("/nonexistent/served_url")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Pass over files that have nothing for this run: to import all takes a worker 10 s."""
    if not collection_path.name.startswith("test_"):
        return None
    if config.getoption("--ledger-only"):
        return LEDGER not in collection_path.parents or None
    if config.getoption("--second-database"):
        return not SECOND_DATABASE.search(collection_path.read_text()) or None
    return None


class FilesInOrder(LoadScopeScheduling):
    """A worker that is free takes the next file; those that drive a browser are one."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "browser" if Path(file).name.startswith(BROWSER) else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> FilesInOrder:
    """A file's servers start once, and the longest files begin first."""
    config.option.loadscopereorder = False
    return FilesInOrder(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect, rather than skip, what is not for this run: a skip should mean something.

    What drives a browser or starts servers comes first, so that the many short files behind
    keep all workers busy until the end.
    """
    selected = [item for item in items if _is_for_this_run(item, config)]
    config.hook.pytest_deselected(items=list(set(items) - set(selected)))
    items[:] = sorted(selected, key=_place)


def _place(item: pytest.Item) -> tuple[bool, bool, bool]:
    folder = item.path.parent
    return (
        item.get_closest_marker("browser") is None,
        SYSTEM not in item.path.parents,
        folder != SYSTEM.parent,
    )


def _is_for_this_run(item: pytest.Item, config: pytest.Config) -> bool:
    if item.get_closest_marker("postgres_only") and connection.vendor != "postgresql":
        return False
    if any(
        item.get_closest_marker(name) and not config.getoption(f"--{name}")
        for name in ("long", "aimock", "agents", "servers")
    ):
        return False
    if config.getoption("--second-database"):
        return any(map(item.get_closest_marker, ("both_databases", "postgres_only")))
    return True


@pytest.fixture(autouse=True)
def _no_provider_is_configured(settings: Settings) -> None:
    """A key in the developer's environment must not reach a real provider."""
    settings.PROVIDERS = dict.fromkeys(settings.PROVIDERS, ("", None))

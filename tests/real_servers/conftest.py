"""Fixtures of the tests with real servers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.real_servers.llama_cpp import LlamaCpp
from tests.real_servers.packages import installed


@pytest.fixture(scope="session")
def llama_cpp(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LlamaCpp]:
    """llama.cpp's own server; its tests are skipped where its package cannot be had."""
    python = installed(newest=pytestconfig.getoption("--servers") == "newest")
    server = LlamaCpp(python, tmp_path_factory.mktemp("llama_cpp"))
    try:
        yield server
    finally:
        server.stop()

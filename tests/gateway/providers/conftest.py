"""The fakes of other servers, each started once for a module's tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, nullcontext

import pytest

from tests.fake_provider import FakeProvider
from tests.gateway.providers.fake_hosts import Running


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    """Run hosts on request; each begins a test without calls and behaviours."""
    started: dict[str, FakeProvider] = {}
    with ExitStack() as stack:

        def run(name: str) -> nullcontext[FakeProvider]:
            if name not in started:
                started[name] = stack.enter_context(FakeProvider(host=name))
            started[name].reset()
            return nullcontext(started[name])

        yield run

"""Reads of lists and quotes: by organization, over connections that their threads keep."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from django.db import OperationalError, connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from gateway.call import reads
from gateway.call.reads import READS_WAITING_MAX, SharedReads, read
from gateway.call.runtime import Gateway
from gateway.core.errors import Refused
from orgs.models import Organization
from orgs.threads import READS, Threads
from tests.gateway.conftest import Asking
from tests.gateway.stand_ins import until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]

HELLO = {"model": "sandbox-small", "prompt": "Say hello"}


@pytest.fixture
def threads() -> Iterator[Threads]:
    """A thread that keeps its connection."""
    made = Threads("kept", 1, keeps_connections=True)
    yield made
    made.run_in_each(connections.close_all)


def _queried() -> tuple[BaseDatabaseWrapper, object]:
    """Query; return this thread's connection and the driver's."""
    Organization.objects.exists()
    return connections["default"], connection.connection


async def test_thread_keeps_its_connection(threads: Threads) -> None:
    _, first = await read(threads, None, _queried)
    _, second = await read(threads, None, _queried)
    assert first is second is not None


async def test_other_thread_closes_its_connection() -> None:
    threads = Threads("closing", 1)
    wrapper, _ = await read(threads, None, _queried)
    assert wrapper.connection is None


async def test_old_connection_is_replaced(
    threads: Threads, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, first = await read(threads, None, _queried)
    monkeypatch.setattr(reads, "KEPT_MAX_S", 0.0)
    _, second = await read(threads, None, _queried)
    assert first is not second


async def test_connection_after_error_is_replaced(threads: Threads) -> None:
    def failing() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT no_such_column")

    _, first = await read(threads, None, _queried)
    with pytest.raises(Exception, match=r"no_such_column|unavailable"):
        await read(threads, None, failing)
    _, second = await read(threads, None, _queried)
    assert first is not second


async def test_lost_connection_is_replaced_and_read_again(threads: Threads) -> None:
    tries = list[int]()

    def once_lost() -> bool:
        tries.append(1)
        if len(tries) == 1:
            raise OperationalError("the server closed the connection")
        return Organization.objects.exists()

    _, first = await read(threads, None, _queried)
    await read(threads, None, once_lost)
    _, second = await read(threads, None, _queried)
    assert len(tries) == 2
    assert first is not second


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/v1/models"), ("GET", "/api/ai/requests"), ("POST", "/api/ai/quote")],
)
def test_read_waits_for_its_own_organization_only(
    ask: Asking, gateway: Gateway, acme: Organization, method: str, path: str
) -> None:
    gate, body = threading.Event(), HELLO if method == "POST" else None

    async def fill() -> None:
        works = (READS.run(acme.pk, partial(gate.wait, 30)) for _ in range(READS.of_one or 0))
        await asyncio.gather(*works)

    with ThreadPoolExecutor(2) as others:
        filling = others.submit(lambda: asyncio.run(fill()))
        try:
            until(lambda: READS._running[acme.pk] == READS.of_one)
            asking = others.submit(partial(ask, body, path=path, method=method))
            until(lambda: acme.pk in READS._waiting)
        finally:
            gate.set()
        filling.result()
        assert asking.result().status == 200


async def test_shared_reads_that_wait_are_bounded() -> None:
    shared, gate = SharedReads(), threading.Event()

    def slow() -> bool:
        return gate.wait(30)

    waiting = [
        asyncio.create_task(shared.read(number, slow, suffices=bool))
        for number in range(READS_WAITING_MAX)
    ]
    await asyncio.sleep(0)
    with pytest.raises(Refused, match="Too many requests are waiting"):
        await shared.read("one more", slow, suffices=bool)
    gate.set()
    assert all(await asyncio.gather(*waiting))
    shared.close()

"""How many backtests run at once, and what the others are answered."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from threading import current_thread
from typing import Any
from uuid import UUID

import pytest
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.test import Client

from gateway.core.errors import Refused
from gateway.policies import effect
from gateway.policies.backtests.running import RETRY_AFTER_S, RUNNING, RUNNING_MAX, RunningBacktests
from orgs.fields import new_id
from orgs.models import Organization, User
from orgs.threads import BACKTESTS, BODIES, EXPORTS, READS
from tests.gateway.conftest import Asking

API = "/api/ai/policies/backtest"
EFFECT = "/admin/ai/policies/effect"
FORM = "/admin/ai/policies/create"
OWN = "Another backtest of this organization is running; try again later"
OTHERS = "Too many backtests are running; try again later"


@pytest.fixture
def held() -> Iterator[ExitStack]:
    """Backtests that run until the test is over."""
    with ExitStack() as stack:
        yield stack


def refusal(running: RunningBacktests, organization: Organization | None = None) -> str | None:
    try:
        with running.one_of(organization.pk if organization else new_id()):
            return None
    except Refused as exc:
        assert (exc.status, exc.code, exc.retry_after_s) == (429, "rate_limited", RETRY_AFTER_S)
        return exc.message


def test_organization_runs_one_and_process_two(held: ExitStack, acme: Organization) -> None:
    running = RunningBacktests()
    assert refusal(running, acme) is None
    held.enter_context(running.one_of(acme.pk))
    assert refusal(running, acme) == OWN
    assert refusal(running) is None
    for _ in range(RUNNING_MAX - 1):
        held.enter_context(running.one_of(new_id()))
    assert refusal(running) == OTHERS
    held.close()
    assert refusal(running, acme) is None


def test_failed_backtest_leaves_its_place(acme: Organization) -> None:
    running = RunningBacktests()
    with pytest.raises(ZeroDivisionError), running.one_of(acme.pk):
        _ = 1 // 0
    assert refusal(running, acme) is None


def test_page_waits_for_organizations_last_backtest(acme: Organization) -> None:
    running, started = RunningBacktests(), threading.Event()
    order = list[str]()

    def first() -> None:
        with running.one_of(acme.pk):
            started.set()
            threading.Event().wait(0.1)
            order.append("first")

    thread = threading.Thread(target=first)
    thread.start()
    started.wait(5)
    with running.one_of(acme.pk, wait_s=10):
        order.append("second")
    thread.join()
    assert order == ["first", "second"]


@pytest.mark.django_db(transaction=True)
def test_api_refuses_second_backtest(ask: Asking, held: ExitStack, acme: Organization) -> None:
    held.enter_context(RUNNING.one_of(acme.pk))
    reply = ask(method="GET", path=API)
    assert reply.refusal == (429, "rate_limited", OWN)
    assert reply.headers["retry-after"] == str(RETRY_AFTER_S)
    held.close()
    assert ask(method="GET", path=API).status == 200


@pytest.mark.django_db(transaction=True)
def test_api_keeps_its_place_while_it_reads(ask: Asking, acme: Organization) -> None:
    running = list[set[UUID]]()

    def watched(execute: Callable[..., Any], sql: str, *more: Any) -> Any:
        if 'FROM "ai_request_log"' in sql:
            running.append(set(RUNNING._organizations))
        return execute(sql, *more)

    def watch(connection: BaseDatabaseWrapper, **_: Any) -> None:
        if current_thread().name.startswith(BACKTESTS.name):
            connection.execute_wrappers.append(watched)

    connection_created.connect(watch)
    try:
        assert ask(method="GET", path=API).status == 200
    finally:
        connection_created.disconnect(watch)
    assert running
    assert all(each == {acme.pk} for each in running)
    assert not RUNNING._organizations


@pytest.mark.django_db(transaction=True)
def test_readiness_and_requests_do_not_wait_for_other_work(ask: Asking) -> None:
    gate = threading.Event()
    pools = (BACKTESTS, EXPORTS, READS, BODIES)

    async def fill() -> None:
        works = [pool.run(new_id(), partial(gate.wait, 30)) for pool in pools for _ in range(8)]
        await asyncio.gather(*works)

    filling = threading.Thread(target=lambda: asyncio.run(fill()))
    filling.start()
    try:
        assert ask(method="GET", path="/readyz").status == 200
        assert ask({"model": "sandbox-small", "prompt": "hi"}).status == 200
    finally:
        gate.set()
        filling.join()


@pytest.mark.django_db
@pytest.mark.parametrize(("path", "more"), [(EFFECT, {}), (FORM, {"effect": "show"})])
def test_page_says_that_another_backtest_runs(  # noqa: PLR0913  fixtures
    path: str,
    more: dict[str, str],
    held: ExitStack,
    acme: Organization,
    admin_user: User,
    client_for: Callable[[User], Client],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(effect, "EFFECT_MAX_S", 0.0)
    held.enter_context(RUNNING.one_of(acme.pk))
    client = client_for(admin_user)
    answer = client.post(path, {"name": "P", "max_tokens_per_request": "5", **more})
    assert (answer.status_code, answer["Retry-After"]) == (429, str(RETRY_AFTER_S))
    assert OWN in answer.content.decode()
    held.close()
    assert (
        client.post(path, {"name": "P", "max_tokens_per_request": "5", **more}).status_code == 200
    )

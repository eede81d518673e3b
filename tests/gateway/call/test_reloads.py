"""One read for all that wait for it, only of what changed, and never one from before a change."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Event, current_thread
from typing import Any

import pytest
from django.db import OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.utils.timezone import now

from costs.models import Rate
from costs.prices.book import price_list_version
from gateway.call.runtime import Gateway
from gateway.models import Budget, ModelAlias, Policy
from orgs.models import ApiKey, Organization
from tests.commands import output_of
from tests.factories import AliasFactory, BudgetFactory, HourlyPriceFactory, PolicyFactory
from tests.fake_provider.thread import FakeProvider
from tests.gateway.attempts import CHAT, OPENAI
from tests.gateway.conftest import Asking
from tests.gateway.stand_ins import Only, StandIn, until
from tests.gateway.wire import Reply

pytestmark = pytest.mark.django_db(transaction=True)

HELLO = {"model": "sandbox-small", "prompt": "Say hello"}
AT_ONCE = 8


@dataclass
class Reads:
    """Reads of tables by the gateway's threads: counted, held back or failed.

    `held` names a table whose next read has its rows but returns them only when `may_end` is set.
    """

    tables: list[str] = field(default_factory=list)
    held: str | None = None
    reached: Event = field(default_factory=Event)
    may_end: Event = field(default_factory=Event)
    failing: list[str] = field(default_factory=list)

    def of(self, *tables: str) -> list[int]:
        """Return how often each table was read, and start from 0."""
        found = [self.tables.count(table) for table in tables]
        self.tables.clear()
        return found

    def hold(self, table: str) -> None:
        """Hold back the next read of the table."""
        self.held = table

    def run(
        self, execute: Callable[..., Any], sql: str, values: Any, many: bool, context: Any
    ) -> Any:
        """Run a query of a connection."""
        if not current_thread().name.startswith("snapshots"):
            return execute(sql, values, many, context)
        table = sql.rpartition(' FROM "')[2].partition('"')[0]
        self.tables.append(table)
        if table in self.failing:
            self.failing.remove(table)
            raise OperationalError("the database is away")
        found = execute(sql, values, many, context)
        if table == self.held:
            self.held = None
            self.reached.set()
            assert self.may_end.wait(10)
        return found


@pytest.fixture
def reads() -> Iterator[Reads]:
    """Watch the connections that are opened from now on: the gateway's, which is new."""
    made = Reads()

    def watch(connection: BaseDatabaseWrapper, **_: Any) -> None:
        connection.execute_wrappers.append(made.run)

    connection_created.connect(watch)
    yield made
    connection_created.disconnect(watch)
    made.may_end.set()


@dataclass
class Crowd:
    """Callers that ask at the same time."""

    threads: ThreadPoolExecutor
    ask: Asking

    def asks(self, count: int = 1, **more: Any) -> list[Future[Reply]]:
        return [self.threads.submit(self.ask, HELLO, **more) for _ in range(count)]


@pytest.fixture
def crowd(reads: Reads, ask: Asking) -> Iterator[Crowd]:
    with ThreadPoolExecutor(AT_ONCE) as threads:
        yield Crowd(threads, ask)
        reads.may_end.set()


def statuses(replies: list[Future[Reply]]) -> set[int]:
    return {reply.result(timeout=120).status for reply in replies}


def new_policy(acme: Organization) -> None:
    PolicyFactory.create(org=acme, blocked_models=["gpt-4"])


def new_alias(acme: Organization) -> None:
    AliasFactory.create(org=acme, name="fast", models=["sandbox-small"])


def new_budget(acme: Organization) -> None:
    BudgetFactory.create(org=acme)


@pytest.mark.parametrize("change", [new_policy, new_alias, new_budget])
def test_organization_change_is_read_once_for_all_and_without_prices(
    crowd: Crowd, reads: Reads, gateway: Gateway, acme: Organization, change: Callable[..., None]
) -> None:
    assert statuses(crowd.asks()) == {200}
    change(acme)
    reads.of()
    reads.hold("model_alias")
    replies = crowd.asks(AT_ONCE)
    assert reads.reached.wait(10)
    until(lambda: len(gateway.tasks) == AT_ONCE)
    reads.may_end.set()
    assert statuses(replies) == {200}
    assert reads.of("policy", "model_alias", "budget", "rate") == [1, 1, 1, 0]


def test_key_is_read_once_for_all_after_change(
    crowd: Crowd, reads: Reads, acme: Organization
) -> None:
    assert statuses(crowd.asks()) == {200}
    new_policy(acme)
    reads.of()
    reads.hold("api_key")
    replies = crowd.asks(AT_ONCE)
    assert reads.reached.wait(10)
    time.sleep(0.3)  # the others arrive, and wait for the key before or after they are a task
    reads.may_end.set()
    assert statuses(replies) == {200}
    assert reads.of("api_key") == [1]


def test_price_change_is_read_once_for_all_and_without_organization(
    crowd: Crowd, reads: Reads, gateway: Gateway
) -> None:
    assert statuses(crowd.asks()) == {200}
    Rate.objects.filter(model="sandbox-small").update(input_usd_per_mtok="7")
    reads.of()
    reads.hold("rate")
    replies = crowd.asks(AT_ONCE)
    assert reads.reached.wait(10)
    until(lambda: len(gateway.tasks) == AT_ONCE)
    reads.may_end.set()
    assert statuses(replies) == {200}
    assert reads.of("rate", "policy", "api_key") == [1, 0, 0]


def test_new_exchange_rate_prices_next_call(ask: Asking) -> None:
    first = ask(HELLO).json["estimatedCostEur"]  # at 1.10 USD per EUR
    output_of("rates", "set", "1.32")
    assert ask(HELLO).json["estimatedCostEur"] == pytest.approx(first * 1.10 / 1.32, rel=1e-2)
    output_of("rates", "set", "2.20", "--force")
    assert ask(HELLO).json["estimatedCostEur"] == pytest.approx(first / 2, rel=1e-2)


def test_cold_gateway_reads_each_once(
    reads: Reads, gateway: Gateway, acme: Organization, api_key: str
) -> None:
    directory, [public] = gateway.directory, ApiKey.objects.values_list("public", flat=True)

    async def all_at_once(table: str, wanted: Callable[[], Awaitable[object]]) -> None:
        reads.may_end.clear()
        reads.hold(table)
        waiting = [asyncio.ensure_future(wanted()) for _ in range(AT_ONCE)]
        await asyncio.sleep(0)  # all of them have asked
        reads.may_end.set()
        [first, *others] = await asyncio.gather(*waiting)
        assert all(other is first for other in others)

    async def cold() -> None:
        await all_at_once("api_key", lambda: directory.key(public))
        await all_at_once("policy", lambda: directory.organization(acme.pk))
        await all_at_once("rate", directory.prices)

    gateway.call_loop.call_sync(cold())
    assert reads.of("rate", "policy", "api_key") == [1, 1, 1]


def test_prices_by_hour_are_known_once_list_is_read(gateway: Gateway) -> None:
    """The ledger's writer asks without a query; None is not known yet."""
    seen = [gateway.writer.prices_by_hour()]
    for model in ("", "gpt-4"):
        gateway.call_loop.call_sync(gateway.directory.prices(version=price_list_version()))
        seen.append(gateway.writer.prices_by_hour())
        HourlyPriceFactory.create(model=model)
    assert seen == [None, False, True]


def test_live_versions_are_read_together_by_all_that_wait(
    reads: Reads, gateway: Gateway, acme: Organization
) -> None:
    asking: list[None] = []

    async def asked() -> int | None:
        asking.append(None)  # in the loop: it waits for the read before anything else runs there
        return (await gateway.directory.versions(acme.pk)).config_version

    def versions() -> int | None:
        return gateway.call_loop.call_sync(asked())

    reads.hold("organization")
    with ThreadPoolExecutor(AT_ONCE) as threads:
        first = threads.submit(versions)
        assert reads.reached.wait(10)
        later = [threads.submit(versions) for _ in range(AT_ONCE - 1)]
        until(lambda: len(asking) == AT_ONCE)
        new_policy(acme)
        reads.may_end.set()
        seen = {each.result(timeout=120) for each in later}

    assert seen == {Organization.objects.get(pk=acme.pk).config_version}
    assert seen != {first.result()}
    [times] = reads.of("organization")
    assert times in (2, 3)  # on a slow machine the second may end before all have woken up


def test_readiness_reads_prices_before_first_request(
    crowd: Crowd, reads: Reads, ask: Asking
) -> None:
    assert ask(method="GET", path="/readyz").status == 200
    assert reads.of("rate") == [1]
    assert statuses(crowd.asks()) == {200}
    assert reads.of("rate") == [0]


def test_gateway_without_prices_is_not_ready(gateway: Gateway, reads: Reads, ask: Asking) -> None:
    reads.failing += ["rate", "rate"]
    assert ask(method="GET", path="/readyz").status == 503
    gateway.checks = None  # what the database showed is kept for some seconds
    assert ask(method="GET", path="/readyz").status == 200


def test_quotes_and_model_lists_read_only_what_changed(
    crowd: Crowd, reads: Reads, ask: Asking, acme: Organization
) -> None:
    assert statuses(crowd.asks()) == {200}
    reads.of()
    assert ask(HELLO, path="/api/ai/quote").json["allowed"] is True
    assert ask(method="GET", path="/v1/models").status == 200
    assert reads.of("rate", "policy") == [0, 0]
    PolicyFactory.create(org=acme, blocked_models=["sandbox-small"])
    assert ask(HELLO, path="/api/ai/quote").json["code"] == "model_blocked"
    assert reads.of("rate", "policy") == [0, 1]
    Rate.objects.filter(model="sandbox-small").delete()
    PolicyFactory.create(org=acme, max_cost_per_day_nanoeur=1)
    Policy.objects.filter(max_cost_per_day_nanoeur=None).delete()
    assert ask(HELLO, path="/api/ai/quote").json["code"] == "model_unpriced"
    assert reads.of("rate", "policy") == [1, 1]


# --- changes during a read ----------------------------------------------------------------------


def blocked(acme: Organization) -> None:
    PolicyFactory.create(org=acme, blocked_models=["*"])


def switched_off(acme: Organization) -> None:
    Organization.objects.filter(pk=acme.pk).update(ai_gateway_enabled=False)


def revoked(acme: Organization) -> None:
    ApiKey.objects.filter(org=acme).update(revoked_at=now())


def unpriced(acme: Organization) -> None:
    PolicyFactory.create(org=acme, max_cost_per_day_nanoeur=1_000_000_000)
    Rate.objects.filter(model="sandbox-small").delete()


@pytest.mark.parametrize(
    ("table", "change", "code"),
    [
        ("model_alias", blocked, "model_blocked"),
        ("budget", switched_off, "gateway_disabled"),
        ("api_key", revoked, "unauthenticated"),
        ("rate", unpriced, "model_unpriced"),
    ],
)
def test_change_during_read_counts_for_request_that_shares_it(  # noqa: PLR0913  fixtures
    crowd: Crowd,
    reads: Reads,
    gateway: Gateway,
    acme: Organization,
    table: str,
    change: Callable[[Organization], None],
    code: str,
) -> None:
    provider = StandIn()
    gateway.providers = Only(provider)
    reads.hold(table)
    before = crowd.asks()
    assert reads.reached.wait(10)
    change(acme)  # what was read is from before it, and the answer is still to come
    after = crowd.asks(2)
    reads.may_end.set()
    assert {reply.result(timeout=120).json["code"] for reply in before + after} == {code}
    assert provider.asked == []


def test_new_key_is_valid_although_its_lookup_began_before(
    crowd: Crowd, reads: Reads, acme: Organization, make_key: Callable[..., str]
) -> None:
    text = make_key(acme, "new")
    row = ApiKey.objects.get(name="new")
    row.delete()
    reads.hold("api_key")
    before = crowd.asks(key=text)
    assert reads.reached.wait(10)
    row.save(force_insert=True)
    after = crowd.asks(key=text)
    reads.may_end.set()
    assert statuses(after) == {200}
    assert statuses(before) <= {200, 401}


def test_versions_of_restored_database_are_read_again(
    crowd: Crowd, gateway: Gateway, acme: Organization
) -> None:
    """They may be lower than those of the snapshots."""
    new_policy(acme)
    assert statuses(crowd.asks()) == {200}
    kept = gateway.directory._organizations
    [snapshot] = kept.values()
    object.__setattr__(snapshot, "config_version", snapshot.config_version + 5)
    [record] = gateway.directory._keys.values()
    object.__setattr__(record, "config_version", record.config_version + 5)
    assert statuses(crowd.asks()) == {200}


def test_request_of_deleted_organization_is_refused(crowd: Crowd, acme: Organization) -> None:
    assert statuses(crowd.asks()) == {200}
    for model in (Policy, Budget, ModelAlias, ApiKey):
        model.objects.filter(org=acme).delete()
    assert statuses(crowd.asks()) == {401}


# --- failing reads ------------------------------------------------------------------------------


@pytest.mark.parametrize("table", ["api_key", "policy", "rate"])
def test_failed_read_refuses_all_that_wait_and_is_not_kept(
    crowd: Crowd, reads: Reads, table: str
) -> None:
    reads.failing += [table, table]  # the second try has a new connection
    refused = crowd.asks()[0].result(timeout=120)
    assert refused.refusal[:2] == (503, "ledger_unavailable")
    assert refused.headers["retry-after"] == "1"
    assert statuses(crowd.asks()) == {200}


@pytest.mark.parametrize("table", ["api_key", "policy", "rate"])
def test_lost_kept_connection_refuses_no_request(crowd: Crowd, reads: Reads, table: str) -> None:
    reads.failing.append(table)
    assert statuses(crowd.asks()) == {200}


# --- the limit ----------------------------------------------------------------------------------


@pytest.fixture
def full(crowd: Crowd, reads: Reads, gateway: Gateway) -> list[Future[Reply]]:
    """Calls of Acme that wait for their hold, as many as may: half of all."""
    gateway.waiting_max = 4
    reads.hold("model_alias")
    waiting = crowd.asks(2)
    until(lambda: len(gateway.tasks) == 2)
    return waiting


def test_call_beyond_limit_is_refused_until_another_has_its_hold(
    full: list[Future[Reply]], crowd: Crowd, reads: Reads, gateway: Gateway
) -> None:
    refused = crowd.asks()[0].result(timeout=120)
    assert refused.refusal[:2] == (503, "overloaded")
    assert refused.headers["retry-after"] == "1"
    provider = StandIn(waits=True)
    gateway.providers = Only(provider)
    reads.may_end.set()
    try:
        until(lambda: len(provider.asked) == 2)
        admitted = crowd.asks()  # two are running, and none waits
        until(lambda: len(provider.asked) == 3)
    finally:
        provider.may_end.set()
    assert statuses(full + admitted) == {200}


def test_other_organization_has_places_left(
    full: list[Future[Reply]],
    crowd: Crowd,
    reads: Reads,
    globex: Organization,
    make_key: Callable[..., str],
) -> None:
    other = crowd.asks(key=make_key(globex))
    reads.may_end.set()
    assert statuses(full + other) == {200}


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/v1/chat/completions", "server_error"),
        ("/v1/messages", "api_error"),
        ("/v1beta/models/gpt-4o-mini:generateContent", "UNAVAILABLE"),
    ],
)
def test_refusal_has_format_of_its_endpoint(
    full: list[Future[Reply]], ask: Asking, reads: Reads, path: str, kind: str
) -> None:
    reply = ask(CHAT | {"model": OPENAI}, path=path)
    assert (reply.status, reply.headers["retry-after"]) == (503, "1")
    assert reply.headers["x-pulse-error-code"] == "overloaded"
    error = json.loads(reply.body)["error"]
    assert kind in (error.get("type"), error.get("status"))
    reads.may_end.set()
    assert statuses(full) == {200}


def test_refused_and_abandoned_calls_free_their_places(
    ask: Asking, gateway: Gateway, acme: Organization, vendors: FakeProvider
) -> None:
    gateway.waiting_max = 2
    for _ in range(3):
        assert ask(HELLO | {"model": "no-such-model"}).status == 400
        assert ask(HELLO).status == 200
    until(lambda: not gateway.tasks)
    assert not gateway._waiting and not gateway._waiting_of

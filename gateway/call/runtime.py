"""The process-wide gateway, made once: snapshots, providers, the ledger's writer."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final, NamedTuple
from uuid import UUID

from django.apps import apps
from django.conf import settings
from django.db import connections

from costs.core.admission import Stale
from costs.core.exchange_rates import RateInForce
from costs.ledger.buckets import forget_unused
from costs.ledger.connect import open_store
from costs.ledger.ledger import Ledger
from costs.ledger.stores.base import SHORT_LOCK_WAIT_S, Store, StoreUnavailable
from costs.ledger.writer import Writer
from gateway.call.call_loop import CallLoop, LoopLag
from gateway.call.call_stream import CallStream
from gateway.call.kept import rows as kept_rows
from gateway.call.records.idempotency import forget_expired
from gateway.call.records.journal import AuditJournal
from gateway.call.snapshot import Directory, OrganizationSnapshot
from gateway.call.waiting.room import WaitingRoom, read_balances
from gateway.core.body_budget import (
    CONVERSATIONS_MAX_BYTES,
    DROPPED_MAX,
    WEBSOCKETS_MAX,
    BodyBudget,
    no_room,
    shares_of,
)
from gateway.core.calls import Principal
from gateway.core.errors import KeyNotAllowed, Refused, overloaded
from gateway.core.model_names import Catalog
from gateway.providers.catalog import load_catalog
from gateway.providers.registry import Providers, providers_from_settings
from gateway.providers.routing.answering_rows import AnsweringRows
from gateway.providers.routing.health import Health
from gateway.providers.rows import ProviderBook
from orgs.fields import new_id
from orgs.threads import KEPT, READS

USED_AT_MOST_EVERY: Final = timedelta(minutes=1)
# How long a stopping process waits for calls that were ended to settle.
SETTLE_MAX_S: Final = 5.0
# Calls that wait for their hold, of one process. One organization can have half of them, enough for
# 2,000 streams that are opened at once. Without a limit a backlog that takes longer than clients
# wait would never end.
WAITING_MAX: Final = 4_000


class Checks(NamedTuple):
    """What the database showed last, and the monotonic time of it.

    `found` is what probes see; the rate in force may be the installation's own.
    """

    read_at: float
    found: dict[str, Any]
    exchange: RateInForce | None = None


@dataclass(slots=True, eq=False)
class Gateway:
    """The gateway of one process. `tasks` are the running calls with their streams.

    `bodies` and `conversations` are counted in bytes; `dropped_bodies`, which take no memory, and
    `websockets` by their number.
    """

    catalog: Catalog
    directory: Directory
    providers: Providers
    writer: Writer
    waiting_room: WaitingRoom
    call_loop: CallLoop = field(default_factory=CallLoop)
    loop_lag: LoopLag = field(default_factory=LoopLag)
    tasks: dict[asyncio.Task[None], CallStream] = field(default_factory=dict)
    used_keys: set[UUID] = field(default_factory=set)
    checks: Checks | None = None
    bodies: BodyBudget = field(default_factory=BodyBudget)
    dropped_bodies: BodyBudget = field(default_factory=lambda: BodyBudget(DROPPED_MAX))
    health: Health = field(default_factory=Health)
    answering_rows: AnsweringRows = field(default_factory=AnsweringRows)
    chance: random.Random = field(default_factory=random.Random)
    conversations: BodyBudget = field(default_factory=lambda: BodyBudget(CONVERSATIONS_MAX_BYTES))
    websockets: BodyBudget = field(default_factory=lambda: BodyBudget(WEBSOCKETS_MAX))
    is_stopping: bool = False
    waiting_max: int = WAITING_MAX
    # The calls that have no hold yet, and how many each organization has of them.
    _waiting: dict[asyncio.Task[None], UUID] = field(default_factory=dict)
    _waiting_of: Counter[UUID] = field(default_factory=Counter)
    _draining: asyncio.TimerHandle | None = None

    def run(
        self,
        work: Coroutine[Any, Any, None],
        principal: Principal,
        *,
        stream: CallStream,
        body_bytes: int = 0,
    ) -> None:
        """Run a caller's call in its own task, which outlives its client. Only on the call loop.

        The bytes of its body are counted until it ends. Raises Refused (503) when the process
        stops, too many calls wait for their hold, or the bodies of running calls are too large.
        """
        org_id, shares = principal.org_id, shares_of(principal)
        refusal = self._refusal_for(org_id)
        if refusal is None and body_bytes and not self.bodies.take(body_bytes, shares):
            refusal = no_room()
        if refusal is not None:
            work.close()
            raise refusal
        task = asyncio.get_running_loop().create_task(work)
        self.tasks[task] = stream
        self._waiting[task] = org_id
        self._waiting_of[org_id] += 1
        task.add_done_callback(self._ended)
        if body_bytes:
            task.add_done_callback(lambda _: self.bodies.give_back(body_bytes, shares))

    def take_for_call(self, principal: Principal, n_bytes: int) -> bool:
        """Count bytes for the running call until it ends, or return False without room."""
        task, shares = asyncio.current_task(), shares_of(principal)
        if task is None or not self.bodies.take(n_bytes, shares):
            return False
        task.add_done_callback(lambda _: self.bodies.give_back(n_bytes, shares))
        return True

    def has_hold(self, task: asyncio.Task[None] | None) -> None:
        """Let another call wait in this one's place."""
        org_id = self._waiting.pop(task, None) if task is not None else None
        if org_id is not None:
            self._waiting_of[org_id] -= 1
            if not self._waiting_of[org_id]:
                del self._waiting_of[org_id]

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.has_hold(task)
        del self.tasks[task]

    def _refusal_for(self, org_id: UUID) -> Refused | None:
        if self.is_stopping:
            sentence = "This gateway process is stopping; retry the request"
            return Refused("ledger_unavailable", sentence, status=503, retry_after_s=1)
        # An organization gets no more places than it leaves free: never all of them.
        is_full = self._waiting_of[org_id] >= self.waiting_max - len(self._waiting)
        return overloaded() if is_full else None

    async def reload(self, principal: Principal, current: Stale) -> OrganizationSnapshot:
        """Reload what differs from the database's versions, and return the organization.

        Raises Refused if the caller's key is no longer valid.
        """
        await self.directory.organization(principal.org_id, version=current.config_version)
        await self.directory.prices(version=current.prices_version)
        await self.directory.providers(version=current.providers_version)
        return await self.organization_of(principal)

    async def providers_of(self, organization: OrganizationSnapshot) -> ProviderBook:
        """Return the providers that calls of an organization may go to."""
        book = await self.directory.providers()
        return book.beside(self.providers.vendors, organization.providers)

    async def live_organization_of(self, principal: Principal) -> OrganizationSnapshot:
        """Return the caller's organization as it is now, for a request without RESERVE.

        The price list is then current too. Raises Refused if the caller's key is no longer valid.
        """
        return await self.reload(principal, await self.directory.versions(principal.org_id))

    async def organization_of(self, principal: Principal) -> OrganizationSnapshot:
        """Return the caller's organization, from a snapshot no newer than its key's record.

        RESERVE compares only the snapshot's version. Another request may have replaced the
        snapshot since this one's key was checked, and the change may have been the key's
        revocation. Raises Refused if the key is no longer valid, KeyNotAllowed if it lost its
        permission.
        """
        while True:
            organization = await self.directory.organization(principal.org_id)
            if principal.key_public is None:
                return organization
            record = await self.directory.key(principal.key_public)
            if record is None or not record.is_usable_at(datetime.now(UTC)):
                raise Refused("unauthenticated", UNAUTHENTICATED, status=401)
            if principal.needs is not None and principal.needs not in record.permissions:
                raise KeyNotAllowed(principal.needs)
            if record.config_version >= organization.config_version:
                return organization

    def drain(self, drain_s: float) -> None:
        """End the calls that still run after `drain_s`; of several times the first counts.

        Must be called on the call loop.
        """
        if self._draining is None:
            self._draining = asyncio.get_running_loop().call_later(drain_s, self._end_calls)

    def _end_calls(self) -> None:
        self.is_stopping = True
        for stream in [*self.tasks.values()]:
            stream.stop()

    async def stop(self, *, drain_s: float) -> None:
        """Refuse new calls, let running ones end within `drain_s`, and close the ledger.

        Those that are ended then are charged by what was seen of their answers.
        """
        self.is_stopping = True
        self.drain(drain_s)
        if self.tasks and self._draining is not None:
            left_s = max(0.0, self._draining.when() - asyncio.get_running_loop().time())
            await asyncio.wait([*self.tasks], timeout=left_s + SETTLE_MAX_S)
        await self.providers.aclose()
        await asyncio.to_thread(self.writer.stop, timeout_s=10)
        await asyncio.to_thread(self.directory.close)
        for threads in (READS, KEPT):
            await asyncio.to_thread(threads.run_in_each, connections.close_all)

    def keep_house(self, store: Store) -> None:
        """Record which keys were used; delete expired Idempotency-Keys, ids of what is kept, and
        unused rate buckets.
        """
        used, self.used_keys = self.used_keys, set()
        try:
            self._keep_house(store, used)
        except StoreUnavailable:
            self.used_keys |= used
            raise

    def _keep_house(self, store: Store, used: set[UUID]) -> None:
        now = store.begin(lock_wait_s=SHORT_LOCK_WAIT_S)
        if used:
            store.execute(
                "UPDATE api_key SET last_used_at = %s WHERE id = ANY(%s) "
                "AND (last_used_at IS NULL OR last_used_at < %s)",
                now,
                list(used),
                now - USED_AT_MOST_EVERY,
            )
        forget_expired(store, now=now)
        kept_rows.forget_expired(store, now=now)
        forget_unused(store, now=now)
        store.commit()


UNAUTHENTICATED: Final = "A valid API key or session is required"


def make_gateway() -> Gateway:
    """Make a gateway from the settings. Nothing is opened before its first request."""
    catalog = load_catalog(sandbox=settings.SANDBOX)
    providers = providers_from_settings()
    writer = Writer(
        open_store=open_store, ledger=Ledger(journal=AuditJournal(), instance_id=new_id())
    )
    directory = Directory(catalog)
    gateway = Gateway(
        catalog=catalog,
        directory=directory,
        providers=providers,
        writer=writer,
        waiting_room=WaitingRoom(partial(read_balances, directory.snapshot_reads)),
    )
    writer.on_housekeeping = gateway.keep_house
    writer.prices_by_hour = lambda: directory.prices_by_hour
    return gateway


def current() -> Gateway:
    """Return this process's gateway."""
    gateway: Gateway = apps.get_app_config("gateway").gateway  # type: ignore[attr-defined]
    return gateway

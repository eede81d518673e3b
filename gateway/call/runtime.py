"""The process-wide gateway, made once: snapshots, providers, the ledger's writer."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.apps import apps
from django.conf import settings

from costs.ledger.connect import open_store
from costs.ledger.ledger import Ledger
from costs.ledger.stores.base import Store
from costs.ledger.writer import Writer
from gateway.call.call_loop import CallLoop
from gateway.call.idempotency import forget_expired
from gateway.call.journal import AuditJournal
from gateway.call.loop_lag import LoopLag
from gateway.call.snapshot import Directory, OrganizationSnapshot
from gateway.core.body_budget import BodyBudget
from gateway.core.calls import Principal
from gateway.core.errors import Refused
from gateway.core.model_names import Catalog
from gateway.providers.catalog import load_catalog
from gateway.providers.registry import Providers, providers_from_settings
from orgs.fields import new_id

USED_AT_MOST_EVERY: Final = timedelta(minutes=1)


@dataclass(slots=True, eq=False)
class Gateway:
    """The gateway of one process. `tasks` are the running calls; they outlive their clients."""

    catalog: Catalog
    directory: Directory
    providers: Providers
    writer: Writer
    timeout_s: float
    call_loop: CallLoop = field(default_factory=CallLoop)
    loop_lag: LoopLag = field(default_factory=LoopLag)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    used_keys: set[UUID] = field(default_factory=set)
    bodies: BodyBudget = field(default_factory=BodyBudget)
    is_stopping: bool = False

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a call in its own task. Must be called on the call loop."""
        if self.is_stopping:
            work.close()
            sentence = "This gateway process is stopping; retry the request"
            raise Refused("ledger_unavailable", sentence, status=503, retry_after_s=1)
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def reload(self, principal: Principal) -> None:
        """Reload the snapshots of a request. Raises Refused if its key is no longer valid."""
        await self.directory.reload_organization(principal.org_id)
        await self.directory.reload_prices()
        await self.organization_of(principal)

    async def organization_of(self, principal: Principal) -> OrganizationSnapshot:
        """Return the caller's organization, from a snapshot no newer than its key's record.

        RESERVE compares only the snapshot's version. Another request may have replaced the
        snapshot since this one's key was checked, and the change may have been the key's
        revocation. Raises Refused if the key is no longer valid.
        """
        while True:
            organization = await self.directory.organization(principal.org_id)
            if principal.key_public is None:
                return organization
            record = await self.directory.key(principal.key_public)
            if record is None or not record.is_usable_at(datetime.now(UTC)):
                raise Refused("unauthenticated", UNAUTHENTICATED, status=401)
            if record.config_version >= organization.config_version:
                return organization

    async def stop(self, *, grace_s: float) -> None:
        """Refuse new calls, let running ones end or settle, and close the ledger."""
        self.is_stopping = True
        running = set(self.tasks)
        if running:
            await asyncio.wait(running, timeout=grace_s)
        await self.providers.aclose()
        await asyncio.to_thread(self.writer.stop, timeout_s=10)

    def keep_house(self, store: Store) -> None:
        """Record which keys were used, and delete expired Idempotency-Keys."""
        used, self.used_keys = self.used_keys, set()
        now = store.begin()
        if used:
            store.execute(
                "UPDATE api_key SET last_used_at = %s WHERE id = ANY(%s) "
                "AND (last_used_at IS NULL OR last_used_at < %s)",
                now,
                list(used),
                now - USED_AT_MOST_EVERY,
            )
        forget_expired(store, now=now)
        store.commit()


UNAUTHENTICATED: Final = "A valid API key or session is required"


def make_gateway() -> Gateway:
    """Make a gateway from the settings. Nothing is opened before its first request."""
    catalog = load_catalog(sandbox=settings.SANDBOX)
    providers = providers_from_settings()
    writer = Writer(
        open_store=open_store, ledger=Ledger(journal=AuditJournal(), instance_id=new_id())
    )
    gateway = Gateway(
        catalog=catalog,
        directory=Directory(catalog),
        providers=providers,
        writer=writer,
        timeout_s=settings.PROVIDER_TIMEOUT_S,
    )
    writer.on_housekeeping = gateway.keep_house
    return gateway


def current() -> Gateway:
    """Return this process's gateway."""
    gateway: Gateway = apps.get_app_config("gateway").gateway  # type: ignore[attr-defined]
    return gateway

"""A provider that keeps calls, and clients that send beside the test."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import pytest

from gateway.call.runtime import Gateway
from orgs.models import Organization
from tests.gateway.conftest import Asking
from tests.gateway.stand_ins import Only, StandIn, until
from tests.gateway.wire import Reply

# Larger than any test takes: what ends earlier did so for another reason.
LONG_S: Final = 600
BODY: Final[dict[str, Any]] = {"model": "sandbox-small", "prompt": "Say hello", "maxTokens": 100}


@dataclass(slots=True)
class Scene:
    """A provider that keeps calls until it `may_end`, and clients in threads."""

    ask: Asking
    gateway: Gateway
    provider: StandIn
    pool: ThreadPoolExecutor
    org_id: UUID

    def sends(self, body: dict[str, Any] = BODY, **options: Any) -> Future[Reply]:
        """Send a request beside the test."""
        return self.pool.submit(self.ask, body, **options)

    def runs(self, body: dict[str, Any] = BODY, **options: Any) -> Future[Reply]:
        """Send a request, and return when its provider has it."""
        before = len(self.provider.asked)
        sent = self.sends(body, **options)
        until(lambda: len(self.provider.asked) > before)
        return sent

    def waits(self, body: dict[str, Any] = BODY, **options: Any) -> Future[Reply]:
        """Send a request, and return when it waits for room."""
        before = self.waiting
        sent = self.sends(body, **options)
        until(lambda: self.waiting > before)
        return sent

    @property
    def waiting(self) -> int:
        """How many calls wait."""
        now = self.gateway.waiting_room.waiting_now(self.org_id)
        return now.count if now else 0


@pytest.fixture
def scene(ask: Asking, gateway: Gateway, acme: Organization) -> Iterator[Scene]:
    provider = StandIn(waits=True)
    gateway.providers = Only(provider)
    with ThreadPoolExecutor(16) as pool:
        yield Scene(ask, gateway, provider, pool, acme.pk)
        provider.may_end.set()

"""Helpers for fallback tests: four vendors, an alias, and a consistent ledger."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from costs.models import CostEvent, Hold
from gateway.call.runtime import Gateway
from gateway.core.providers import USUAL, TimeLimits
from gateway.models import AiRequestLog
from gateway.providers.registry import Providers
from orgs.models import Organization
from tests.factories import AliasFactory
from tests.fake_provider.behaviour import VENDORS
from tests.fake_provider.thread import FakeProvider
from tests.fake_provider.vendors import settings_at
from tests.gateway.wire import Reply

OPENAI, CLAUDE = "gpt-4o-mini", "claude-3-5-sonnet-20241022"
HELLO = {"model": "fast", "prompt": "Say hello", "maxTokens": 50}
CHAT = {
    "model": "fast",
    "messages": [{"role": "user", "content": "Say hello"}],
    "max_tokens": 50,
}


@dataclass(frozen=True, slots=True)
class Tried:
    """One request's row and its holds, oldest first."""

    row: AiRequestLog
    holds: list[Hold]

    @property
    def attempts(self) -> list[dict[str, Any]]:
        """The row's earlier attempts."""
        return list(self.row.attempts or ())

    @property
    def models(self) -> list[str]:
        """The models that failed, then the row's own."""
        return [kept["model"] for kept in self.attempts] + [self.row.model]

    @property
    def codes(self) -> list[str | None]:
        """The code of each failure; None for the answered one."""
        return [kept["code"] for kept in self.attempts] + [self.row.code]

    @property
    def states(self) -> list[str]:
        """The state of each hold."""
        return [hold.state for hold in self.holds]


def tried(reply: Reply | None = None) -> Tried:
    """Return the record of a reply's request, or of the only one."""
    rows = AiRequestLog.objects.all()
    row = rows.get(id=reply.headers["x-pulse-request-id"]) if reply else rows.get()
    return Tried(row, list(Hold.objects.filter(request_id=row.id).order_by("held_at")))


def row_of(reply: Reply) -> AiRequestLog:
    """Return the row of a reply's request, which holds no money any more."""
    found = tried(reply)
    assert "held" not in found.states
    return found.row


def charged() -> dict[str, int]:
    """Return what was charged for each model."""
    return {event.model: event.amount_nanoeur for event in CostEvent.objects.all()}


def wire(
    gateway: Gateway, fake: FakeProvider, limits: TimeLimits = USUAL, **elsewhere: str | None
) -> None:
    """Configure the vendors at the fake provider or a given URL; None is without a key."""
    gateway.call_loop.call_sync(gateway.providers.aclose())
    urls = {vendor: fake.base_url(vendor) for vendor in VENDORS} | elsewhere
    known = settings_at({vendor: url for vendor, url in urls.items() if url})
    gateway.providers = Providers(known, sandbox=True, limits=limits)


def fast(org: Organization, *models: str, **fields: Any) -> None:
    """Create the alias that HELLO and CHAT use."""
    AliasFactory.create(org=org, name="Fast", models=list(models or (OPENAI, CLAUDE)), **fields)

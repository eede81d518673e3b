"""Calls of models that are priced by the hour, and rounds that close their hours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from costs.core.admission import Admitted, ReserveRequest, Settlement
from costs.core.holds import State
from costs.core.rates import StoredRates, rate_card
from costs.core.usage import Usage
from costs.ledger.hours.closing import HourCloser
from costs.ledger.stores.base import LOCK_WAIT_S, StoreUnavailable
from costs.models import HourCost
from orgs.models import Organization
from tests.costs.books import MODEL, Desk, ask, settlement
from tests.costs.faulty import FaultyStore

PROVIDER = "own"
EUR = 10**9


def card(model: str = "", provider: str = PROVIDER) -> StoredRates:
    """Return the rates of a model that is priced by the hour: its own, or all of a provider."""
    by_hour = f'{{"model":"{model}","eur_per_hour":"2.4"}}'
    return rate_card(f'{{"provider":"{provider}","model":"{MODEL}","by_hour":{by_hour}}}')


@dataclass
class HourlyCall:
    """An admitted call of a model that is priced by the hour."""

    asked: ReserveRequest
    admitted: Admitted

    def settle(
        self, desk: Desk, outcome: State, tokens: int = 0, cost_nanoeur: int | None = None
    ) -> None:
        """Settle it as an estimate, by the price of its tokens."""
        known = outcome is State.SETTLED
        usage = Usage(input_uncached=tokens - tokens // 3, output_text=tokens // 3)
        ended = settlement(self.asked, self.admitted, outcome, cost_nanoeur)
        desk.settle(replace(ended, usage=usage if known else None, is_estimate=known))

    def adjustment(self, share_nanoeur: int) -> Settlement:
        """Return what charges it a share of an hour."""
        ended = settlement(self.asked, self.admitted, State.SETTLED, share_nanoeur)
        return replace(ended, usage=None, entry=None, adjusts=True)


def call(  # noqa: PLR0913  everything about a call has a usual value
    desk: Desk,
    org: Organization,
    hold_nanoeur: int,
    *,
    rates: StoredRates | None = None,
    provider: str = PROVIDER,
    session_id: str | None = None,
    **options: Any,
) -> HourlyCall:
    """Admit a call now."""
    asked = ask(org, hold_nanoeur, **options)
    charge_to = {**asked.charge_to, "provider": provider, "session_id": session_id}
    asked = replace(asked, rates=rates or card(provider=provider), charge_to=charge_to)
    admitted = desk.reserve(asked)
    assert isinstance(admitted, Admitted), admitted
    return HourlyCall(asked, admitted)


def known_call(
    desk: Desk, org: Organization, *, tokens: int, cost_nanoeur: int = 0, **options: Any
) -> HourlyCall:
    """Admit a call and settle it by its tokens."""
    made = call(desk, org, options.pop("hold_nanoeur", 1_000), **options)
    made.settle(desk, State.SETTLED, tokens, cost_nanoeur)
    return made


def close_all(desk: Desk, *, at_once: int = 200) -> None:
    """Do rounds until nothing is left to do."""
    closer = HourCloser(desk.ledger, at_once=at_once)
    while closer.close(desk.store).is_more:
        pass


def close_badly(store: FaultyStore, desk: Desk, *, at_once: int = 200) -> None:
    """Do a round that a fault may end, as in a process that is killed."""
    try:
        HourCloser(desk.ledger, at_once=at_once).close(store)
    except StoreUnavailable:
        store.rollback()


@dataclass
class LosesCommit(FaultyStore):
    """A store whose n-th commit happens, and then the connection is lost."""

    nth: int = 1

    def commit(self) -> None:
        super().commit()
        if self.faults.commits == self.nth:
            raise StoreUnavailable("the connection was lost at COMMIT")


@dataclass
class Overtaken(FaultyStore):
    """A store before whose n-th transaction something happens."""

    at: int = 1
    by: Callable[[], None] = lambda: None
    begun: int = 0

    def begin(self, *, lock_wait_s: float = LOCK_WAIT_S) -> datetime:
        self.begun += 1
        if self.begun == self.at:
            self.by()
        return super().begin(lock_wait_s=lock_wait_s)


def hour_costs() -> list[tuple[datetime, int, int, int, int, int]]:
    """Return what was counted: start, cost, charged as unknown, divided, tokens, calls."""
    columns = ("starts_at", "amount_nanoeur", "unknown_nanoeur", "divided_nanoeur")
    rows = HourCost.objects.order_by("starts_at", "model")
    return list(rows.values_list(*columns, "tokens", "calls"))

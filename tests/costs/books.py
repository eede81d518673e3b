"""Helpers for ledger tests: short reservations and settlements, and the resulting rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from costs.core.admission import (
    ORG_SCOPE,
    Admitted,
    InsufficientRoom,
    Limit,
    RateExceeded,
    Repeat,
    ReserveRequest,
    ReserveResult,
    Settled,
    Settlement,
)
from costs.core.calendar.periods import BudgetWindow
from costs.core.growth import Grown, HoldGrowth
from costs.core.holds import State
from costs.core.rate_limits import RateLimit
from costs.core.rates import rate_card
from costs.core.usage import Usage
from costs.ledger import verify
from costs.ledger.connect import open_store
from costs.ledger.ledger import Ledger
from costs.ledger.stores.base import Store
from costs.models import CostEvent, Hold, Period, PriceList
from costs.prices.book import providers_version
from gateway.audit import verify as audit
from gateway.call.records.entries import Closing, Opening
from gateway.call.records.journal import AuditJournal
from gateway.core.calls import Call, Dimensions, Principal, Unread
from gateway.core.usage_bound import NOTHING
from gateway.guards.budgets import BudgetRule
from gateway.guards.policies import Rule
from gateway.guards.rule_sets import RuleSet
from gateway.models import Policy
from orgs.fields import new_id
from orgs.models import Organization
from tests.factories import PolicyFactory

NOON = datetime(2025, 6, 2, 12, tzinfo=UTC)
MODEL = "gpt-4o-mini"
RATES = rate_card('{"model": "gpt-4o-mini"}')
USAGE = Usage(input_uncached=9, output_text=2)
# How long a ledger waits for a lock where no writer puts its organization aside.
PATIENT_S = 10.0
STATUS = {
    State.SETTLED: ("ok", None),
    State.RELEASED: ("error", "provider_error"),
    State.UNKNOWN: ("unknown", "provider_timeout"),
}


@dataclass
class Clock:
    """A clock that only moves when set."""

    now: datetime = NOON

    def __call__(self) -> datetime:
        return self.now

    def pass_s(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class Books(NamedTuple):
    """The sums of an organization's periods, in nano-euro."""

    held: int
    settled: int
    overrun: int = 0


def books(org: Organization) -> Books:
    """Return the totals of the organization's periods."""
    rows = Period.objects.filter(org=org)
    return Books(
        held=sum(row.held_nanoeur for row in rows),
        settled=sum(row.settled_nanoeur for row in rows),
        overrun=sum(row.overrun_nanoeur for row in rows),
    )


def states(org: Organization) -> list[str]:
    """Return the states of the organization's holds, the oldest first."""
    return list(Hold.objects.filter(org=org).order_by("id").values_list("state", flat=True))


def events(org: Organization) -> list[tuple[str, int]]:
    """Return the organization's charges as (kind, nano-euro), in order."""
    rows = CostEvent.objects.filter(org=org).order_by("id")
    return list(rows.values_list("kind", "amount_nanoeur"))


def check_the_books() -> None:
    """Assert that `ledger verify` and `audit verify` find nothing."""
    found = [*verify.verify().findings, *audit.verify().findings]
    # On a fake clock of the past every call in flight is late.
    unexpected = [each for each in found if each.check != "pending_too_long"]
    assert not unexpected, unexpected


def limit(org: Organization, nanoeur: int) -> Policy:
    """Give the organization a policy with this limit a day."""
    return PolicyFactory.create(org=org, max_cost_per_day_nanoeur=nanoeur)


def ask(  # noqa: PLR0913  everything about an ask has a usual value
    org: Organization,
    nanoeur: int | None,
    *,
    limit: int | None = None,
    repeat: str | None = None,
    body: str = "the body",
    deadline_s: float = 210.0,
    version: int | None = None,
    prices: int | None = None,
    record_if_spent: bool = True,
    budgets: tuple[BudgetRule, ...] = (),
    rates: tuple[RateLimit, ...] = (),
    tokens: int = 0,
    may_wait: bool = False,
) -> ReserveRequest:
    """Return a reserve request as the pipeline makes it, with current versions."""
    current = Organization.objects.values_list("config_version", flat=True).get(pk=org.pk)
    dimensions = Dimensions(team_id="team-123")
    call = Call(model=MODEL, body=Unread(), usage_bound=NOTHING, dimensions=dimensions)
    rule = Rule(id="1", name="Daily", max_cost_per_day_nanoeur=limit)
    return ReserveRequest(
        id=new_id(),
        request_id=new_id(),
        org_id=org.pk,
        config_version=current if version is None else version,
        prices_version=prices_version() if prices is None else prices,
        providers_version=providers_version(),
        amount_nanoeur=nanoeur,
        limits=(
            Limit(scope=ORG_SCOPE, span=BudgetWindow.DAY, limit_nanoeur=limit),
            *(budget.limit for budget in budgets),
        ),
        deadline_s=deadline_s,
        charge_to={"model": MODEL, "provider": "openai", "team_id": "team-123", "key_id": None},
        rates=RATES,
        entry=Opening(
            principal=Principal(org_id=org.pk, fixed=dimensions, channel="api"),
            call=call,
            model=MODEL,
            provider="openai",
            prompt_hash="0" * 64,
            rules=RuleSet(rules=(rule,)),
            refusal=None,
            budgets=budgets,
            trace={"policies": []},
            started_s=0.0,
        ),
        repeat=Repeat(key_hash=repeat, body_hash=body) if repeat else None,
        record_if_spent=record_if_spent,
        rate_limits=rates,
        tokens=tokens,
        may_wait=may_wait,
    )


def prices_version() -> int:
    """Return the version of the price list."""
    found = PriceList.objects.values_list("version", flat=True).first()
    return found or 0


def settlement(
    asked: ReserveRequest, admitted: ReserveResult, outcome: State, cost_nanoeur: int | None = None
) -> Settlement:
    """Return the settlement of the call of `asked`."""
    assert isinstance(admitted, Admitted)
    status, code = STATUS[outcome]
    return Settlement(
        hold_id=asked.id,
        request_id=asked.request_id,
        org_id=asked.org_id,
        period_ids=admitted.period_ids,
        outcome=outcome,
        cost_nanoeur=cost_nanoeur,
        usage=USAGE if outcome is State.SETTLED else None,
        charge_to=asked.charge_to,
        rates=asked.rates,
        entry=Closing(
            status=status,
            model=MODEL,
            code=code,
        ),
        repeat=asked.repeat,
        taken=admitted.taken,
    )


def growth(asked: ReserveRequest, admitted: ReserveResult, nanoeur: int) -> HoldGrowth:
    """Return the growth of the hold of `asked` to an amount."""
    assert isinstance(admitted, Admitted)
    return HoldGrowth(
        hold_id=asked.id,
        request_id=asked.request_id,
        org_id=asked.org_id,
        period_ids=admitted.period_ids,
        amount_nanoeur=nanoeur,
    )


def new_ledger() -> Ledger:
    """Return the ledger of another process."""
    return Ledger(journal=AuditJournal(), instance_id=new_id())


@dataclass
class Desk:
    """One process's ledger on its own connection, with the test's clock or the database's."""

    clock: Clock | None = None
    ledger: Ledger = field(default_factory=new_ledger)
    _store: Store | None = None

    @property
    def store(self) -> Store:
        if self._store is None:
            self._store = open_store(clock=self.clock)
        return self._store

    def pass_s(self, seconds: float) -> None:
        """Advance the clock of this ledger and of all that share it."""
        assert self.clock is not None
        self.clock.pass_s(seconds)

    def close(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None

    def commit(
        self,
        asks: Sequence[ReserveRequest] = (),
        settlements: Sequence[Settlement] = (),
        *,
        again: bool = False,
    ) -> tuple[list[ReserveResult], list[Settled]]:
        answers, settled, _ = self.ledger.commit(
            self.store,
            requests=asks,
            settlements=settlements,
            again=again,
            lock_wait_s=PATIENT_S,
        )
        return answers, settled

    def grow(self, *growths: HoldGrowth) -> list[Grown]:
        """Grow holds in one batch."""
        return self.ledger.commit(
            self.store, requests=(), settlements=(), growths=growths, lock_wait_s=PATIENT_S
        )[2]

    def reserve(self, asked: ReserveRequest) -> ReserveResult:
        return self.commit([asked])[0][0]

    def settle(self, ended: Settlement) -> Settled:
        return self.commit((), [ended])[1][0]

    def hold(
        self, org: Organization, nanoeur: int, **options: Any
    ) -> tuple[ReserveRequest, Admitted]:
        """Reserve, and require admission."""
        asked = ask(org, nanoeur, **options)
        admitted = self.reserve(asked)
        assert isinstance(admitted, Admitted), admitted
        return asked, admitted


def admitted_and_full(answers: Sequence[object]) -> tuple[int, int]:
    """Count admitted calls and those without room; require that there are no others."""
    kinds = (Admitted, InsufficientRoom, RateExceeded)
    others = [each for each in answers if not isinstance(each, kinds)]
    assert others == []
    admitted = sum(isinstance(each, Admitted) for each in answers)
    return admitted, len(answers) - admitted


def period_ids(org: Organization) -> list[UUID]:
    """Return the organization's periods, the oldest first."""
    return list(Period.objects.filter(org=org).order_by("starts_at").values_list("id", flat=True))

"""Requests to the ledger and its results: plain values, and the one rule about room."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from costs.core.calendar.periods import BudgetWindow
from costs.core.holds import State
from costs.core.rates import StoredRates
from costs.core.usage import Usage
from orgs.core.frozen import frozen

ORG_SCOPE: Final = "org"


@frozen
class Repeat:
    """A caller's Idempotency-Key: both parts are hashes."""

    key_hash: str
    body_hash: str


@frozen
class Limit:
    """What calls of one `scope` may cost within a window: None counts them and refuses none."""

    scope: str
    span: BudgetWindow
    limit_nanoeur: int | None


@frozen
class ReserveRequest:
    """A call to admit - or, without an amount, one that was already refused and only leaves its
    audit row, if the configuration it was checked against is still current.

    `config_version` and `prices_version` are those it was checked against. `limits` are all that
    it counts in: the organization's day first, with its tightest limit. `charge_to` is what a
    cost event names (model, provider, dimensions, key). `entry` is the audit row, known only to
    the journal. With `record_if_full` off, a call that does not fit leaves no row: its caller
    has a lower bound to try.
    """

    id: UUID
    request_id: UUID
    org_id: UUID
    config_version: int
    prices_version: int
    amount_nanoeur: int | None
    limits: tuple[Limit, ...]
    deadline_s: float
    charge_to: Mapping[str, Any]
    rates: StoredRates
    entry: Any
    repeat: Repeat | None = None
    record_if_full: bool = True


@frozen
class Balance:
    """A period at one moment, in nano-euro; `charged` is the total spent in it."""

    limit_nanoeur: int | None
    charged_nanoeur: int
    held_nanoeur: int
    ends_at: datetime

    @property
    def left_nanoeur(self) -> int | None:
        """What a new hold may take, or None without a limit."""
        if self.limit_nanoeur is None:
            return None
        return max(0, self.limit_nanoeur - self.charged_nanoeur - self.held_nanoeur)

    def has_room_for(self, amount_nanoeur: int) -> bool:
        """Whether charged + held + the new hold stays within the limit."""
        left = self.left_nanoeur
        return left is None or amount_nanoeur <= left

    def is_too_full_for(self, amount_nanoeur: int) -> bool:
        """Whether the hold would not fit either if no call were in flight."""
        limit = self.limit_nanoeur
        return limit is not None and self.charged_nanoeur + amount_nanoeur > limit


def place_without_room(before: Sequence[Balance], amount_nanoeur: int) -> int | None:
    """Return which balance refuses a hold, or None: one that is spent before a full one."""
    full = [place for place, each in enumerate(before) if not each.has_room_for(amount_nanoeur)]
    spent = (place for place in full if before[place].is_too_full_for(amount_nanoeur))
    return next(spent, full[0]) if full else None


def room_of(balances: Sequence[Balance]) -> int:
    """Return what the tightest of several limits, at least one, leaves for a hold."""
    return min(left for each in balances if (left := each.left_nanoeur) is not None)


@frozen
class Admitted:
    """The hold is committed: the call may go out. `before` has a balance for each limit."""

    now: datetime
    before: tuple[Balance, ...]
    period_ids: tuple[UUID, ...]


@frozen
class InsufficientRoom:
    """The hold exceeds what is left of a limit's period.

    Of several, it is the first that is spent, else the first that calls in flight keep full.
    `before` has a balance for each of the request's limits, `balance` is that of `limit`.
    """

    now: datetime
    limit: Limit
    balance: Balance
    before: tuple[Balance, ...]

    @property
    def room_nanoeur(self) -> int:
        """What the tightest of the limits leaves for a hold."""
        return room_of(self.before)


def least_left_nanoeur(answer: Admitted | InsufficientRoom, asked_nanoeur: int) -> int | None:
    """Return what is left in the tightest limit after the answer, or None without any limit."""
    held = asked_nanoeur if isinstance(answer, Admitted) else 0
    left = (each.left_nanoeur for each in answer.before)
    return min((max(0, each - held) for each in left if each is not None), default=None)


@frozen
class Stale:
    """The configuration or the prices changed since the call was checked: check it again.

    The versions are those of the database; `config_version` is 0 if the organization is gone.
    """

    config_version: int
    prices_version: int


@frozen
class GatewayDisabled:
    """The organization's gateway is off."""

    now: datetime
    name: str


@frozen
class Repeated:
    """The Idempotency-Key was used before, by `request_id`.

    `same_body` is False when its body was different; `cost_nanoeur` is None while the first
    request is running.
    """

    request_id: UUID
    same_body: bool
    running: bool
    cost_nanoeur: int | None


@frozen
class RefusalRecorded:
    """The audit row of a refusal is committed."""

    now: datetime


ReserveResult = Admitted | InsufficientRoom | Stale | GatewayDisabled | Repeated | RefusalRecorded


@frozen
class Settlement:
    """How a call ended. `cost_nanoeur` and `usage` are known when `outcome` is settled.

    Of an unknown outcome `cost_nanoeur` is what it can have cost at most; None is the whole hold.
    A cost `is_estimate` if something had no price of its own.
    `charge_to` names the model that answered; `rates` are those that priced it. `entry`
    completes the audit row, known only to the journal; None uses the journal's default.
    `repeat` is the caller's Idempotency-Key, freed when the hold is released.
    """

    hold_id: UUID
    request_id: UUID
    org_id: UUID
    period_ids: tuple[UUID, ...]
    outcome: State
    cost_nanoeur: int | None
    usage: Usage | None
    charge_to: Mapping[str, Any]
    rates: StoredRates
    entry: Any
    is_estimate: bool = False
    repeat: Repeat | None = None


@frozen
class Settled:
    """The state of the hold. `changed` is False when it was already settled.

    `estimated_nanoeur` is how much of the charge is an estimate.
    """

    changed: bool
    state: State
    charged_nanoeur: int
    overrun_nanoeur: int
    estimated_nanoeur: int = 0

"""Requests to the ledger and its results: plain values, and the one rule about room."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from hashlib import blake2b
from typing import Any, Final
from uuid import UUID

from costs.core.calendar.periods import BudgetWindow
from costs.core.holds import State
from costs.core.rate_limits import OverRate, RateLimit, RateState, TakenRate
from costs.core.rates import StoredRates
from costs.core.usage import Usage
from orgs.core.frozen import frozen

ORG_SCOPE: Final = "org"
SESSION_SCOPE: Final = "session:"


@frozen
class Repeat:
    """A caller's Idempotency-Key: both parts are hashes."""

    key_hash: str
    body_hash: str


@frozen
class RaisedLimit:
    """A higher limit, before `ends_at`."""

    limit_nanoeur: int
    ends_at: datetime


@frozen
class Limit:
    """What calls of one `scope` may cost within a window: None counts them and refuses none.

    With a `session_id` the window does not end it: what calls of that session have cost before
    counts too.
    """

    scope: str
    span: BudgetWindow
    limit_nanoeur: int | None
    session_id: str | None = None
    raised: RaisedLimit | None = None

    def nanoeur_at(self, moment: datetime) -> int | None:
        """Return the limit in force at a moment; None refuses none."""
        if self.limit_nanoeur is None or self.raised is None or moment >= self.raised.ends_at:
            return self.limit_nanoeur
        return max(self.limit_nanoeur, self.raised.limit_nanoeur)

    def in_force_at(self, moment: datetime) -> Limit:
        """Return it as it is in force at a moment."""
        return replace(self, limit_nanoeur=self.nanoeur_at(moment), raised=None)


def session_scope(session_id: str) -> str:
    """Return the scope of a session's periods: callers choose the id, and it may be long."""
    return f"{SESSION_SCOPE}{blake2b(session_id.encode(), digest_size=16).hexdigest()}"


@frozen
class Stale:
    """The configuration, prices or providers changed since the call was checked: check it again.

    The versions are those of the database; `config_version` is 0 if the organization is gone.
    """

    config_version: int
    prices_version: int
    providers_version: int


@frozen
class ReserveRequest:
    """A call to admit - or, without an amount, one that was already refused and only leaves its
    audit row, if the configuration it was checked against is still current.

    `limits` are all that it counts in: the
    organization's day first, with its tightest limit. `charge_to` is what a cost event names
    (model, provider, dimensions, key). `entry` is the audit row, known only to
    the journal. A call that does not fit leaves a row only with `record_if_spent`, since its caller
    may have a lower bound to try, and none if it `may_wait`: for calls in flight that alone keep it
    out, or for its turn in a rate. `rate_limits` are those that it takes a request and its `tokens`
    from.
    """

    id: UUID
    request_id: UUID
    org_id: UUID
    config_version: int
    prices_version: int
    providers_version: int
    amount_nanoeur: int | None
    limits: tuple[Limit, ...]
    deadline_s: float
    charge_to: Mapping[str, Any]
    rates: StoredRates
    entry: Any
    repeat: Repeat | None = None
    record_if_spent: bool = True
    may_wait: bool = False
    rate_limits: tuple[RateLimit, ...] = ()
    tokens: int = 0

    @property
    def versions(self) -> Stale:
        """The versions that it was checked against."""
        return Stale(
            config_version=self.config_version,
            prices_version=self.prices_version,
            providers_version=self.providers_version,
        )


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
    """Return which balance refuses a hold, or None: one that is spent before a full one, and the
    one with the least left.
    """
    full = [place for place, each in enumerate(before) if not each.has_room_for(amount_nanoeur)]
    spent = [place for place in full if before[place].is_too_full_for(amount_nanoeur)]
    return min(spent or full, key=lambda place: before[place].left_nanoeur or 0, default=None)


def room_of(balances: Sequence[Balance]) -> int:
    """Return what the tightest of several limits, at least one, leaves for a hold."""
    return min(left for each in balances if (left := each.left_nanoeur) is not None)


def unspent_of(balances: Sequence[Balance]) -> int:
    """Return what the tightest of several limits, at least one, leaves if no call is in flight."""
    limits = ((each, each.limit_nanoeur) for each in balances)
    return min(limit - each.charged_nanoeur for each, limit in limits if limit is not None)


@frozen
class Admitted:
    """The hold is committed: the call may go out.

    `before` has a balance for each limit, `rates` the state of each rate before it, `taken` what it
    has taken of them.
    """

    now: datetime
    before: tuple[Balance, ...]
    period_ids: tuple[UUID, ...]
    rates: tuple[RateState, ...] = ()
    taken: tuple[TakenRate, ...] = ()


@frozen
class InsufficientRoom:
    """The hold exceeds what is left of a limit's period.

    Of several, it is one that is spent, else one that calls in flight keep full: then it `is_held`.
    Of those, it is the one with the least left. `before` has a balance for each of the request's
    limits, `balance` is that of `limit`.
    """

    now: datetime
    limit: Limit
    balance: Balance
    before: tuple[Balance, ...]

    is_held: bool

    @property
    def room_nanoeur(self) -> int:
        """What the tightest of the limits leaves for a hold."""
        return room_of(self.before)


@frozen
class RateExceeded:
    """The call is over a rate. It comes after a limit of money that is spent for good, and before
    one that calls in flight keep full.

    `before` has a balance for each limit of money, `rates` the state of each rate.
    """

    now: datetime
    over: OverRate
    before: tuple[Balance, ...]
    rates: tuple[RateState, ...]


def least_left_nanoeur(
    answer: Admitted | InsufficientRoom | RateExceeded, asked_nanoeur: int
) -> int | None:
    """Return what is left in the tightest limit after the answer, or None without any limit."""
    held = asked_nanoeur if isinstance(answer, Admitted) else 0
    left = (each.left_nanoeur for each in answer.before)
    return min((max(0, each - held) for each in left if each is not None), default=None)


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


ReserveResult = (
    Admitted
    | InsufficientRoom
    | RateExceeded
    | Stale
    | GatewayDisabled
    | Repeated
    | RefusalRecorded
)


def leaves_row(request: ReserveRequest, answer: ReserveResult) -> bool:
    """Whether the audit row is written with this result."""
    match answer:
        case InsufficientRoom():
            return request.record_if_spent and not (answer.is_held and request.may_wait)
        case RateExceeded():
            return not (answer.over.may_wait and request.may_wait)
        case _:
            return not isinstance(answer, Stale)


@frozen
class Settlement:
    """How a call ended. `cost_nanoeur` and `usage` are known when `outcome` is settled.

    Of an unknown outcome `cost_nanoeur` is what it can have cost at most; None is the whole hold,
    and above it only what a hold that grows did not reach.
    A cost `is_estimate` if something had no price of its own.
    `charge_to` names the model that answered; `rates` are those that priced it. `entry`
    completes the audit row, known only to the journal; None uses the journal's default.
    `repeat` is the caller's Idempotency-Key, freed when the hold is released.
    One that `adjusts` charges a settled hold its share of an hour instead, once, and completes
    nothing.
    `taken` is what the hold took of rates. It `counts_as_request` in them, unless it was never
    sent, or another attempt of the request follows.
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
    adjusts: bool = False
    repeat: Repeat | None = None
    taken: tuple[TakenRate, ...] = ()
    counts_as_request: bool = True


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

"""The policy backtest: what a policy would have done to the last days of an organization.

Days are replayed one by one, the newest first, each from its first request to its last: a day's
money is its own, so days do not depend on each other. Rows are read in pages and only sums are
kept; a time limit ends the replay between pages, and the report then says how far it came.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db.models import BigIntegerField, CharField, QuerySet
from django.db.models.fields.json import KT
from django.db.models.functions import Cast

from costs.core.periods import day_around, first_instant
from costs.core.pricing import bound_nanoeur
from costs.prices import PriceBook, load_price_book
from gateway.core.bounds import NOT_IN_TEXT
from gateway.core.errors import Refused
from gateway.core.models import Catalog, Model, price_names
from gateway.core.policy import Rule
from gateway.core.replay import Day, Past, Price
from gateway.models import AiRequestLog
from gateway.operations import PolicyLimits

PERIODS_DAYS: Final = (7, 30, 90)
DAYS_DEFAULT: Final = 30
EXAMPLES_MAX: Final = 5
# People and apps that are counted one by one; a caller can name any number of them.
NAMES_MAX: Final = 10_000
NAMES_SHOWN: Final = 5
ROWS_PER_PAGE: Final = 2_000
MODELS_REMEMBERED: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A request that the policy would have refused."""

    request_id: UUID
    occurred_at: datetime
    model: str
    code: str
    sentence: str
    cost_nanoeur: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A person or an app and what the policy would have refused of theirs."""

    value: str
    requests: int
    nanoeur: int


@dataclass(slots=True, kw_only=True)
class DayOutcome:
    """One replayed day. `spent` is what the let-through requests of that day cost in fact."""

    on: date
    requests: int = 0
    refused: int = 0
    spent_nanoeur: int = 0
    not_spent_nanoeur: int = 0


@dataclass(slots=True)
class _Hits:
    """Counts by name, in bounded memory."""

    requests: Counter[str] = field(default_factory=Counter)
    nanoeur: Counter[str] = field(default_factory=Counter)

    def add(self, value: str | None, nanoeur: int) -> None:
        if value and (value in self.requests or len(self.requests) < NAMES_MAX):
            self.requests[value] += 1
            self.nanoeur[value] += nanoeur

    def top(self) -> tuple[Hit, ...]:
        most = self.requests.most_common(NAMES_SHOWN)
        return tuple(
            Hit(value=value, requests=count, nanoeur=self.nanoeur[value]) for value, count in most
        )


@dataclass(slots=True, kw_only=True)
class Backtest:
    """What the policy would have done. `days` has the newest first; without `is_complete` the
    time was over before all days were replayed, and the oldest are missing."""

    asked_days: int
    days: list[DayOutcome] = field(default_factory=list)
    codes: Counter[str] = field(default_factory=Counter)
    examples: list[Example] = field(default_factory=list)
    is_complete: bool = True
    took_s: float = 0.0
    _users: _Hits = field(default_factory=_Hits)
    _apps: _Hits = field(default_factory=_Hits)

    @property
    def requests(self) -> int:
        """How many let-through requests were judged."""
        return sum(day.requests for day in self.days)

    @property
    def refused(self) -> int:
        """How many of them the policy would have refused."""
        return sum(day.refused for day in self.days)

    @property
    def spent_nanoeur(self) -> int:
        """What all of them cost."""
        return sum(day.spent_nanoeur for day in self.days)

    @property
    def not_spent_nanoeur(self) -> int:
        """What the refused ones cost: it would not have been spent."""
        return sum(day.not_spent_nanoeur for day in self.days)

    @property
    def user_count(self) -> int:
        """How many people were hit, NAMES_MAX at most."""
        return len(self._users.requests)

    @property
    def app_count(self) -> int:
        """How many apps were hit, NAMES_MAX at most."""
        return len(self._apps.requests)

    @property
    def users(self) -> tuple[Hit, ...]:
        """The people hit most."""
        return self._users.top()

    @property
    def apps(self) -> tuple[Hit, ...]:
        """The apps hit most."""
        return self._apps.top()

    def refuse(self, row: _Row, past: Past, refusal: Refused) -> None:
        """Count a request that the policy would have refused."""
        day = self.days[-1]
        day.refused += 1
        day.not_spent_nanoeur += past.cost_nanoeur
        self.codes[refusal.code] += 1
        self._users.add(row.user_id, past.cost_nanoeur)
        self._apps.add(row.app_id, past.cost_nanoeur)
        if len(self.examples) < EXAMPLES_MAX:
            self.examples.append(
                Example(
                    request_id=row.id,
                    occurred_at=past.occurred_at,
                    model=past.named,
                    code=refusal.code,
                    sentence=refusal.message,
                    cost_nanoeur=past.cost_nanoeur,
                )
            )


@dataclass(frozen=True, slots=True)
class _Row:
    """What is kept of a row beside what is judged."""

    id: UUID
    user_id: str | None
    app_id: str | None


def rule_of(limits: PolicyLimits, catalog: Catalog) -> Rule:
    """Return a policy that is only an idea so far as requests would be judged by it."""
    return Rule(
        id="",
        name=limits.name,
        allowed=tuple(catalog.entry(entry) for entry in limits.allowed_models),
        blocked=tuple(catalog.entry(entry) for entry in limits.blocked_models),
        max_cost_per_day_nanoeur=limits.max_cost_per_day_nanoeur,
        max_tokens_per_request=limits.max_tokens_per_request,
    )


def backtest(  # noqa: PLR0913  keyword-only; each says one thing of the question
    *,
    organization_id: UUID,
    zone: ZoneInfo,
    rule: Rule,
    catalog: Catalog,
    moment: datetime,
    days: int,
    within_s: float | None = None,
) -> Backtest:
    """Replay the organization's last `days` local days, today included, under `rule`.

    Requests that were refused then are left out: the policy would have changed nothing.
    `within_s` None replays to the end.
    """
    started_s = time.monotonic()
    ends_s = None if within_s is None else started_s + within_s
    report = Backtest(asked_days=days)
    price = _price_of(load_price_book())
    find = lru_cache(maxsize=MODELS_REMEMBERED)(catalog.find)
    today = day_around(moment, zone)[0].astimezone(zone).date()
    for back in range(days):
        on = today - timedelta(days=back)
        starts_at = first_instant(on, zone)
        ends_at = first_instant(on + timedelta(days=1), zone)
        day = Day(rule, ends_at, price)
        report.days.append(DayOutcome(on=on))
        for page in _pages(_rows_between(organization_id, starts_at, ends_at)):
            for values in page:
                _judge(report, day, values, find)
            if ends_s is not None and time.monotonic() > ends_s:
                report.is_complete = False
                break
        if not report.is_complete:
            break
    report.took_s = time.monotonic() - started_s
    return report


def _judge(report: Backtest, day: Day, values: tuple[Any, ...], find: Any) -> None:
    (
        row_id, occurred_at, completed_at, requested, called, user_id, app_id,
        hold, cost, input_tokens, meant, text_bytes, counted, cap,
    ) = values  # fmt: skip
    past = Past(
        occurred_at=occurred_at,
        ended_at=completed_at,
        named=requested.strip(),
        # What an alias led to is the trace's word; a row without a trace has the name it called.
        model=find(meant or requested) or find(called),
        text_bytes=text_bytes,
        counted_tokens=counted,
        input_tokens=input_tokens,
        cap_tokens=cap,
        bound_nanoeur=hold,
        cost_nanoeur=cost or 0,
    )
    outcome = report.days[-1]
    outcome.requests += 1
    outcome.spent_nanoeur += past.cost_nanoeur
    refusal = day.judge(past)
    if refusal is not None:
        report.refuse(_Row(row_id, user_id, app_id), past, refusal)


def _rows_between(
    organization_id: UUID, starts_at: datetime, ends_at: datetime
) -> QuerySet[AiRequestLog, tuple[Any, ...]]:
    """Return the let-through requests, oldest first. Of the traces, the database sends four
    values each: a million whole ones would be gigabytes."""
    rows = AiRequestLog.objects.filter(
        org=organization_id, occurred_at__gte=starts_at, occurred_at__lt=ends_at
    )
    return (
        rows.exclude(status=AiRequestLog.Status.BLOCKED)
        .order_by("occurred_at", "id")
        .values_list(
            *("id", "occurred_at", "completed_at", "requested_model", "model"),
            *("user_id", "app_id", "hold_nanoeur", "cost_nanoeur", "input_tokens"),
            Cast(KT("decision__model__meant"), CharField()),
            Cast(KT("decision__input__bytes"), BigIntegerField()),
            Cast(KT("decision__input__counted_tokens"), BigIntegerField()),
            Cast(KT("decision__output_cap"), BigIntegerField()),
        )
    )


def _pages(
    rows: QuerySet[AiRequestLog, tuple[Any, ...]],
) -> Iterator[list[tuple[Any, ...]]]:
    """Yield the rows page by page, each page its own statement: nothing is held open between."""
    page = list(rows[:ROWS_PER_PAGE])
    while page:
        yield page
        if len(page) < ROWS_PER_PAGE:
            return
        row_id, occurred_at = page[-1][0], page[-1][1]
        later = rows.filter(occurred_at__gte=occurred_at).exclude(
            occurred_at=occurred_at, id__lte=row_id
        )
        page = list(later[:ROWS_PER_PAGE])


def _price_of(prices: PriceBook) -> Price:
    """Return what tokens of a model cost at most, by the dated prices."""

    @lru_cache(maxsize=MODELS_REMEMBERED)
    def names(model_id: str) -> tuple[str, ...]:
        return price_names(model_id)

    def price(model: Model, at: datetime, input_tokens: int, output_tokens: int) -> int | None:
        rates = prices.rates_for(names(model.id), model.provider, at.astimezone(UTC))
        if rates is None:
            return None
        return bound_nanoeur(
            input_tokens_at_most=input_tokens,
            output_tokens_at_most=output_tokens,
            rates=rates,
            without=NOT_IN_TEXT,
        )

    return price

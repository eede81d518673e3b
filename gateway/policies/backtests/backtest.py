"""The policy backtest: what a policy would have done to the last days of an organization.

Days are replayed one by one, the newest first, each from its first request to its last: a day's
money is its own, so days do not depend on each other. Rows are read in pages and only sums are
kept; a time limit ends the replay between pages, and the report then says how far it came.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db.models import BigIntegerField, CharField, QuerySet, Value
from django.db.models.fields.json import KT
from django.db.models.functions import Cast, NullIf

from costs.core.calendar.periods import day_around, first_instant
from costs.core.pricing import bound_nanoeur
from costs.core.usage import UsageCeiling
from costs.prices.book import PriceBook, load_price_book
from gateway.core.bounds import NOT_IN_TEXT
from gateway.core.calls import DIMENSIONS, Dimensions
from gateway.core.model_entries import model_entries
from gateway.core.model_names import Catalog, Model, price_names
from gateway.guards.dimensions import requirements_of
from gateway.guards.policies import Rule
from gateway.models import AiRequestLog
from gateway.policies.backtests.replay import MODELS_REMEMBERED, PastRequest, Price, ReplayedDay
from gateway.policies.backtests.replay_report import Backtest, DayOutcome
from gateway.policies.operations import PolicyLimits

PERIODS_DAYS: Final = (7, 30, 90)
DAYS_DEFAULT: Final = 30
ROWS_PER_PAGE: Final = 2_000


def rule_of(limits: PolicyLimits, catalog: Catalog) -> Rule:
    """Return a policy that is only an idea so far as requests would be judged by it."""
    return Rule(
        id="",
        name=limits.name,
        allowed=model_entries(catalog, limits.allowed_models),
        blocked=model_entries(catalog, limits.blocked_models),
        max_cost_per_day_nanoeur=limits.max_cost_per_day_nanoeur,
        max_tokens_per_request=limits.max_tokens_per_request,
        max_output_tokens=limits.max_output_tokens,
        requirements=requirements_of(limits.required_dimensions, limits.known_values),
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

    Requests that were blocked then are omitted: the policy would have changed nothing.
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
        day = ReplayedDay(rule, ends_at, price)
        report.days.append(DayOutcome(on=on))
        for page in _pages(organization_id, starts_at, ends_at):
            for values in page:
                _judge(report, day, values, find)
            if ends_s is not None and time.monotonic() > ends_s:
                report.is_complete = False
                break
        if not report.is_complete:
            break
    report.took_s = time.monotonic() - started_s
    return report


def _judge(report: Backtest, day: ReplayedDay, values: tuple[Any, ...], find: Any) -> None:
    (
        row_id, occurred_at, completed_at, requested, called,
        hold, cost, input_tokens, resolved, text_bytes, counted, cap, cap_by, asked,
        user_proved, *named,
    ) = values  # fmt: skip
    dimensions = _dimensions(user_proved, named)
    past = PastRequest(
        occurred_at=occurred_at,
        ended_at=completed_at,
        named=requested.strip(),
        # What an alias led to is the trace's word; a row without a trace has the name it called.
        model=find(resolved or requested) or find(called),
        text_bytes=text_bytes,
        counted_tokens=counted,
        input_tokens=input_tokens,
        cap_tokens=cap,
        cap_by=cap_by,
        asked_tokens=asked,
        bound_nanoeur=hold,
        cost_nanoeur=cost or 0,
        dimensions=dimensions,
    )
    outcome = report.days[-1]
    outcome.requests += 1
    outcome.spent_nanoeur += past.cost_nanoeur
    refusal = day.judge(past)
    if refusal is not None:
        report.refuse(past, refusal, request_id=row_id)


def _rows_between(
    organization_id: UUID, starts_at: datetime, ends_at: datetime
) -> QuerySet[AiRequestLog, tuple[Any, ...]]:
    """Return the let-through requests, oldest first. Of the traces, the database sends six
    values each: a million whole ones would be gigabytes."""
    rows = AiRequestLog.objects.filter(
        org=organization_id, occurred_at__gte=starts_at, occurred_at__lt=ends_at
    )
    return (
        rows.exclude(status=AiRequestLog.Status.BLOCKED)
        .order_by("occurred_at", "id")
        .values_list(
            *("id", "occurred_at", "completed_at", "requested_model", "model"),
            *("hold_nanoeur", "cost_nanoeur", "input_tokens"),
            _from_trace("model__meant", CharField()),
            _from_trace("input__bytes", BigIntegerField()),
            _from_trace("input__counted_tokens", BigIntegerField()),
            _from_trace("output_cap", BigIntegerField()),
            _from_trace("output_cap_by", CharField()),
            _from_trace("output_cap_asked", BigIntegerField()),
            *("user_proved", *DIMENSIONS),
        )
    )


def _dimensions(user_proved: bool | None, named: list[str | None]) -> Dimensions:
    """Return a row's dimensions. A user of a row that does not keep whether they were proved is
    taken as proved."""
    given = dict(zip(DIMENSIONS, named, strict=True))
    is_proved = user_proved if user_proved is not None else given["user_id"] is not None
    return Dimensions.named(given, user_proved=is_proved)


def _from_trace(path: str, kind: BigIntegerField[int, int] | CharField[str, str]) -> Cast:
    # On SQLite Django hands out JSON's null as the word, which as a number would be 0.
    return Cast(NullIf(KT(f"decision__{path}"), Value("null")), kind)


def _pages(
    organization_id: UUID, starts_at: datetime, ends_at: datetime
) -> Iterator[list[tuple[Any, ...]]]:
    """Yield the rows page by page, each page its own statement: nothing is held open between.

    A page begins where the last ended, by one lower bound: of two, an index may take the wrong.
    """
    rows = _rows_between(organization_id, starts_at, ends_at)
    while page := list(rows[:ROWS_PER_PAGE]):
        yield page
        if len(page) < ROWS_PER_PAGE:
            return
        row_id, occurred_at = page[-1][0], page[-1][1]
        rows = _rows_between(organization_id, occurred_at, ends_at).exclude(
            occurred_at=occurred_at, id__lte=row_id
        )


def _price_of(prices: PriceBook) -> Price:
    """Return what tokens of a model cost at most, by the dated prices."""

    @lru_cache(maxsize=MODELS_REMEMBERED)
    def names(model_id: str) -> tuple[str, ...]:
        return price_names(model_id)

    def price(model: Model, at: datetime, input_tokens: int, output_tokens: int) -> int | None:
        rates = prices.rates_for(names(model.id), model.provider, at.astimezone(UTC))
        if rates is None:
            return None
        most = UsageCeiling(
            input_tokens=input_tokens, output_tokens=output_tokens, without=NOT_IN_TEXT
        )
        return bound_nanoeur(most, rates)

    return price

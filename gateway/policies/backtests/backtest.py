"""The policy backtest: what a policy would have done to the last days of an organization.

Days are replayed one by one, the newest first, each from its first request to its last: a day's
money is its own, so days do not depend on each other. Rows are read in pages and only sums are
kept; a time limit ends the replay between pages, and the report then says how far it came.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache, partial
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db.models import BigIntegerField, CharField, QuerySet, Sum, Value
from django.db.models.fields.json import KT
from django.db.models.functions import Cast, NullIf

from costs.core.calendar.periods import day_around, first_instant
from costs.core.pricing import bound_nanoeur
from costs.core.usage import UsageCeiling
from costs.models import SessionCost
from costs.prices.book import PriceBook, load_price_book
from gateway.core.bounds import NOT_IN_TEXT
from gateway.core.calls import DIMENSIONS, Dimensions
from gateway.core.model_names import Catalog, Model
from gateway.guards.policies import PolicyMode, Rule
from gateway.models import AiRequestLog, Policy
from gateway.policies.backtests.replay import MODELS_REMEMBERED, PastRequest, Price, ReplayedDay
from gateway.policies.backtests.replay_report import Backtest, DayOutcome
from gateway.policies.counting import first_keys_of
from gateway.policies.operations import PolicyLimits
from gateway.providers.known import KnownModels
from orgs.core.spelling import folded

PERIODS_DAYS: Final = (7, 30, 90)
DAYS_DEFAULT: Final = 30
ROWS_PER_PAGE: Final = 2_000


def rule_of(limits: PolicyLimits, catalog: Catalog) -> Rule:
    """Return a policy that is only an idea so far as requests would be judged if it were on."""
    return Policy(**asdict(replace(limits, mode=PolicyMode.ON))).rule(catalog)


def backtest(  # noqa: PLR0913  keyword-only; each says one thing of the question
    *,
    organization_id: UUID,
    zone: ZoneInfo,
    rule: Rule,
    known: KnownModels,
    moment: datetime,
    days: int,
    within_s: float | None = None,
) -> Backtest:
    """Replay the organization's last `days` local days, today included, under `rule`.

    Requests that were blocked then are omitted: the policy would have changed nothing. So are those
    that it does not apply to, by their rows: `provider` is the one that was called last. Its models
    have the regions that the provider has now; one that was removed has none.
    `within_s` None replays to the end.
    """
    started_s = time.monotonic()
    ends_s = None if within_s is None else started_s + within_s
    report = Backtest(asked_days=days, names_calls=bool(rule.applies_to))
    read = _PastRows(rule, known)
    price = _price_of(load_price_book())
    today = day_around(moment, zone)[0].astimezone(zone).date()
    for back in range(days):
        on = today - timedelta(days=back)
        starts_at = first_instant(on, zone)
        ends_at = first_instant(on + timedelta(days=1), zone)
        day = ReplayedDay(rule, ends_at, price, partial(_spent_before, organization_id, on))
        report.days.append(DayOutcome(on=on))
        for page in _pages(organization_id, starts_at, ends_at):
            for values in page:
                _judge(report, day, values[0], read.past(values))
            if ends_s is not None and time.monotonic() > ends_s:
                report.is_complete = False
                break
        if not report.is_complete:
            break
    report.took_s = time.monotonic() - started_s
    return report


def _judge(report: Backtest, day: ReplayedDay, row_id: UUID, past: PastRequest) -> None:
    if not day.rule.applies_to.includes(past.named_by):
        return
    outcome = report.days[-1]
    outcome.requests += 1
    outcome.spent_nanoeur += past.cost_nanoeur
    refusal = day.judge(past)
    if refusal is not None:
        report.refuse(past, refusal, request_id=row_id)


class _PastRows:
    """Makes of a row's values a past request, as far as `rule` looks at it."""

    def __init__(self, rule: Rule, known: KnownModels) -> None:
        self._find = lru_cache(maxsize=MODELS_REMEMBERED)(known.find)
        self._find_then = lru_cache(maxsize=MODELS_REMEMBERED)(known.served_then)
        self._names = {name for name, _ in rule.applies_to.named}
        keys = dict(rule.applies_to.named).get("key_id")
        self._first_keys = first_keys_of(keys) if keys else {}

    def past(self, values: tuple[Any, ...]) -> PastRequest:
        """Return what a row says."""
        (
            _, occurred_at, completed_at, requested, called,
            hold, cost, input_tokens, output_tokens, resolved, text_bytes, counted, cap, cap_by,
            asked, searches, searched, session_id, user_proved, key_id, channel, provider, *named,
        ) = values  # fmt: skip
        dimensions = _dimensions(user_proved, named)
        first_key = self._first_keys.get(str(key_id))
        all_names = {**dimensions.as_dict(), "channel": channel, "provider": provider}
        return PastRequest(
            occurred_at=occurred_at,
            ended_at=completed_at,
            named=requested.strip(),
            # What an alias led to is the trace's word; without a trace the row's called model is.
            model=(self._find_then(resolved, provider) if resolved else self._find(requested))
            or self._find_then(called, provider),
            text_bytes=text_bytes,
            counted_tokens=counted,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            cap_tokens=cap,
            cap_by=cap_by,
            asked_tokens=asked,
            # Rows of earlier versions keep only the searches that were made.
            web_searches=(searched or 0) if searches is None else searches,
            bound_nanoeur=hold,
            cost_nanoeur=cost or 0,
            dimensions=dimensions,
            session_id=session_id,
            named_by={
                name: folded(value)
                for name, value in {**all_names, "key_id": first_key}.items()
                if name in self._names and value is not None
            },
        )


def _rows_between(
    organization_id: UUID, starts_at: datetime, ends_at: datetime
) -> QuerySet[AiRequestLog, tuple[Any, ...]]:
    """Return the let-through requests, oldest first. Of the traces, the database sends a few
    values each: a million whole ones would be gigabytes."""
    rows = AiRequestLog.objects.filter(
        org=organization_id, occurred_at__gte=starts_at, occurred_at__lt=ends_at
    )
    return (
        rows.exclude(status=AiRequestLog.Status.BLOCKED)
        .order_by("occurred_at", "id")
        .values_list(
            *("id", "occurred_at", "completed_at", "requested_model", "model"),
            *("hold_nanoeur", "cost_nanoeur", "input_tokens", "output_tokens"),
            _from_trace("model__meant", CharField()),
            _from_trace("input__bytes", BigIntegerField()),
            _from_trace("input__counted_tokens", BigIntegerField()),
            _from_trace("output_cap", BigIntegerField()),
            _from_trace("output_cap_by", CharField()),
            _from_trace("output_cap_asked", BigIntegerField()),
            _from_trace("web_searches", BigIntegerField()),
            _from_json("usage__buckets__web_searches", BigIntegerField()),
            *("session_id", "user_proved", "key_id", "channel", "provider", *DIMENSIONS),
        )
    )


def _spent_before(organization_id: UUID, day: date, session_id: str) -> int:
    """Return what a session has cost before a day."""
    lines = SessionCost.objects.filter(org=organization_id, session_id=session_id, day__lt=day)
    return int(lines.aggregate(spent=Sum("amount_nanoeur"))["spent"] or 0)


def _dimensions(user_proved: bool | None, named: list[str | None]) -> Dimensions:
    """Return a row's dimensions. A user of a row that does not keep whether they were proved is
    taken as proved."""
    given = dict(zip(DIMENSIONS, named, strict=True))
    is_proved = user_proved if user_proved is not None else given["user_id"] is not None
    return Dimensions.named(given, user_proved=is_proved)


def _from_trace(path: str, kind: BigIntegerField[int, int] | CharField[str, str]) -> Cast:
    return _from_json(f"decision__{path}", kind)


def _from_json(path: str, kind: BigIntegerField[int, int] | CharField[str, str]) -> Cast:
    # On SQLite Django hands out JSON's null as the word, which as a number would be 0.
    return Cast(NullIf(KT(path), Value("null")), kind)


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

    def price(model: Model, at: datetime, input_tokens: int, output_tokens: int) -> int | None:
        rates = prices.rates_for(model.price_names, model.provider, at.astimezone(UTC))
        if rates is None:
            return None
        most = UsageCeiling(
            input_tokens=input_tokens, output_tokens=output_tokens, without=NOT_IN_TEXT
        )
        return bound_nanoeur(most, rates)

    return price

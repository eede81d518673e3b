"""Sentences about budgets: the calls they apply to, their status and forecast."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from costs.core.calendar.periods import BudgetWindow
from costs.core.forecast import Forecast
from gateway.budgets.chart import burn_down
from gateway.budgets.days import budget_days
from gateway.budgets.sentences import budget_sentence, outlook, whose_calls
from gateway.budgets.status import BudgetStatus
from gateway.guards.budgets import BudgetRule
from gateway.models import Budget

FIRST, TODAY, LAST = date(2025, 6, 1), date(2025, 6, 16), date(2025, 6, 30)
RULE = BudgetRule(
    id="b", name="Blue", scope="b", span=BudgetWindow.MONTH, limit_nanoeur=100, is_hard=True, of={}
)


def standing(
    *, charged: int = 50, held: int = 0, end: tuple[int, int, int] | None = None, **fields: Any
) -> BudgetStatus:
    """A budget of 100 on 16 June; `end` is the forecast's low, middle and high."""
    course: tuple[Forecast, ...] = ()
    if end:
        low, expected, high = end
        course = tuple(
            Forecast(
                spent_nanoeur=charged,
                expected_nanoeur=charged + (expected - charged) * (n + 1) // 15,
                low_nanoeur=charged + (low - charged) * (n + 1) // 15,
                high_nanoeur=charged + (high - charged) * (n + 1) // 15,
                last_day=TODAY + timedelta(days=n),
            )
            for n in range(15)
        )
    made = BudgetStatus(
        rule=RULE,
        enabled=True,
        starts_on=FIRST,
        today=TODAY,
        last_day=LAST,
        charged_nanoeur=charged,
        held_nanoeur=held,
        by_day={FIRST: charged},
        course=course,
        full_on=None,
    )
    return replace(made, **fields)


@pytest.mark.parametrize(
    ("fields", "calls"),
    [
        ({}, "All calls"),
        ({"team_id": "blue"}, "Calls of team blue"),
        (
            {"team_id": "blue", "app_id": "a", "task_type": "chat"},
            "Calls of team blue, app a and task type chat",
        ),
        ({"user_id": "1"}, "Calls of user ada@acme.example"),
        ({"models": ["gpt-4o"]}, "Calls to gpt-4o"),
        ({"models": list("abcdef")}, "Calls to a, b, c, d and 2 more"),
    ],
)
def test_whose_calls_names_dimensions_and_models(fields: dict[str, Any], calls: str) -> None:
    assert whose_calls(Budget(**fields), {"1": "ada@acme.example"}) == calls


def test_sentence_of_budget_that_only_warns() -> None:
    budget = Budget(span="week", limit_nanoeur=10**9, is_hard=False)
    assert budget_sentence(budget, {}) == ("All calls: limit 1.00 EUR per week; it only warns.")


@pytest.mark.parametrize(
    ("status", "word"),
    [
        (standing(), "no forecast yet"),
        (standing(end=(60, 80, 100)), "on track"),
        (standing(end=(60, 80, 101)), "may exceed the limit"),
        (
            standing(end=(60, 110, 120), full_on=date(2025, 6, 24)),
            "forecast to exceed the limit about 24 Jun",
        ),
        (standing(end=(60, 110, 120), full_on=TODAY), "forecast to exceed the limit today"),
        (standing(charged=99), "almost full"),
        (standing(charged=99, rule=replace(RULE, is_hard=False)), "no forecast yet"),
        (standing(held=50), "full"),
        (standing(charged=100, full_on=FIRST), "full"),
        (standing(charged=101, full_on=FIRST), "over the limit"),
        (standing(charged=101, enabled=False), "off"),
    ],
)
def test_every_status_has_label(status: BudgetStatus, word: str) -> None:
    assert outlook(status).word == word
    assert outlook(status).sign


def test_past_and_future_days_are_distinct() -> None:
    days = budget_days(standing(end=(60, 80, 130)))
    assert (days[0].spent_nanoeur, days[15].so_far_nanoeur, days[15].left_nanoeur) == (50, 50, 50)
    assert days[16].spent_nanoeur is None
    assert days[-1].ahead is not None
    assert (days[-1].on, days[-1].ahead.high_nanoeur, days[-1].ahead_left_nanoeur) == (
        LAST,
        130,
        20,
    )
    assert budget_days(standing())[-1].ahead is None
    over = budget_days(standing(charged=130))[0]
    assert (over.left_nanoeur, over.over_nanoeur) == (0, 30)


def test_forecast_line_starts_at_current_amount() -> None:
    status = standing(end=(60, 80, 130))
    chart = burn_down(status, budget_days(status), day_share=0.5)
    assert chart.width == len(chart.days) == 30
    assert chart.spent_line.startswith("M0.00 100.00L1.00 ")
    here = chart.spent_line.rpartition("L")[2]
    assert here.startswith("15.50 ")
    assert chart.expected_line.startswith(f"M{here}L16.00 ")
    assert chart.range_area.endswith("z")
    assert float(chart.limit_y) > 0
    assert "80 % range" in chart.summary


@pytest.mark.parametrize("limit", [0, 1, 10**18])
def test_any_limit_can_be_drawn(limit: int) -> None:
    status = standing(charged=0, rule=replace(RULE, limit_nanoeur=limit))
    chart = burn_down(status, budget_days(status), day_share=1.0)
    assert 0 <= float(chart.limit_y) <= 100
    assert (chart.expected_line, chart.range_area) == ("", "")
    assert "needs a week of charges" in chart.summary

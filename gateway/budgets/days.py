"""A budget's period day by day: what each day cost, and what those to come may."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

from costs.core.forecast import Forecast
from gateway.budgets.status import BudgetStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetDay:
    """A day, what it cost, and the sum of the period at its end.

    The three are None of a day to come; `ahead` is the expected sum by then, if there is a
    forecast. `over_nanoeur` is what was spent beyond the limit.
    """

    on: date
    spent_nanoeur: int | None = None
    so_far_nanoeur: int | None = None
    left_nanoeur: int | None = None
    over_nanoeur: int = 0
    ahead: Forecast | None = None
    ahead_left_nanoeur: int | None = None


def budget_days(status: BudgetStatus) -> list[BudgetDay]:
    """Return all days of the period, the first one first."""
    limit, so_far, days = status.rule.limit_nanoeur, 0, []
    ahead = {each.last_day: each for each in status.course}
    for number in range((status.last_day - status.starts_on).days + 1):
        on = status.starts_on + timedelta(days=number)
        if on <= status.today:
            spent = status.by_day.get(on, 0)
            so_far += spent
            days.append(
                BudgetDay(
                    on=on,
                    spent_nanoeur=spent,
                    so_far_nanoeur=so_far,
                    left_nanoeur=max(0, limit - so_far),
                    over_nanoeur=max(0, so_far - limit),
                )
            )
        else:
            then = ahead.get(on)
            left = None if then is None else max(0, limit - then.expected_nanoeur)
            days.append(BudgetDay(on=on, ahead=then, ahead_left_nanoeur=left))
    return days

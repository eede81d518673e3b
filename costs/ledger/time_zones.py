"""Dates what an organization spends today by its new time zone.

A period keeps its holds and charges for ever, so money does not move between periods: the current
period gets today's date in the new zone, and ends with it. RESERVE then finds it as before, and
the next one begins at a midnight of the new zone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from functools import reduce
from operator import attrgetter, itemgetter, or_
from typing import Any, Final
from zoneinfo import ZoneInfo

from django.db import connection
from django.db.models import Q

from costs.core.admission import ORG_SCOPE, Limit
from costs.core.calendar.periods import BudgetWindow, clipped, local_day
from costs.ledger.charges import NOTHING, ChargedTo, Sums, added, month_row
from costs.ledger.new_periods import Counting, open_period
from costs.ledger.stores.tables import CHARGED_TO, MONTHLY_COST, SUMS
from costs.models import DailyCost, MonthlyCost, Period
from orgs.models import Organization

DAYS: Final = Counting(
    limit=Limit(scope=ORG_SCOPE, span=BudgetWindow.DAY, limit_nanoeur=None),
    dimensions={},
    counts_model=lambda _: True,
)


def follow_time_zone(
    organization: Organization, budgets: Sequence[Counting], *, now: datetime
) -> None:
    """Date the current periods of the day and of `budgets` by the organization's time zone.

    Called in the transaction that has changed it, and so has locked the organization. `now` is the
    database's clock after that lock. Doing it again changes nothing.
    """
    zone = ZoneInfo(organization.timezone)
    today = local_day(now, zone)
    periods = _locked_periods(organization, budgets, today=today, now=now)
    for counting in (DAYS, *budgets):
        first, _ = counting.limit.span.days_around(today)
        of_scope = [each for each in periods if each.scope == counting.limit.scope]
        begun = [each for each in of_scope if each.starts_at <= now]
        current = [each for each in begun if each.ends_at > now or each.starts_on >= first]
        if not current:
            continue
        if counting.limit.span is not BudgetWindow.DAY and current[-1].starts_on < first:
            # The days before today stay in the window that they were spent in.
            Period.objects.filter(pk=current[-1].pk).update(ends_at=now)
            open_period(organization, counting, now=now)
            continue
        later = (each.starts_at for each in of_scope if each.starts_at > now)
        _, ends_at = clipped(
            counting.limit.span.around(today, zone),
            previous_ends_at=None,
            next_starts_at=min(later, default=None),
        )
        _redate(organization, counting, current, today=today, ends_at=ends_at)


def _locked_periods(
    organization: Organization, budgets: Sequence[Counting], *, today: date, now: datetime
) -> list[Period]:
    """Lock what may change, and the days that budgets count: all at once, in the ledger's order."""
    firsts = {span: span.days_around(today)[0] for span in BudgetWindow}
    scopes: dict[BudgetWindow, list[str]] = defaultdict(list)
    for counting in (DAYS, *budgets):
        scopes[counting.limit.span].append(counting.limit.scope)
    wanted = [
        Q(scope__in=scopes[span]) & (Q(ends_at__gt=now) | Q(starts_on__gte=firsts[span]))
        for span in firsts
    ]
    wanted.append(Q(scope=ORG_SCOPE, starts_on__gte=min(firsts.values())))
    rows = Period.objects.filter(reduce(or_, wanted), org=organization)
    locked = rows.order_by("id").select_for_update(no_key=True)
    return sorted(locked, key=attrgetter("starts_at"))


def _redate(
    organization: Organization,
    counting: Counting,
    periods: Sequence[Period],
    *,
    today: date,
    ends_at: datetime,
) -> None:
    """Give the periods the date of today's window. The last one ends at `ends_at`.

    Several are of one date where the zone moved west: the last one counts the others' costs too.
    """
    first, after = counting.limit.span.days_around(today)
    current, is_dated = periods[-1], periods[-1].starts_on == first
    moved = [each for each in periods if each.starts_on != first]
    if counting is DAYS:
        _redate_lines(organization, moved, first)
    Period.objects.filter(pk__in=[each.pk for each in moved]).update(starts_on=first)
    changes: dict[str, Any] = {"ends_at": ends_at}
    if not is_dated or len(periods) > 1:
        own = current.settled_nanoeur + current.overrun_nanoeur
        spent = counting.spent_nanoeur(organization, first, after)
        # The next hold writes the limit again, less what is carried now.
        changes |= {"carried_nanoeur": max(0, spent - own), "limit_nanoeur": None}
    Period.objects.filter(pk=current.pk).update(**changes)


def _redate_lines(organization: Organization, periods: Sequence[Period], day: date) -> None:
    """Move the daily lines of these periods to `day`, and what months count of them to its month.

    SETTLE adds to lines under the lock of their period.
    """
    month = day.replace(day=1)
    sums: dict[tuple[date, ChargedTo], Sums] = {}
    for period in periods:
        lines = DailyCost.objects.filter(org=organization, day=period.starts_on, period=period.pk)
        of_month = period.starts_on.replace(day=1)
        if of_month != month:
            for values in lines.values_list(*CHARGED_TO, *SUMS):
                named = tuple([each and f"{each}" for each in values[: len(CHARGED_TO)]])
                more = values[len(CHARGED_TO) :]
                for key, part in ((of_month, [-each for each in more]), (month, more)):
                    sums[key, named] = added(sums.get((key, named), NOTHING), part)
        lines.update(day=day)
    _add_to_months(organization, sums)


def _add_to_months(organization: Organization, sums: Mapping[tuple[date, ChargedTo], Sums]) -> None:
    """Add to monthly lines in the order of their ids, as SETTLE does; drop those left empty."""
    rows = [month_row(organization.pk, *line, more) for line, more in sums.items()]
    marks = ", ".join(["%s"] * len(MONTHLY_COST.columns))
    statement = (
        f"INSERT INTO {MONTHLY_COST.name} ({', '.join(MONTHLY_COST.columns)}) "  # noqa: S608
        f"VALUES ({marks}){MONTHLY_COST.on_conflict}"
    )
    values = MONTHLY_COST.new_values(sorted(rows, key=itemgetter("id")))
    with connection.cursor() as cursor:
        cursor.executemany(
            statement,
            [
                [each if isinstance(each, int | None) else f"{each}" for each in row]
                for row in values
            ],
        )
    months = {month for month, _ in sums}
    MonthlyCost.objects.filter(org=organization, month__in=months, events=0).delete()

"""Dates what an organization spends today by its new time zone.

A period keeps its holds and charges for ever, so money does not move between periods: the current
period gets today's date in the new zone, and ends with it. RESERVE then finds it as before, and
the next one begins at a midnight of the new zone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from functools import reduce
from operator import attrgetter, itemgetter, or_
from typing import Final
from zoneinfo import ZoneInfo

from django.db import connection
from django.db.models import Q

from costs.core.admission import ORG_SCOPE, Limit
from costs.core.calendar.periods import BudgetWindow, clipped, local_day
from costs.ledger.charges import NOTHING, ChargedTo, Sums, added, month_row
from costs.ledger.new_periods import Counting, open_periods
from costs.ledger.stores.tables import CHARGED_TO, MONTHLY_COST, SUMS
from costs.models import DailyCost, MonthlyCost, Period, SessionCost
from orgs.models import Organization

PERIODS_AT_ONCE: Final = 200
DAYS: Final = Counting(limit=Limit(scope=ORG_SCOPE, span=BudgetWindow.DAY, limit_nanoeur=None))


def follow_time_zone(
    organization: Organization, others: Sequence[Counting], *, now: datetime
) -> None:
    """Date the current periods of the day and of `others` by the organization's time zone.

    Called in the transaction that has changed it, and so has locked the organization. `now` is the
    database's clock after that lock. Doing it again changes nothing.
    """
    zone = ZoneInfo(organization.timezone)
    today = local_day(now, zone)
    periods = _locked_periods(organization, others, today=today, now=now)
    limits = {counting.limit.scope: counting for counting in (DAYS, *others)}
    of_limits: dict[str, dict[str, list[Period]]] = {scope: {} for scope in limits}
    for period in periods:
        scope = period.scope
        limit = scope if scope in limits else scope.rpartition(":")[0]  # that of a part
        of_limits[limit].setdefault(scope, []).append(period)
    for scope, counting in limits.items():
        _follow(organization, counting, of_limits[scope], today=today, now=now)


def _follow(
    organization: Organization,
    counting: Counting,
    of_scopes: Mapping[str, Sequence[Period]],
    *,
    today: date,
    now: datetime,
) -> None:
    """Date the current periods of a limit, which are those in force or of today's window."""
    zone, span = ZoneInfo(organization.timezone), counting.limit.span
    first, _ = span.days_around(today)
    ended: list[Period] = []
    dated: list[tuple[list[Period], datetime]] = []
    for of_scope in of_scopes.values():
        begun = [each for each in of_scope if each.starts_at <= now]
        current = [each for each in begun if each.ends_at > now or each.starts_on >= first]
        if not current:
            continue
        if span is not BudgetWindow.DAY and current[-1].starts_on < first:
            ended.append(current[-1])
            continue
        later = (each.starts_at for each in of_scope if each.starts_at > now)
        _, ends_at = clipped(
            span.around(today, zone),
            previous_ends_at=None,
            next_starts_at=min(later, default=None),
        )
        dated.append((current, ends_at))
    if ended:
        # The days before today stay in the window that they were spent in.
        _update(ended, ends_at=now)
        scopes = {each.scope for each in ended}
        open_periods(organization, counting, now=now, only=scopes)
    if dated:
        _redate(organization, counting, dated, today=today)


def _locked_periods(
    organization: Organization, others: Sequence[Counting], *, today: date, now: datetime
) -> list[Period]:
    """Lock what may change, and the days that others count: all at once, in the ledger's order."""
    firsts = {span: span.days_around(today)[0] for span in BudgetWindow}
    wanted = [
        counting.of_scopes & (Q(ends_at__gt=now) | Q(starts_on__gte=firsts[counting.limit.span]))
        for counting in (DAYS, *others)
    ]
    wanted.append(Q(scope=ORG_SCOPE, starts_on__gte=min(firsts.values())))
    rows = Period.objects.filter(reduce(or_, wanted), org=organization)
    locked = rows.order_by("id").select_for_update(no_key=True)
    return sorted(locked, key=attrgetter("starts_at"))


def _redate(
    organization: Organization,
    counting: Counting,
    of_scopes: Sequence[tuple[Sequence[Period], datetime]],
    *,
    today: date,
) -> None:
    """Give the periods of each scope the date of today's window. The last one ends as given.

    Several are of one date where the zone moved west: the last one counts the others' costs too.
    """
    first, after = counting.limit.span.days_around(today)
    everything = [period for periods, _ in of_scopes for period in periods]
    moved = {each.pk for each in everything if each.starts_on != first}
    if counting is DAYS:
        _redate_lines(organization, [each for each in everything if each.pk in moved], first)
    joined = [periods for periods, _ in of_scopes if len(periods) > 1 or periods[-1].pk in moved]
    spent = counting.spent_nanoeur(organization, first, after) if joined else {}
    for periods in joined:
        current = periods[-1]
        own = current.settled_nanoeur + current.overrun_nanoeur
        current.carried_nanoeur = max(0, spent.get(current.scope, 0) - own)
        current.limit_nanoeur = None  # the next hold writes it, less what is carried now
    changed, columns = [periods[-1] for periods in joined], ("carried_nanoeur", "limit_nanoeur")
    Period.objects.bulk_update(changed, columns, batch_size=PERIODS_AT_ONCE)
    _update([each for each in everything if each.pk in moved], starts_on=first)
    for moment in {ends_at for _, ends_at in of_scopes}:
        last = [periods[-1] for periods, ends_at in of_scopes if ends_at == moment]
        _update(last, ends_at=moment)


def _update(periods: Sequence[Period], **changes: date | datetime) -> None:
    """Change the same of many periods."""
    for first in range(0, len(periods), PERIODS_AT_ONCE):
        some = [each.pk for each in periods[first : first + PERIODS_AT_ONCE]]
        Period.objects.filter(pk__in=some).update(**changes)


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
        of_sessions = SessionCost.objects.filter(org=organization, period=period.pk)
        of_sessions.filter(day=period.starts_on).update(day=day)
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

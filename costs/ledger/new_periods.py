"""Opens the periods of scopes that start to count in the middle of their window."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from django.db.models import Max, Q, QuerySet, Sum

from costs.core.admission import ORG_SCOPE, SESSION_SCOPE, Limit
from costs.core.calendar.periods import clipped, local_day
from costs.models import DailyCost, Period
from orgs.core.spelling import folded
from orgs.database import may_be
from orgs.models import Organization

# After a change of time zone a day can be as long.
_TWO_DAYS: Final = timedelta(days=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Counting:
    """A limit and the charges that it counts: with one of the values `of` each column, in any
    spelling, and a model that counts, by its name and provider.

    With `each` it counts the values of that column apart, each in its own scope: `part_scope` of
    the value. Charges without a value count in none.
    """

    limit: Limit
    of: Mapping[str, Collection[str]] = field(default_factory=dict)
    counts_model: Callable[[str, str], bool] = lambda _model, _provider: True
    each: str = ""
    part_scope: Callable[[str], str] = str

    @property
    def of_scopes(self) -> Q:
        """The condition of its periods."""
        scope = self.limit.scope
        return Q(scope__startswith=f"{scope}:") if self.each else Q(scope=scope)

    def charges(self, organization: Organization, first: date, after: date) -> QuerySet[Any]:
        """Return the charges of the days from `first` to before `after`, of all calls."""
        return DailyCost.objects.filter(org=organization, day__gte=first, day__lt=after)

    def spent_nanoeur(self, organization: Organization, first: date, after: date) -> dict[str, int]:
        """Return what the charges from `first` to before `after` add up to, by scope.

        A limit that counts values apart has only those that have cost something.
        """
        charges = self.charges(organization, first, after)
        for name, any_of in self.of.items():
            is_id = name == "key_id"
            charges = charges.filter(Q(key_id__in=any_of) if is_id else may_be(name, any_of))
        if self.each:
            charges = charges.exclude(**{self.each: None})
        wanted = [{folded(value) for value in any_of} for any_of in self.of.values()]
        columns = ("model", "provider", *self.of, *([self.each] if self.each else []))
        sums = charges.order_by().values_list(*columns).annotate(Sum("amount_nanoeur"))
        spent: Counter[str] = Counter()
        for model, provider, *values, amount in sums.iterator():
            scope = self.part_scope(f"{values.pop()}") if self.each else self.limit.scope
            is_of = (folded(f"{value}") in of for value, of in zip(values, wanted, strict=True))
            if all(is_of) and self.counts_model(model, provider):
                spent[scope] += int(amount)
        return dict(+spent) if self.each else {self.limit.scope: max(0, spent.total())}


def open_periods(
    organization: Organization,
    counting: Counting,
    *,
    now: datetime,
    only: Collection[str] | None = None,
) -> None:
    """Create the current periods of a limit, with the cost of its calls in the window so far.

    Of values that are counted apart those that have cost something get one, of them `only` some
    scopes: RESERVE begins the others with nothing. Calls in flight do not count. The caller's
    transaction has locked the organization, as RESERVE does, and the scopes have no period in
    force.
    """
    zone, limit = ZoneInfo(organization.timezone), counting.limit
    day = local_day(now, zone)
    first, after = limit.span.days_around(day)
    days = Period.objects.filter(
        org=organization, scope=ORG_SCOPE, starts_on__gte=first, starts_on__lt=after
    )
    # SETTLE adds to a day's lines under the lock of the day's period, so no charge is missed.
    list(days.order_by("id").select_for_update().values_list("id", flat=True))
    begun = Period.objects.filter(counting.of_scopes, org=organization, starts_at__lte=now)
    ended = dict(begun.order_by().values_list("scope").annotate(Max("ends_at")))
    window = limit.span.around(day, zone)
    new = []
    for scope, spent_nanoeur in counting.spent_nanoeur(organization, first, after).items():
        if only is not None and scope not in only:
            continue
        starts_at, ends_at = clipped(window, previous_ends_at=ended.get(scope), next_starts_at=None)
        new.append(
            Period(
                org=organization,
                scope=scope,
                starts_on=first,
                starts_at=starts_at,
                ends_at=ends_at,
                carried_nanoeur=spent_nanoeur,
            )
        )
    Period.objects.bulk_create(new, batch_size=500)


def end_sessions(organization: Organization, *, now: datetime) -> None:
    """End the periods of sessions, where calls come to count in them after a time without.

    RESERVE begins others with what their sessions have cost by then. The caller's transaction has
    locked the organization.
    """
    current = Q(scope__startswith=SESSION_SCOPE, starts_at__lt=now, ends_at__gt=now)
    # With the days that `open_periods` locks after them: all at once, in the ledger's order.
    days = Q(scope=ORG_SCOPE, ends_at__gt=now - _TWO_DAYS)
    locked = Period.objects.filter(current | days, org=organization).order_by("id")
    list(locked.select_for_update().values_list("id", flat=True))
    Period.objects.filter(current, org=organization).update(ends_at=now)

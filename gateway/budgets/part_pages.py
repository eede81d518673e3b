"""The parts of a budget as its page shows them: the fullest, one that is searched, the raised."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

from costs.core.shares import share_percent
from costs.explorer.charts import share_width
from gateway.budgets.links import part_costs_query
from gateway.budgets.parts.raises import raises_in_force
from gateway.budgets.parts.status import PartsStatus, PartStatus, part_status
from gateway.budgets.parts.values import first_keys_rotated, names_of, value_named, values_of_parts
from gateway.budgets.status import BudgetStatus
from gateway.guards.budgets import EACH
from gateway.models import Budget, BudgetRaise
from orgs.core.errors import Invalid
from orgs.models import Organization

SHOWN_MAX: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class PartLine:
    """A part as the table shows it; widths are in percent of its bar.

    `value` and `costs_query` are None of a part whose first calls still run. `until` is the last
    day of its raised limit.
    """

    status: PartStatus
    value: str | None
    name: str
    until: date | None
    share_percent: str | None
    used_width: str
    held_width: str
    costs_query: str | None

    @property
    def is_spent(self) -> bool:
        """Whether the whole limit is spent."""
        return self.status.is_spent


@dataclass(frozen=True, slots=True, kw_only=True)
class RaiseLine:
    """A raised limit, and whose it is."""

    row: BudgetRaise
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PartsPage:
    """The parts of a budget: the `fullest`, the one that was `wanted` and found, the raised limits.

    `fault` is why it was not found. `word` is what a part is called.
    """

    word: str
    counted: PartsStatus
    fullest: tuple[PartLine, ...]
    found: PartLine | None
    wanted: str
    fault: str
    raises: tuple[RaiseLine, ...]


def parts_page(
    organization: Organization, budget: Budget, status: BudgetStatus, *, wanted: str, now: datetime
) -> PartsPage | None:
    """Return the parts of a budget in its current period, or None of one without."""
    if status.parts is None:
        return None
    counted, days = status.parts, (status.starts_on, status.today)
    raises = raises_in_force(organization, budget, now)
    shown = counted.fullest[:SHOWN_MAX]
    values = {each.part: each.value for each in raises}
    values |= values_of_parts(
        {each.part for each in shown},
        each=budget.each,
        organization_id=organization.pk,
        first=days[0],
        last=days[1],
    )
    fault, searched = "", None
    if wanted:
        try:
            value = value_named(wanted, each=budget.each, organization_id=organization.pk)
        except Invalid as exc:
            fault = exc.message
        else:
            searched = part_status(organization, status.rule, value, now)
            values[searched.part] = value
    show = _Show(
        budget=budget,
        days=days,
        values=values,
        names=names_of(values.values(), each=budget.each, organization_id=organization.pk),
        until={each.part: each.until for each in raises},
        rotated=first_keys_rotated(organization.pk) if budget.each == "key_id" else frozenset(),
    )
    return PartsPage(
        word=EACH[budget.each],
        counted=counted,
        fullest=tuple([show.line(each) for each in shown]),
        found=show.line(searched) if searched else None,
        wanted=wanted,
        fault=fault,
        raises=tuple([RaiseLine(row=each, name=show.name(each.value)) for each in raises]),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Show:
    """What lines of parts are made of."""

    budget: Budget
    days: tuple[date, date]
    values: Mapping[str, str]
    names: Mapping[str, str]
    until: Mapping[str, date]
    rotated: Collection[str]

    def name(self, value: str) -> str:
        return self.names.get(value, value)

    def line(self, part: PartStatus) -> PartLine:
        value = self.values.get(part.part)
        limit, charged = part.limit_nanoeur, part.charged_nanoeur
        room = max(0, limit - charged)
        return PartLine(
            status=part,
            value=value,
            name=self.name(value) if value is not None else "",
            until=self.until.get(part.part),
            share_percent=share_percent(charged, limit),
            used_width=share_width(charged, limit) if limit else "100",
            held_width=share_width(min(room, part.held_nanoeur), limit),
            costs_query=None
            if value is None
            else part_costs_query(self.budget, value, *self.days, is_rotated=value in self.rotated),
        )

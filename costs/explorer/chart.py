"""The explorer's chart: its days as stacked bars, and a legend that filters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from costs.core.cost_query import DAY, CostQuery
from costs.core.shares import share_percent
from costs.explorer import charts, reports
from costs.explorer.charts import StackedChart
from costs.explorer.forms import PARAMETER_OF, WITHOUT, CostForm
from costs.explorer.names import DimensionNames
from costs.explorer.reports import CostReport

OTHERS: Final = "Others"


@dataclass(frozen=True, slots=True, kw_only=True)
class LegendEntry:
    """A colour of the chart, its label, and a link to its costs alone."""

    style: str
    label: str
    amount_nanoeur: int
    share_percent: str | None
    href: str | None


def stacked(
    form: CostForm,
    query: CostQuery,
    report: CostReport,
    names: DimensionNames,
    dimension: str | None,
) -> tuple[StackedChart | None, tuple[LegendEntry, ...]]:
    """Return the bars of the query's days, stacked by the values of a dimension with the highest
    costs, and their legend."""
    by_month = charts.is_by_month(query.date_range)
    if dimension is None:
        days = reports.by_day(
            organization_id=names.organization_id,
            query=query,
            date_range=query.date_range,
            by_month=by_month,
        )
        amounts: charts.Amounts = {(day, 0): nanoeur for day, nanoeur in days.items()}
        labels = ["Costs"]
        return charts.stacked_chart(
            amounts, date_range=query.date_range, labels=labels, rest_label=OTHERS
        ), ()
    stacks = reports.stacks(dimension, report.top, query=query, names=names, by_month=by_month)
    chart = charts.stacked_chart(
        stacks.amounts, date_range=query.date_range, labels=stacks.labels, rest_label=OTHERS
    )
    return chart, _legend(chart, report, dimension, form) if chart else ()


def stacking(form: CostForm, query: CostQuery) -> str | None:
    """Return what the bars are stacked by: the first dimension that no filter fixes to one value.

    Bars of one colour show no more than the total; if all are fixed, it is the first dimension.
    """
    dimensions = [each for each in query.group_by if each != DAY]
    held = {PARAMETER_OF[each] for each in dimensions if form.cleaned_data[PARAMETER_OF[each]]}
    held |= set(form.cleaned_data[WITHOUT])
    free = [each for each in dimensions if PARAMETER_OF[each] not in held]
    return next(iter(free or dimensions), None)


def _legend(
    chart: StackedChart, report: CostReport, dimension: str, form: CostForm
) -> tuple[LegendEntry, ...]:
    hrefs: Mapping[str, str] = {
        f"series-{n + 1}": form.address(**form.only(dimension, value))
        for n, value in enumerate(report.top)
    }
    return tuple(
        LegendEntry(
            style=series.style,
            label=series.label,
            amount_nanoeur=series.amount_nanoeur,
            share_percent=share_percent(series.amount_nanoeur, report.total.amount_nanoeur),
            href=hrefs.get(series.style),
        )
        for series in chart.series
        if series.path
    )

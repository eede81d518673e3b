"""The cost explorer's page as plain values: its table, chart, comparison, forecast and links."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from urllib.parse import urlencode
from uuid import UUID

from django.urls import reverse
from django.utils.safestring import SafeString

from costs.core.calendar.date_ranges import DateRange, Preset
from costs.core.cost_query import DAY, CostQuery
from costs.core.forecast import Forecast, history_starts, month_forecast
from costs.core.shares import Change, change
from costs.explorer import charts, reports
from costs.explorer.chart import LegendEntry, stacked, stacking
from costs.explorer.charts import StackedChart
from costs.explorer.forms import (
    FILTERS,
    GROUP_LABELS,
    GROUP_WORDS,
    PARAMETER_OF,
    PRESET_LABELS,
    WITHOUT,
    CostForm,
)
from costs.explorer.names import DimensionNames
from costs.explorer.reports import NO_VALUE, CostReport
from costs.explorer.table import Line, table_lines, table_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A link to another state of the page."""

    label: str
    href: str
    is_current: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Chip:
    """An active filter, and the link that removes it."""

    name: str
    value: str
    href: str
    also: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplorerPage:
    """Everything the template shows for a valid form."""

    date_range: DateRange
    before: DateRange | None
    report: CostReport
    change: Change | None
    compares: bool
    has_estimates: bool
    estimates_href: str | None
    lines: tuple[Line, ...]
    rows: SafeString
    group_labels: tuple[str, ...]
    table_title: str
    presets: tuple[Link, ...]
    chips: tuple[Chip, ...]
    chart: StackedChart | None
    chart_title: str
    legend: tuple[LegendEntry, ...]
    forecast: Forecast | None
    address: str
    models_used: tuple[str, ...]
    providers_used: tuple[str, ...]


def explorer_page(
    *,
    organization_id: UUID,
    form: CostForm,
    query: CostQuery,
    used: Sequence[tuple[str, str]],
    today: date,
) -> ExplorerPage:
    """Return the page of a valid form."""
    names = DimensionNames(organization_id)
    dimension = stacking(form, query)
    report = reports.explore(query=query, names=names, dimension=dimension, top=charts.SERIES_MAX)
    chart, legend = stacked(form, query, report, names, dimension)
    lines = tuple(table_lines(report, query, form))
    has_estimates = any(line.estimated_nanoeur for line in lines)
    return ExplorerPage(
        date_range=query.date_range,
        before=query.before,
        report=report,
        change=change(report.total.amount_nanoeur, report.before_nanoeur),
        compares=query.compares_groups,
        has_estimates=has_estimates,
        estimates_href=_estimates_href(form, query),
        lines=lines,
        rows=table_rows(lines, query, url=reverse("costs"), has_estimates=has_estimates),
        group_labels=tuple(GROUP_LABELS[dimension] for dimension in query.group_by),
        table_title=f"By {' and '.join(GROUP_WORDS[name] for name in query.group_by)}",
        presets=tuple(_preset(preset, form) for preset in Preset),
        chips=tuple(_chips(form, query, names)),
        chart=chart,
        chart_title=_chart_title(chart, dimension) if chart else "",
        legend=legend,
        forecast=_forecast(organization_id, query, report, today),
        address=form.address(),
        models_used=tuple(dict.fromkeys(model for _, model in used)),
        providers_used=tuple(sorted({provider for provider, _ in used})),
    )


# --- above the table ----------------------------------------------------------------------------


def _preset(preset: Preset, form: CostForm) -> Link:
    date_range = form.date_range
    days = (
        {"from": f"{date_range.first}", "to": f"{date_range.last}"}
        if preset is Preset.CUSTOM
        else {}
    )
    return Link(
        label=PRESET_LABELS[preset],
        href=form.address(
            **{"period": None if days else preset.value, "from": None, "to": None} | days
        ),
        is_current=form.cleaned_data["period"] is preset,
    )


def _estimates_href(form: CostForm, query: CostQuery) -> str | None:
    """Return a link to the requests that have estimates, or None if their list has no such filter.

    It takes one model, not its snapshots, and cannot ask for requests without a dimension.
    """
    if form.absent() or (query.models is not None and len(query.models) != 1):
        return None
    dates = {"from": f"{form.date_range.first}", "to": f"{form.date_range.last}"}
    values = {name: form.cleaned_data[name] for name in PARAMETER_OF.values()}
    if query.models is not None:
        values["model"] = query.models[0]
    chosen = {"estimated": "yes", **dates} | {
        name: value for name, value in values.items() if value
    }
    return f"{reverse('requests')}?{urlencode(chosen)}"


def _chips(form: CostForm, query: CostQuery, names: DimensionNames) -> list[Chip]:
    values = form.cleaned_data
    chips = [
        Chip(name=label, value=values[parameter], href=form.address(**{parameter: None}))
        for parameter, label in FILTERS.values()
        if values[parameter] and parameter not in ("userId", "model")
    ]
    if values["model"]:
        others = len(query.models or ()) - 1
        also = f"and {others} dated snapshot{'s' * (others > 1)}" if others > 0 else ""
        chips.insert(
            0, Chip(name="Model", value=values["model"], href=form.address(model=None), also=also)
        )
    for dimension, label in (("user", "User"), ("key", "API key")):
        parameter = PARAMETER_OF[dimension]
        if values[parameter]:
            value = f"{values[parameter]}"
            shown = names.of(dimension, [value]).get(value, value)
            chips.append(Chip(name=label, value=shown, href=form.address(**{parameter: None})))
    for name in form.absent():
        left = tuple(other for other in values[WITHOUT] if other != PARAMETER_OF[name])
        href = form.address(**{WITHOUT: left})
        chips.append(Chip(name=GROUP_LABELS[name], value=NO_VALUE, href=href))
    if values["source"]:
        chips.append(Chip(name="Source", value=values["source"], href=form.address(source=None)))
    return chips


def _chart_title(chart: StackedChart, dimension: str | None) -> str:
    by = f", by {GROUP_WORDS[dimension]}" if dimension else ""
    return f"Costs by {chart.bucket}{by}"


def _forecast(
    organization_id: UUID, query: CostQuery, report: CostReport, today: date
) -> Forecast | None:
    """Return the month's forecast for the query's filters, where the date range reaches today."""
    if not query.date_range.first <= today <= query.date_range.last:
        return None
    history = DateRange(history_starts(today), today)
    if query.group_by == (DAY,) and query.date_range.first <= history.first:
        # The table has them: its newest lines cover more days than a history.
        by_day = {
            date.fromisoformat(day): group.sums.amount_nanoeur
            for group in report.groups
            for day in group.values
            if day
        }
    else:
        by_day = reports.by_day(organization_id=organization_id, query=query, date_range=history)
    return month_forecast(by_day, today=today)

"""The cost explorer's page as plain values: lines with their links, chart, comparison, forecast."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final
from uuid import UUID

from costs import charts, reports
from costs.charts import StackedChart, share_width
from costs.core.forecast import Forecast, history_starts, month_forecast
from costs.core.shares import Change, change, share_percent
from costs.core.spans import Preset, Span
from costs.explorer_chart import LegendEntry, stacked, stacking
from costs.forms import (
    FILTERS,
    GROUP_LABELS,
    GROUP_WORDS,
    PARAMETER_OF,
    PRESET_LABELS,
    WITHOUT,
    Changes,
    CostForm,
)
from costs.names import Names
from costs.parts import DAY, CostQuery
from costs.reports import NOT_SAID, CostGroup, CostReport

# What a click on a line groups by next: what people ask of such a line.
NEXT_GROUP: Final = {
    "model": "team",
    "provider": "model",
    "team": "project",
    "project": "app",
    "app": "model",
    "client": "model",
    "user": "model",
    "task": "model",
    "key": "model",
    DAY: "model",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """Another state of the page."""

    label: str
    href: str
    is_current: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Chip:
    """A filter in use, and the page without it."""

    name: str
    value: str
    href: str
    also: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A group's value of one dimension, and the costs of it alone."""

    label: str
    title: str
    href: str
    is_said: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A group as the page's table shows it, or the rest; tokens are None where there are none."""

    cells: tuple[Cell, ...]
    is_rest: bool
    amount_nanoeur: int
    requests: int
    input_tokens: int | None
    output_tokens: int | None
    share_percent: str | None
    bar_percent: str
    before_nanoeur: int | None
    change: Change | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplorerPage:
    """Everything the template shows of a valid question."""

    span: Span
    before: Span | None
    report: CostReport
    change: Change | None
    compares: bool
    lines: tuple[Line, ...]
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
    names = Names(organization_id)
    dimension = stacking(form, query)
    report = reports.explore(
        query=query, names=names, dimension=dimension, dearest=charts.SERIES_MAX
    )
    chart, legend = stacked(form, query, report, names, dimension)
    total = report.total.amount_nanoeur
    return ExplorerPage(
        span=query.span,
        before=query.before,
        report=report,
        change=change(total, report.before_nanoeur),
        compares=query.before is not None and not query.is_by_day,
        lines=tuple(_lines(report, query, form)),
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


# --- table --------------------------------------------------------------------------------------


def _lines(report: CostReport, query: CostQuery, form: CostForm) -> Iterator[Line]:
    total = report.total.amount_nanoeur
    for group in report.groups:
        yield _line(group, query, total, form)
    if report.rest:
        number = report.rest_groups
        label = "The rest" if number is None else f"{number:,} more"
        cell = Cell(label=label, title="", href="", is_said=False)
        yield _with_figures((cell,), report.rest, total, is_rest=True)


def _line(group: CostGroup, query: CostQuery, total: int, form: CostForm) -> Line:
    cells = zip(query.group_by, group.values, group.labels, strict=True)
    filters: Changes = {}
    made = []
    for place, (dimension, value, label) in enumerate(cells):
        filters |= form.only(dimension, value)
        rest = query.group_by[place + 1 :]
        then = {"groupBy": rest[0] if rest else _next_group(dimension, form), "thenBy": None}
        shown = _day_label(label) if dimension == DAY else label
        made.append(
            Cell(
                label=shown,
                title=value if value and value != shown else "",
                href=form.address(**filters, **then),
                is_said=value is not None,
            )
        )
    return _with_figures(tuple(made), group, total)


def _with_figures(
    cells: tuple[Cell, ...], group: CostGroup, total: int, *, is_rest: bool = False
) -> Line:
    nanoeur = group.sums.amount_nanoeur
    return Line(
        cells=cells,
        is_rest=is_rest,
        amount_nanoeur=nanoeur,
        requests=group.sums.requests,
        input_tokens=group.sums.input_tokens or None,
        output_tokens=group.sums.output_tokens or None,
        share_percent=share_percent(nanoeur, total),
        bar_percent=share_width(nanoeur, total),
        before_nanoeur=group.before_nanoeur,
        change=change(nanoeur, group.before_nanoeur),
    )


def _next_group(dimension: str, form: CostForm) -> str:
    """Return what to group one value of `dimension` by; what is filtered already says nothing."""
    following = NEXT_GROUP[dimension]
    is_taken = following in form.not_said() or form.cleaned_data[PARAMETER_OF[following]]
    return DAY if is_taken else following


def _day_label(day: str) -> str:
    return f"{date.fromisoformat(day):%a %-d %b %Y}"


# --- above the table ----------------------------------------------------------------------------


def _preset(preset: Preset, form: CostForm) -> Link:
    span = form.span
    days = {"from": f"{span.first}", "to": f"{span.last}"} if preset is Preset.CUSTOM else {}
    return Link(
        label=PRESET_LABELS[preset],
        href=form.address(
            **{"period": None if days else preset.value, "from": None, "to": None} | days
        ),
        is_current=form.cleaned_data["period"] is preset,
    )


def _chips(form: CostForm, query: CostQuery, names: Names) -> list[Chip]:
    values = form.cleaned_data
    chips = [
        Chip(name=label, value=values[parameter], href=form.address(**{parameter: None}))
        for parameter, label, _ in FILTERS.values()
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
    for name in form.not_said():
        left = tuple(other for other in values[WITHOUT] if other != PARAMETER_OF[name])
        href = form.address(**{WITHOUT: left})
        chips.append(Chip(name=GROUP_LABELS[name], value=NOT_SAID, href=href))
    if values["source"]:
        chips.append(Chip(name="Source", value=values["source"], href=form.address(source=None)))
    return chips


def _chart_title(chart: StackedChart, dimension: str | None) -> str:
    by = f", by {GROUP_WORDS[dimension]}" if dimension else ""
    return f"Costs by {chart.bucket}{by}"


def _forecast(
    organization_id: UUID, query: CostQuery, report: CostReport, today: date
) -> Forecast | None:
    """Return the month's forecast for the query's filters, where the span reaches today."""
    if not query.span.first <= today <= query.span.last:
        return None
    history = Span(history_starts(today), today)
    if query.group_by == (DAY,) and query.span.first <= history.first:
        # The table has them: its newest lines are more days than a history.
        by_day = {
            date.fromisoformat(day): group.sums.amount_nanoeur
            for group in report.groups
            for day in group.values
            if day
        }
    else:
        by_day = reports.by_day(organization_id=organization_id, query=query, span=history)
    return month_forecast(by_day, today=today)

"""The explorer's lines as CSV and JSON: exact, complete and streamed."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Iterator
from itertools import islice
from typing import Any, Final

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, StreamingHttpResponse

from costs.core.calendar.date_ranges import DateRange
from costs.core.cost_query import CostQuery
from costs.core.money import euros
from costs.core.shares import share_percent
from costs.explorer.reports import CostGroup, Sums
from orgs.console.exports import csv_line

LINES_AT_ONCE: Final = 500
# Dimensions whose value is an id, and which also have a name.
_WITH_NAMES: Final = ("user", "key")
_FIGURES: Final = (
    *("amount_eur", "amount_nanoeur", "estimated_eur", "estimated_nanoeur", "share_percent"),
    *("requests", "events", "input_tokens", "output_tokens"),
)
_BEFORE: Final = ("before_eur", "before_nanoeur")


def csv_pieces(query: CostQuery, groups: Iterable[CostGroup], total: Sums) -> Iterator[str]:
    """Yield the lines of the page as CSV, LINES_AT_ONCE in each piece."""
    names = [
        name
        for dimension in query.group_by
        for name in (dimension, *([f"{dimension}_name"] if dimension in _WITH_NAMES else []))
    ]
    yield csv_line((*names, *_FIGURES, *(_BEFORE if query.compares_groups else ())))
    lines = iter(groups)
    while some := list(islice(lines, LINES_AT_ONCE)):
        yield "".join(csv_line(_csv_values(query, group, total)) for group in some)


def json_pieces(
    query: CostQuery,
    groups: Iterable[CostGroup],
    *,
    total: Sums,
    before_nanoeur: int | None,
    zone: str,
) -> Iterator[str]:
    """Yield the report as one JSON object, its lines last."""
    head = {
        "from": f"{query.date_range.first}",
        "to": f"{query.date_range.last}",
        "timeZone": zone,
        "groupBy": list(query.group_by),
        "total": _json_sums(total),
        "before": _json_before(query.before, before_nanoeur),
    }
    yield json.dumps(head)[:-1] + ', "groups": ['
    lines, comma = iter(groups), ""
    while some := list(islice(lines, LINES_AT_ONCE)):
        yield comma + ", ".join(json.dumps(_json_line(query, group, total)) for group in some)
        comma = ", "
    yield "]}\n"


def streamed(request: HttpRequest, pieces: Iterator[str], **options: Any) -> StreamingHttpResponse:
    """Return a streaming response, for ASGI and WSGI alike."""
    if isinstance(request, ASGIRequest):
        return StreamingHttpResponse(_in_a_thread(pieces), **options)
    return StreamingHttpResponse(pieces, **options)


async def _in_a_thread(pieces: Iterator[str]) -> AsyncIterator[str]:
    """Yield the pieces, each produced in the request's thread, which has its database connection.

    Django would first collect them all in a list.
    """
    following = sync_to_async(lambda: next(pieces, None))
    while (piece := await following()) is not None:
        yield piece


def _csv_values(query: CostQuery, group: CostGroup, total: Sums) -> Iterator[object]:
    for dimension, value, label in zip(query.group_by, group.values, group.labels, strict=True):
        yield value or ""
        if dimension in _WITH_NAMES:
            yield label
    sums = group.sums
    for nanoeur in (sums.amount_nanoeur, sums.estimated_nanoeur):
        yield from (f"{euros(nanoeur):f}", nanoeur)
    yield share_percent(sums.amount_nanoeur, total.amount_nanoeur) or ""
    yield from (sums.requests, sums.events, sums.input_tokens or "", sums.output_tokens or "")
    if group.before_nanoeur is not None:
        yield from (f"{euros(group.before_nanoeur):f}", group.before_nanoeur)


def _json_line(query: CostQuery, group: CostGroup, total: Sums) -> dict[str, Any]:
    values = dict(zip(query.group_by, group.values, strict=True))
    names = {
        f"{dimension}Name": label
        for dimension, label in zip(query.group_by, group.labels, strict=True)
        if dimension in _WITH_NAMES
    }
    share = share_percent(group.sums.amount_nanoeur, total.amount_nanoeur)
    before = {} if group.before_nanoeur is None else {"beforeNanoeur": group.before_nanoeur}
    return values | names | _json_sums(group.sums) | {"sharePercent": share} | before


def _json_sums(sums: Sums) -> dict[str, Any]:
    return {
        "amountEur": f"{euros(sums.amount_nanoeur):f}",
        "amountNanoeur": sums.amount_nanoeur,
        "estimatedEur": f"{euros(sums.estimated_nanoeur):f}",
        "estimatedNanoeur": sums.estimated_nanoeur,
        "requests": sums.requests,
        "events": sums.events,
        "inputTokens": sums.input_tokens or None,  # every answer has some, so 0 means unknown
        "outputTokens": sums.output_tokens or None,
    }


def _json_before(date_range: DateRange | None, nanoeur: int | None) -> dict[str, Any] | None:
    if date_range is None or nanoeur is None:
        return None
    return {"from": f"{date_range.first}", "to": f"{date_range.last}", "amountNanoeur": nanoeur}

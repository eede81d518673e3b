"""Recent requests as a file: exactly what the filters leave, newest first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.utils.timezone import now

from costs.core.money import euros
from gateway.models import AiRequestLog
from gateway.requests import reports
from gateway.requests.filters import FILTERS, RequestFilterForm
from gateway.requests.lines import estimated_of, request_as_json
from gateway.requests.reports import RequestQuery
from orgs.auth.access import viewer
from orgs.console.exports import exported
from orgs.console.pages import download
from orgs.console.queries import takes
from orgs.console.refusals import filters_refused

ROWS_PER_PAGE: Final = 1_000
# As the API calls them, which lists the same requests.
COLUMNS: Final = (
    *("requestId", "occurredAt", "completedAt", "status", "code", "error", "channel", "stream"),
    *("requestedModel", "model", "provider", "inputTokens", "outputTokens", "costEur"),
    *("costNanoeur", "estimatedEur", "estimatedNanoeur", "latencyMs", "keyId", "userId", "teamId"),
    *("projectId", "appId", "clientId", "taskType", "promptHash", "userProved", "clientProved"),
    *("sessionId", "agentId"),
)


@takes(*FILTERS)
@download
def export_requests(request: HttpRequest, format: str) -> HttpResponse | StreamingHttpResponse:
    """Send the requests that the filters leave; a bad filter is 400."""
    organization = viewer(request).organization
    form = RequestFilterForm(request.GET.dict(), organization=organization, moment=now())
    if not form.is_valid():
        return filters_refused(request, form.errors)
    chunks = _pages(organization.pk, form.query)
    return exported(request, chunks, columns=COLUMNS, name="requests", format=format)


def _pages(organization_id: UUID, query: RequestQuery) -> Iterator[list[dict[str, Any]]]:
    before = None
    while True:
        page = reports.requests(
            organization_id=organization_id,
            query=replace(query, before=before),
            limit=ROWS_PER_PAGE,
        )
        yield [_row(row) for row in page.rows]
        before = page.before
        if before is None:
            return


def _row(row: AiRequestLog) -> dict[str, Any]:
    cost, estimated = row.cost_nanoeur, estimated_of(row)
    return {
        **request_as_json(row),
        "costEur": _eur(cost),
        "costNanoeur": cost,
        "estimatedEur": _eur(estimated),
        "estimatedNanoeur": estimated,
        "promptHash": row.prompt_hash,
    }


def _eur(nanoeur: int | None) -> str | None:
    return None if nanoeur is None else f"{euros(nanoeur):f}"

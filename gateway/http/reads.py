"""Read-only JSON endpoints: requests and their decisions."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from functools import partial
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse

from costs.core.calendar.moments import InvalidMoment, moment_from
from costs.models import Hold
from gateway.call.reads import READ_TIMEOUT_S, read_within
from gateway.call.runtime import current
from gateway.core.calls import DIMENSIONS, Principal
from gateway.core.errors import GatewayError, Refused
from gateway.core.request_body import NAME_IN_JSON, invalid
from gateway.http.answers import error_response, json_response, only
from gateway.http.callers import NotAllowed, authenticate
from gateway.http.queries import query_of
from gateway.models import AiRequestLog
from gateway.requests.filters import MOMENTS, ORDER
from gateway.requests.lines import as_eur, request_as_json
from gateway.requests.reports import Cursor, rows_before, rows_of, values_of, with_names
from orgs.core.errors import Invalid
from orgs.core.permissions import Permission
from orgs.core.spelling import normalized
from orgs.fields import new_id
from orgs.models import Organization
from orgs.threads import READS, Threads

Query = Mapping[str, str]

LIMIT_DEFAULT: Final = 50
LIMIT_MAX: Final = 200
FILTER_MAX_CHARS: Final = 200
FILTERS: Final = {
    "status": "status",
    "code": "code",
    "model": "model",
    "provider": "provider",
    **{spelled: name for name, spelled in NAME_IN_JSON.items()},
}
ESTIMATED: Final = "estimated"
PARAMETERS: Final = (*FILTERS, *MOMENTS, ESTIMATED, "limit", "cursor")


@only("GET", "HEAD")
async def ai_requests(request: HttpRequest) -> HttpResponse:
    """List the organization's requests, newest first."""
    return await answer(request, _page, parameters=PARAMETERS)


@only("GET", "HEAD")
async def ai_request_detail(request: HttpRequest, request_id: str) -> HttpResponse:
    """Return one request with its decision trace."""
    return await answer(request, lambda principal, _query: _detail(principal, request_id))


async def answer(
    request: HttpRequest,
    find: Callable[[Principal, Query], dict[str, Any]],
    *,
    parameters: Collection[str] = (),
    threads: Threads = READS,
    within_s: float = READ_TIMEOUT_S,
) -> HttpResponse:
    """Answer a query about the caller's organization, run in one of the threads.

    Any query parameter that is not in `parameters` is refused.
    """
    request_id = new_id()
    try:
        principal = await authenticate(current(), request, channel="api", needs=Permission.READ)
    except GatewayError as exc:
        known = isinstance(exc, NotAllowed)
        return error_response(exc, request_id, has_organization=known)
    try:
        query = query_of(request, parameters)
        found = await read_within(
            within_s, threads, principal.org_id, partial(find, principal, query)
        )
        return json_response(found, request_id)
    except GatewayError as exc:
        return error_response(exc, request_id)


def _visible(principal: Principal, *, estimated: bool = False) -> QuerySet[AiRequestLog]:
    """Return the requests that the caller may see: its organization's, within its key's scope."""
    rows = rows_of(principal.org_id, estimated=estimated)
    if principal.key_id is None:
        return rows
    scope = principal.fixed.as_dict()
    scope.pop("user_id", None)  # the key's owner does not narrow what the key can see
    return _with_names(rows, scope, principal)


def _with_names(
    rows: QuerySet[AiRequestLog], names: Mapping[str, str], principal: Principal
) -> QuerySet[AiRequestLog]:
    """Return the rows with these dimensions, in any spelling. Raises Refused (400)."""
    try:
        named = {
            column: values_of(name, column, organization_id=principal.org_id)
            for column, name in names.items()
        }
    except Invalid as exc:
        raise invalid(exc.message) from exc
    return with_names(rows, named)


def _page(principal: Principal, query: Query) -> dict[str, Any]:
    estimated = query.get(ESTIMATED)
    if estimated not in (None, "yes"):
        raise invalid("estimated must be yes")
    visible = _visible(principal, estimated=estimated is not None)
    rows = _between(visible, principal, query)
    names: dict[str, str] = {}
    for spelled, column in FILTERS.items():
        wanted = query.get(spelled)
        if wanted is not None and column in DIMENSIONS:
            names[column] = _wanted(normalized(wanted), spelled)
        elif wanted is not None:
            rows = rows.filter(**{column: _wanted(wanted, spelled)})
    rows = _with_names(rows, names, principal)
    limit = _limit(query.get("limit"))
    after = query.get("cursor")
    if after is not None:
        rows = rows_before(_cursor(after), rows)
    newest_first = rows.order_by("-occurred_at", "-id").defer("decision", "usage", "attempts")
    found = list(newest_first[: limit + 1])
    page = found[:limit]
    return {
        "success": True,
        "requests": [request_as_json(row) for row in page],
        "nextCursor": _place_of(page[-1]) if len(found) > limit else None,
    }


def _between(
    rows: QuerySet[AiRequestLog], principal: Principal, query: Query
) -> QuerySet[AiRequestLog]:
    """Return the rows with `from` <= occurred_at < `to`."""
    given = {name: query[name] for name in MOMENTS if name in query}
    if not given:
        return rows
    zones = Organization.objects.values_list("timezone", flat=True)
    zone = ZoneInfo(zones.get(id=principal.org_id))
    instants = {name: _moment(text, zone, name) for name, text in given.items()}
    since, until = (instants.get(name) for name in MOMENTS)
    if since and until and since >= until:
        raise invalid(ORDER)
    if since:
        rows = rows.filter(occurred_at__gte=since)
    return rows.filter(occurred_at__lt=until) if until else rows


def _moment(text: str, zone: ZoneInfo, name: str) -> datetime:
    try:
        return moment_from(text, zone, is_end=name == "to")
    except InvalidMoment as exc:
        raise invalid(f"{name} {exc}") from exc


def _detail(principal: Principal, request_id: str) -> dict[str, Any]:
    missing = Refused("not_found", "Request not found", status=404)
    try:
        wanted = UUID(request_id)
    except ValueError as exc:
        raise missing from exc
    row = _visible(principal).filter(id=wanted).first()
    if row is None:
        raise missing
    usage = row.usage or {}
    return {
        "success": True,
        "request": {
            **request_as_json(row),
            "finishReason": row.finish_reason,
            "holdEur": as_eur(row.hold_nanoeur),
            "promptHash": row.prompt_hash,
            "usage": usage.get("buckets"),
            "reportedUsage": usage.get("reported"),
            "unpriced": usage.get("unpriced") or [],
            "upstreamRequestId": usage.get("upstream_request_id"),
            "decision": {"rates": _rates(row), **row.decision},
            "attempts": [_attempt(kept) for kept in row.attempts or ()],
        },
    }


def _rates(row: AiRequestLog) -> object:
    """Return the rates of an admitted request's hold; a refused one has them in its trace."""
    holds = Hold.objects.filter(org_id=row.org_id, request_id=row.id).order_by("-id")
    return holds.values_list("rate_card__rates", flat=True).first()


def _attempt(kept: dict[str, Any]) -> dict[str, Any]:
    """Return an earlier attempt; one that was skipped has no hold."""
    is_made = kept["hold_id"] is not None
    return {
        "at": kept["at"],
        "model": kept["model"],
        "provider": kept["provider"],
        "code": kept["code"],
        "error": kept["error"],
        "providerStatus": kept["provider_status"],
        "holdEur": as_eur(kept["bound_nanoeur"]) if is_made else None,
        "latencyMs": kept["latency_ms"],
        "decision": kept["decision"],
    }


def _wanted(value: str, name: str) -> str:
    if name == "status" and value not in AiRequestLog.Status.values:
        raise invalid(f"status must be one of {', '.join(AiRequestLog.Status.values)}")
    if not value.isprintable() or len(value) > FILTER_MAX_CHARS:
        raise invalid(f"{name} must have at most {FILTER_MAX_CHARS} characters, all printable")
    return value


def _limit(text: str | None) -> int:
    if text is None:
        return LIMIT_DEFAULT
    is_short_number = text.isascii() and text.isdigit() and len(text) <= len(str(LIMIT_MAX))
    if not is_short_number or not 1 <= int(text) <= LIMIT_MAX:
        raise invalid(f"limit must be an integer between 1 and {LIMIT_MAX}")
    return int(text)


def _place_of(row: AiRequestLog) -> str:
    return str(Cursor(occurred_at=row.occurred_at, id=row.id))


def _cursor(text: str) -> Cursor:
    try:
        return Cursor.from_text(text)
    except ValueError as exc:
        raise invalid("cursor must be a nextCursor value of this list") from exc

"""Read-only JSON endpoints: requests and their decisions."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from functools import partial
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from django.http import HttpRequest, HttpResponse

from costs.core.calendar.moments import InvalidMoment, moment_from
from costs.models import Hold
from gateway.call.reads import READ_TIMEOUT_S, run_within
from gateway.call.runtime import current
from gateway.core.calls import Principal
from gateway.core.errors import GatewayError, Refused
from gateway.core.request_body import NAME_IN_JSON, SESSION_IN_JSON, invalid
from gateway.http.answers import error_response, json_response
from gateway.http.callers import NotAllowed, authenticate
from gateway.http.outside import only
from gateway.http.queries import query_of
from gateway.models import AiRequestLog
from gateway.requests.filters import MOMENTS, ORDER
from gateway.requests.lines import as_eur, request_as_json
from gateway.requests.reports import Cursor, RequestPage, RequestQuery, requests, with_names
from orgs.core.errors import Invalid
from orgs.core.permissions import Permission
from orgs.core.spelling import folded, normalized
from orgs.core.values import EMAIL_MAX_CHARS
from orgs.fields import new_id
from orgs.models import Organization
from orgs.threads import READS, Threads

Query = Mapping[str, str]

LIMIT_DEFAULT: Final = 50
LIMIT_MAX: Final = 200
COLUMNS: Final = ("status", "code", "model", "provider")
# What a filter may have at most.
MAX_CHARS: Final = dict.fromkeys(
    (*COLUMNS, *NAME_IN_JSON.values(), *SESSION_IN_JSON.values()), 200
) | {NAME_IN_JSON["user_id"]: EMAIL_MAX_CHARS}
# Filters that are `yes` or not given, with what they leave.
FLAGS: Final = {
    "estimated": "Only costs that are estimates.",
    "watched": "Only requests that a watched policy would have refused.",
}
PARAMETERS: Final = (*MAX_CHARS, *MOMENTS, *FLAGS, "limit", "cursor")


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
        found = await run_within(
            within_s, threads, principal.org_id, partial(find, principal, query)
        )
        return json_response(found, request_id)
    except GatewayError as exc:
        return error_response(exc, request_id)


def _scope(principal: Principal) -> dict[str, str]:
    """Return the names of dimensions that the caller's key is locked to, by column."""
    if principal.key_id is None:
        return {}
    scope = principal.fixed.as_dict()
    scope.pop("user_id", None)  # the key's owner does not narrow what the key can see
    return scope


def _page(principal: Principal, query: Query) -> dict[str, Any]:
    after = query.get("cursor")
    for name in FLAGS:
        if query.get(name) not in (None, "yes"):
            raise invalid(f"{name} must be yes")
    equal: dict[str, Any] = {name: _wanted(query[name], name) for name in COLUMNS if name in query}
    equal |= {
        column: _wanted(normalized(query[name]), name)
        for column, name in SESSION_IN_JSON.items()
        if name in query
    }
    names = {
        column: _wanted(normalized(query[name]), name)
        for column, name in NAME_IN_JSON.items()
        if name in query
    }
    since, until = _between(principal, query)
    limit = _limit(query.get("limit"))
    page = _found(
        RequestQuery(
            since=since,
            until=until,
            before=None if after is None else _cursor(after),
            estimated="estimated" in query,
            watched="watched" in query,
            **equal,
        ),
        names,
        principal,
        limit,
    )
    return {
        "success": True,
        "requests": [request_as_json(row) for row in page.rows],
        "nextCursor": None if page.before is None else f"{page.before}",
    }


def _found(
    query: RequestQuery, names: Mapping[str, str], principal: Principal, limit: int
) -> RequestPage:
    """Return the requests with these dimensions, in any spelling, within the key's scope."""
    scope = _scope(principal)
    both = {**scope, **names}
    if any(folded(both[column]) != folded(locked) for column, locked in scope.items()):
        return RequestPage(rows=[], before=None)
    try:
        query = with_names(query, both, organization_id=principal.org_id)
    except Invalid as exc:
        raise invalid(exc.message) from exc
    return requests(organization_id=principal.org_id, query=query, limit=limit)


def _between(principal: Principal, query: Query) -> tuple[datetime | None, datetime | None]:
    """Return the instants that are `from` and `to`."""
    given = {name: query[name] for name in MOMENTS if name in query}
    if not given:
        return None, None
    zones = Organization.objects.values_list("timezone", flat=True)
    zone = ZoneInfo(zones.get(id=principal.org_id))
    instants = {name: _moment(text, zone, name) for name, text in given.items()}
    since, until = (instants.get(name) for name in MOMENTS)
    if since and until and since >= until:
        raise invalid(ORDER)
    return since, until


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
    row = AiRequestLog.objects.filter(org=principal.org_id, id=wanted).first()
    if row is None or any(
        folded(getattr(row, column) or "") != folded(locked)
        for column, locked in _scope(principal).items()
    ):
        raise missing
    usage = row.usage or {}
    return {
        "success": True,
        "request": {
            **request_as_json(row),
            "finishReason": row.finish_reason,
            "cutBy": usage.get("cut_by"),
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
    if not value.isprintable() or len(value) > MAX_CHARS[name]:
        raise invalid(f"{name} must have at most {MAX_CHARS[name]} characters, all printable")
    return value


def _limit(text: str | None) -> int:
    if text is None:
        return LIMIT_DEFAULT
    is_short_number = text.isascii() and text.isdigit() and len(text) <= len(str(LIMIT_MAX))
    if not is_short_number or not 1 <= int(text) <= LIMIT_MAX:
        raise invalid(f"limit must be an integer between 1 and {LIMIT_MAX}")
    return int(text)


def _cursor(text: str) -> Cursor:
    try:
        return Cursor.from_text(text)
    except ValueError as exc:
        raise invalid("cursor must be a nextCursor value of this list") from exc

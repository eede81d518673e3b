"""Query parameters of the JSON API: each endpoint names those that it takes."""

from __future__ import annotations

from collections.abc import Collection

from django.core.exceptions import SuspiciousOperation
from django.http import HttpRequest

from gateway.core.request_body import invalid
from orgs.console.queries import InvalidQuery, check_query


def query_of(request: HttpRequest, known: Collection[str] = ()) -> dict[str, str]:
    """Return the query parameters. Raises Refused (400) for any that is unknown or repeated."""
    try:
        check_query(request.GET, known)
    except SuspiciousOperation as exc:  # more parameters than Django reads
        raise invalid("Too many query parameters") from exc
    except InvalidQuery as exc:
        raise invalid(exc.message) from exc
    return request.GET.dict()

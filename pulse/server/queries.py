"""Refuses query parameters that a page or file does not take, with 400 and a sentence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils.deprecation import MiddlewareMixin

from gateway.http.addresses import PREFIXES
from orgs.console.queries import (
    LINK_ORGANIZATION,
    InvalidQuery,
    check_query,
    parameters_of,
)
from orgs.console.refusals import query_refused

OPERATORS: Final = "admin"


class QueryMiddleware(MiddlewareMixin):
    """Check the query of every page before its view; APIs check theirs when the caller is known.

    Django admin has parameters of its own.
    """

    def process_view(
        self, request: HttpRequest, view: Callable[..., HttpResponseBase], *_arguments: Any
    ) -> HttpResponse | None:
        """Return a refusal, or None to go on to the view."""
        match = request.resolver_match
        parameters = parameters_of(view)
        if request.path_info.startswith(PREFIXES) or parameters.names is None:
            return None
        if match is not None and OPERATORS in match.namespaces:
            return None
        known = (*parameters.names, LINK_ORGANIZATION)
        try:
            check_query(request.GET, known, repeated=parameters.repeated)
        except InvalidQuery as exc:
            return query_refused(request, exc)
        return None

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Answer a value that a view found invalid in the same way."""
        return query_refused(request, exception) if isinstance(exception, InvalidQuery) else None

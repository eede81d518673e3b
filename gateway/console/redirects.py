"""Redirects of the console."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import Resolver404, resolve
from django.utils.http import escape_leading_slashes

from orgs.console.queries import passes_on


@passes_on
def elsewhere(request: HttpRequest, rest: str = "") -> HttpResponse:
    """Lead an address with a slash at its end to the page without it; there is nothing else."""
    bare = request.path.rstrip("/")
    if not request.path.endswith("/") or request.method not in ("GET", "HEAD"):
        raise Http404
    try:
        match = resolve(bare)
    except Resolver404 as exc:
        raise Http404 from exc
    if match.func is elsewhere:
        raise Http404
    query = request.META.get("QUERY_STRING", "")
    return redirect(escape_leading_slashes(f"{bare}?{query}" if query else bare))

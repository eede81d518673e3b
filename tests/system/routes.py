"""Every address of the installation, by walking its URLconf."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from django.urls import get_resolver
from django.urls.resolvers import URLPattern, URLResolver

OPERATORS = "admin"


def all_routes() -> list[str]:
    """Return each route as it is written, without those of Django admin, which are operators'."""
    return [route for namespace, route in _everything() if namespace != OPERATORS]


def operators_routes() -> list[str]:
    """Return the routes of Django admin."""
    return [route for namespace, route in _everything() if namespace == OPERATORS]


def _everything() -> Iterator[tuple[str, str]]:
    return _walk(get_resolver().url_patterns)


def _walk(
    patterns: Iterable[URLPattern | URLResolver], before: str = "", namespace: str = ""
) -> Iterator[tuple[str, str]]:
    for pattern in patterns:
        route = before + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from _walk(pattern.url_patterns, route, namespace or (pattern.namespace or ""))
        else:
            yield namespace, route

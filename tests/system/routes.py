"""Every route of the installation, from its URLconf."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from django.urls import get_resolver
from django.urls.resolvers import URLPattern, URLResolver

OPERATORS = "admin"
# The addresses at which a provider can be reached, with the body that does it there.
BY_BODY = {
    "admin/ai/playground",
    "api/ai/request",
    "v1/chat/completions",
    "v1/embeddings",
    "v1/messages",
    "v1/messages/count_tokens",
    "v1/responses",
    "v1/responses/compact",
    "v1/responses/input_tokens",
}
BY_ADDRESS = {
    f"{version}/models/<path:model>:{method}"
    for version in ("v1", "v1beta")
    for method in (
        *("generateContent", "streamGenerateContent", "countTokens"),
        *("embedContent", "batchEmbedContents"),
    )
}
REACHES = BY_BODY | BY_ADDRESS


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

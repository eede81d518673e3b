"""Wrong addresses of existing clients: the API that a path is of, and the right address.

Most come from a base URL with or without `/v1`, or with a vendor's name in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import Enum
from typing import Final

from django.conf import settings
from django.http import HttpRequest
from django.urls import Resolver404, resolve

from gateway.core.errors import Refused
from gateway.http.headers import header
from orgs.core.values import quoted

PREFIXES: Final = ("/api/", "/v1/", "/v1beta/", "/healthz", "/readyz")


class Api(Enum):
    """A vendor's API."""

    OPENAI = "OpenAI"
    ANTHROPIC = "Anthropic"
    GOOGLE = "Google"


# What the base URL of each one's clients ends with.
_BASES: Final = {Api.OPENAI: "/v1", Api.ANTHROPIC: "", Api.GOOGLE: ""}
_SERVED: Final = {
    Api.OPENAI: "/v1/chat/completions, /v1/responses, /v1/conversations, /v1/embeddings and "
    "/v1/models",
    Api.ANTHROPIC: "/v1/messages, /v1/messages/count_tokens and /v1/models",
    Api.GOOGLE: "/v1beta/models/{model}:generateContent, :streamGenerateContent, :countTokens, "
    ":embedContent, :batchEmbedContents and /v1beta/models",
}


# How each served path ends, with its API. The list of models has the path of all three.
_ENDS: Final = re.compile(
    r"/(?:(?P<openai>chat/completions|embeddings|responses(?:/[^/]+(?:/input_items)?)?"
    r"|conversations(?:/[^/]+(?:/items(?:/[^/]+)?)?)?)"
    r"|(?P<anthropic>messages(?:/count_tokens)?)"
    r"|(?P<google>models/[^/]+:(?:generateContent|streamGenerateContent|countTokens|embedContent"
    r"|batchEmbedContents))"
    r"|(?P<legacy>completions)"
    r"|(?P<models>models(?:/[^/:]+)?))/*$"
)
# A version anywhere, a vendor's path without one at the beginning, or the end of one anywhere.
_LIKE_API: Final = re.compile(
    r"/v[1-9]\d?(?:alpha|beta)?\d?(?:/|$)"
    r"|^/+(?:assistants|audio|batches|cachedContents|chat|complete|completions|conversations"
    r"|embeddings|files|fim|fine_tuning|images|messages|models|moderations|ocr|realtime|responses"
    r"|threads|uploads|vector_stores|videos)(?:/|$)"
    r"|/(?:chat/completions|responses|embeddings|messages(?:/count_tokens)?)/*$"
    r"|/models(?:/[^/]+)?/*$"
)
_GOOGLES: Final = re.compile(r"/v1(?:alpha|beta)\d?(?:/|$)|/models/[^/]+:\w+$")
_PAGES: Final = ("/admin/", "/static/")
_KEYS: Final = (b"authorization", b"x-api-key", b"x-goog-api-key", b"x-pulse-key")


def is_api(path: str, headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether a path belongs to the API: also a wrong one, unless it is a page's.

    Of a path that is like an API's and a page's, and of one that is neither, it does where a
    program asks: with a key, and not for HTML.
    """
    if path.startswith(PREFIXES):
        return True
    if path.startswith(_PAGES):
        return False
    named = dict(headers)
    has_key = any(name in named for name in _KEYS)
    is_program = has_key and b"text/html" not in named.get(b"accept", b"")
    is_like_api = _LIKE_API.search(path) is not None
    return is_like_api if is_like_api == is_program else not _is_page(path)


def _is_page(path: str) -> bool:
    try:
        resolve(path)
    except Resolver404:
        return False
    return True


def api_of(request: HttpRequest) -> Api | None:
    """Return the API of a request's path, or of its client; None for the native API."""
    path = request.path_info
    end = _end_of(path)
    kind = end.lastgroup if end else None
    if kind in ("openai", "legacy"):
        return Api.OPENAI
    if kind == "anthropic" or (kind is None and "/messages/" in path):
        return Api.ANTHROPIC
    if header(request, "x-goog-api-key") is not None:
        return Api.GOOGLE
    if any(header(request, name) is not None for name in ("anthropic-version", "x-api-key")):
        return Api.ANTHROPIC
    if kind == "google" or (_GOOGLES.search(path) and "/openai/" not in path):
        return Api.GOOGLE
    is_native = path.startswith(PREFIXES) and not path.startswith(("/v1/", "/v1beta/"))
    return None if is_native and kind is None else Api.OPENAI


def not_served(request: HttpRequest) -> Refused:
    """Return the refusal of a path that nothing is served at, with the right one's name."""
    return Refused("not_found", _sentence(request), status=404)


def _sentence(request: HttpRequest) -> str:
    api, path = api_of(request), request.path_info
    if api is None:
        return "Endpoint not found"
    right = _right_path(api, path)
    if right is None or right == path:
        return f"{quoted(path)} is not served; {api.value}'s clients can use {_SERVED[api]}"
    origin = settings.PULSE_URL or f"{request.scheme}://{request.get_host()}"
    return (
        f"{quoted(path)} is not served; use {origin}{right}: the base URL of {api.value}'s clients "
        f"is {origin}{_BASES[api]}"
    )


def _end_of(path: str) -> re.Match[str] | None:
    """Return the end of a path that is one of a served path; OpenAI's threads have messages too."""
    return None if "/threads/" in path else _ENDS.search(path)


def _right_path(api: Api, path: str) -> str | None:
    end = _end_of(path)
    if end is None:
        return None
    if end["legacy"]:
        return "/v1/chat/completions"
    version = "/v1beta" if api is Api.GOOGLE else "/v1"
    return f"{version}{end[0].rstrip('/')}"

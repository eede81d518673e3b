"""A request's headers by lower-case name, and an answer's: texts, and what is left of rates.

Building Django's own mapping takes 25 us.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, timedelta
from math import ceil
from typing import Final
from unicodedata import combining, normalize

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from gateway.guards.rates import RateLeft

_PLAIN: Final = {"content-type": "CONTENT_TYPE", "content-length": "CONTENT_LENGTH"}
_PREFIX: Final = "HTTP_"
# The channels of Anthropic's clients begin with it.
_MESSAGES: Final = "messages"
_NOT_SHOWN: Final = re.compile(r"[^\x20-\x7e]")


def header(request: HttpRequest, name: str) -> str | None:
    """Return a header's value, joined by commas if it is repeated."""
    value: str | None = request.META.get(_meta_name(name))
    return value if value is None else _as_text(value)


def headers_of(request: HttpRequest) -> dict[str, str]:
    """Return all headers."""
    return {
        _header_name(name): _as_text(value)
        for name, value in request.META.items()
        if name.startswith(_PREFIX) or name in _PLAIN.values()
    }


def shown_text(text: str) -> str:
    """Return a text as a header's value: letters without accents, `?` for what is not ASCII."""
    letters = (each for each in normalize("NFKD", text) if not combining(each))
    return _NOT_SHOWN.sub("?", "".join(letters))


def add_rates(response: HttpResponseBase, rates: Sequence[RateLeft], *, channel: str) -> None:
    """Add OpenAI's headers, which most clients read, and to Anthropic's clients also their own.

    The provider's own are not passed on (`gateway.upstream.returned_headers`).
    https://platform.openai.com/docs/guides/rate-limits#rate-limits-in-headers
    https://platform.claude.com/docs/en/api/rate-limits#response-headers
    """
    for rate in rates:
        for name, value in _rate_headers(rate, is_messages=channel.startswith(_MESSAGES)):
            response[name] = value


def _as_text(value: str) -> str:
    """Return a value whose bytes Django read as Latin-1 as UTF-8, if it is: clients send either."""
    if value.isascii():
        return value
    try:
        return value.encode("latin-1").decode()
    except UnicodeError:  # Latin-1, or from a test client, which keeps text
        return value


def _meta_name(name: str) -> str:
    return _PLAIN.get(name) or _PREFIX + name.upper().replace("-", "_")


def _header_name(meta_name: str) -> str:
    return meta_name.removeprefix(_PREFIX).lower().replace("_", "-")


def _rate_headers(rate: RateLeft, *, is_messages: bool) -> Iterator[tuple[str, str]]:
    kind = rate.kind.value
    yield f"x-ratelimit-limit-{kind}", str(rate.most)
    yield f"x-ratelimit-remaining-{kind}", str(rate.left)
    yield f"x-ratelimit-reset-{kind}", f"{ceil(rate.full_in_s)}s"
    if is_messages:
        # To the second, rounded up.
        full_at = rate.at.astimezone(UTC) + timedelta(seconds=rate.full_in_s + 0.999_999)
        yield f"anthropic-ratelimit-{kind}-limit", str(rate.most)
        yield f"anthropic-ratelimit-{kind}-remaining", str(rate.left)
        yield f"anthropic-ratelimit-{kind}-reset", f"{full_at:%Y-%m-%dT%H:%M:%SZ}"

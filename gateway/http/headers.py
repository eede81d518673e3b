"""A request's headers by lower-case name. Building Django's own mapping takes 25 us."""

from __future__ import annotations

from typing import Final

from django.http import HttpRequest

_PLAIN: Final = {"content-type": "CONTENT_TYPE", "content-length": "CONTENT_LENGTH"}
_PREFIX: Final = "HTTP_"


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

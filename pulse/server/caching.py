"""Keeps browsers and proxies from storing pages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from inspect import iscoroutinefunction
from typing import Final, cast

from django.http import HttpRequest, HttpResponseBase
from django.utils.decorators import sync_and_async_middleware

Respond = Callable[[HttpRequest], HttpResponseBase]
AsyncRespond = Callable[[HttpRequest], Awaitable[HttpResponseBase]]

PRIVATE: Final = "private, no-store"


@sync_and_async_middleware
def no_store_middleware(get_response: Respond | AsyncRespond) -> Respond | AsyncRespond:
    """Forbid storing every response that does not say itself how it may be cached."""
    if iscoroutinefunction(get_response):

        async def respond_async(request: HttpRequest) -> HttpResponseBase:
            return _private(await cast("AsyncRespond", get_response)(request))

        return respond_async

    def respond(request: HttpRequest) -> HttpResponseBase:
        return _private(cast("Respond", get_response)(request))

    return respond


def _private(response: HttpResponseBase) -> HttpResponseBase:
    response.headers.setdefault("Cache-Control", PRIVATE)
    return response

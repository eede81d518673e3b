"""Answers to requests that are no call: a wrong path, method or Host, and what browsers ask before.

Errors are in the format of the API to which the path belongs.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from functools import wraps
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils.cache import patch_vary_headers

from gateway.apis import openai_errors
from gateway.apis.generate import errors as google_errors
from gateway.apis.messages import errors as anthropic_errors
from gateway.core.errors import GatewayError, Refused
from gateway.http.addresses import Api, api_of, not_served
from gateway.http.answers import (
    CODE_HEADER,
    error_response,
    finished,
    json_response,
    with_error_headers,
    with_vendors_ids,
)
from gateway.http.headers import header
from orgs.fields import new_id

P = ParamSpec("P")
R = TypeVar("R", bound=HttpResponseBase)
View = Callable[Concatenate[HttpRequest, P], Coroutine[Any, Any, HttpResponseBase]]
ErrorFormat = Callable[..., Mapping[str, Any]]

_ERRORS: Final[Mapping[Api, ErrorFormat]] = {
    Api.OPENAI: openai_errors.error,
    Api.ANTHROPIC: anthropic_errors.error,
    Api.GOOGLE: google_errors.error,
}
_OPTIONS: Final = "OPTIONS"
_CORS_METHODS: Final = "DELETE, GET, HEAD, POST, OPTIONS"
# Without cookies `*` stands for any header, but for this one.
_CORS_HEADERS: Final = "*, authorization"
_PREFLIGHT_MAX_AGE_S: Final = 3600


def only(*methods: str) -> Callable[[View[P]], View[P]]:
    """Answer OPTIONS with the names of the methods, and any other method with 405 and these."""
    allowed = ", ".join((*methods, _OPTIONS))

    def limited(view: View[P]) -> View[P]:
        @wraps(view)
        async def checked(
            request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs
        ) -> HttpResponseBase:
            if request.method in methods:
                return await view(request, *args, **kwargs)
            if request.method == _OPTIONS:
                response = finished(HttpResponse(status=204), None)
            else:
                sentence = f"Method {request.method} is not allowed; use {' or '.join(methods)}"
                refusal = Refused("method_not_allowed", sentence, status=405)
                response = error_outside(request, refusal)
            response["Allow"] = allowed
            return response

        return checked

    return limited


def unless_posted(view: View[P]) -> View[P]:
    """Answer POST to `model:method` with 404: it is a method of Google's that is not served."""

    @wraps(view)
    async def chosen(
        request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs
    ) -> HttpResponseBase:
        if request.method == "POST" and ":" in request.path_info:
            return error_outside(request, not_served(request))
        return await view(request, *args, **kwargs)

    return chosen


def error_outside(request: HttpRequest, error: GatewayError) -> HttpResponse:
    """Return an error in the format of the request's API."""
    api = api_of(request)
    if api is None:
        return error_response(error, new_id(), has_organization=False)
    body = _ERRORS[api](error, status=error.status)
    response = json_response(dict(body), None, status=error.status)
    response[CODE_HEADER] = error.code
    return with_vendors_ids(with_error_headers(response, error))


# --- browsers on other origins: https://fetch.spec.whatwg.org/#http-cors-protocol ---------------


def is_preflight(request: HttpRequest) -> bool:
    """Whether a browser asks if a page of another origin may send a request."""
    return (
        request.method == _OPTIONS
        and _is_allowed(request)
        and header(request, "access-control-request-method") is not None
    )


def preflight() -> HttpResponse:
    """Return the answer to such a question, for `with_cors`."""
    response = finished(HttpResponse(status=204), None)
    response["Access-Control-Allow-Methods"] = _CORS_METHODS
    response["Access-Control-Allow-Headers"] = _CORS_HEADERS
    response["Access-Control-Max-Age"] = str(_PREFLIGHT_MAX_AGE_S)
    return response


def with_cors(request: HttpRequest, response: R) -> R:
    """Let a page of an allowed origin read the response. Cookies are not for it."""
    if settings.CORS_ORIGINS:
        patch_vary_headers(response, ["Origin"])
    if _is_allowed(request):
        response["Access-Control-Allow-Origin"] = header(request, "origin") or ""
        response["Access-Control-Expose-Headers"] = "*"
    return response


def _is_allowed(request: HttpRequest) -> bool:
    return header(request, "origin") in settings.CORS_ORIGINS

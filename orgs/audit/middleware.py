"""Names the person of a page's request as the one who acts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from inspect import iscoroutinefunction
from typing import cast

from django.http import HttpRequest, HttpResponseBase
from django.utils.decorators import sync_and_async_middleware

from orgs.core.actors import Actor, ActorKind, acting
from orgs.core.addresses import network_address
from orgs.models import User

Respond = Callable[[HttpRequest], HttpResponseBase]
AsyncRespond = Callable[[HttpRequest], Awaitable[HttpResponseBase]]


@sync_and_async_middleware
def actor_middleware(get_response: Respond | AsyncRespond) -> Respond | AsyncRespond:
    """Attribute changes to the signed-in person and the network address of the request."""
    if iscoroutinefunction(get_response):

        async def respond_async(request: HttpRequest) -> HttpResponseBase:
            with acting(partial(_actor_of, request)):
                return await cast("AsyncRespond", get_response)(request)

        return respond_async

    def respond(request: HttpRequest) -> HttpResponseBase:
        with acting(partial(_actor_of, request)):
            return cast("Respond", get_response)(request)

    return respond


def _actor_of(request: HttpRequest) -> Actor:
    address = network_address(request.META.get("REMOTE_ADDR"))
    if isinstance(request.user, User):
        user = request.user
        return Actor(kind=ActorKind.PERSON, id=user.pk, name=user.email, address=address)
    return Actor(kind=ActorKind.STRANGER, address=address)

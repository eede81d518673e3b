"""Request bodies: received when the caller is known, within limits of size, time and memory.

Small ones are parsed at once, large ones in a thread in which organizations take turns: to parse,
measure and hash 7 MiB takes up to half a second, in which the event loop would answer no other.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from io import BytesIO
from typing import Any, Final, TypeVar

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, UnreadablePostError

from gateway.call.runtime import current
from gateway.core.body_budget import (
    BODY_MAX_S,
    DROPPED_OF_ADDRESS_MAX,
    FREE_BYTES,
    BodyBudget,
    Shares,
    no_room,
    shares_of,
)
from gateway.core.calls import Call, Principal
from gateway.core.errors import Refused
from gateway.core.request_body import invalid
from gateway.core.strict_json import count_values, values_at_most
from gateway.http.callers import JSON_TYPE, not_json
from gateway.http.compressed import encoding_named, unpacked
from gateway.http.headers import header
from orgs.core.addresses import counted_address
from orgs.threads import BODIES, TooManyWaiting

T = TypeVar("T")
Receive = Callable[[], Awaitable[Mapping[str, Any]]]

# How much of a refused body is still read, and dropped: a client that is sending might otherwise
# lose the answer, since closing with unread bytes resets the connection. Slowly and of a few at a
# time, fewer of one address, since anyone without a key can send as fast as the event loop reads.
DROPPED_MAX_S: Final = 2.0
DROPPED_MAX_BYTES: Final = 32 * 2**20
DROPPED_PAUSE_S: Final = 0.01
# More digits than any acceptable Content-Length has.
LENGTH_MAX_DIGITS: Final = 12
# Parsing these takes 3 ms at most, about as long as the rest of a request.
INLINE_MAX_BYTES: Final = 64 * 1024
INLINE_MAX_VALUES: Final = 2_000
# What Python takes for a value of parsed JSON besides its text, at most.
VALUE_BYTES: Final = 128
WAITING_MAX: Final = 32  # large bodies of one organization


class ClientDisconnected(Exception):
    """The client disconnected before its body was complete."""


class IncomingBody:
    """The body of one request as it arrives."""

    def __init__(
        self, scope: Mapping[str, Any], receive: Receive, *, max_s: float = BODY_MAX_S
    ) -> None:
        self.is_complete = not any(
            name == b"transfer-encoding" or (name == b"content-length" and value != b"0")
            for name, value in scope["headers"]
        )
        self._client = scope.get("client")
        self._receive = receive
        self._max_s = max_s

    @property
    def address(self) -> str:
        """The sender's address, as limits count it."""
        return counted_address(self._client[0] if self._client else "")

    @asynccontextmanager
    async def received(
        self, *, max_bytes: int, budget: BodyBudget, shares: Shares
    ) -> AsyncIterator[bytes]:
        """Receive the body; its bytes are counted in the budget until the block ends.

        Raises Refused (408, 413, 503), and ClientDisconnected.
        """
        taken = size = 0
        pieces: list[bytes] = []
        try:
            try:
                async with asyncio.timeout(self._max_s):
                    while not self.is_complete:
                        pieces.append(await self._next())
                        size += len(pieces[-1])
                        if size > max_bytes:
                            raise too_large(max_bytes)
                        missing = size - FREE_BYTES - taken
                        if missing > 0:
                            if not budget.take(missing, shares):
                                raise no_room()
                            taken += missing
            except TimeoutError as exc:
                sentence = f"The request body must arrive within {self._max_s:g} s"
                raise Refused("body_timeout", sentence, status=408) from exc
            body = b"".join(pieces)
            pieces.clear()
            yield body
        finally:
            pieces.clear()  # a refusal's traceback holds this frame for as long as it is kept
            budget.give_back(taken, shares)

    async def drop(self) -> None:
        """Receive what is left for a moment, so that the client can read its answer."""
        budget, shares = current().dropped_bodies, {self.address: DROPPED_OF_ADDRESS_MAX}
        if self.is_complete or not budget.take(1, shares):
            return
        dropped = 0
        try:
            async with asyncio.timeout(DROPPED_MAX_S):
                while not self.is_complete and dropped <= DROPPED_MAX_BYTES:
                    dropped += len(await self._next())
                    await asyncio.sleep(DROPPED_PAUSE_S)
        except (TimeoutError, ClientDisconnected):
            return
        finally:
            budget.give_back(1, shares)

    async def _next(self) -> bytes:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnected
        self.is_complete = not message.get("more_body", False)
        piece: bytes = message.get("body", b"")
        return piece


class ApiRequest(ASGIRequest):
    """A request whose body is received when its view asks for it."""

    def __init__(self, scope: dict[str, Any], incoming: IncomingBody) -> None:
        super().__init__(scope, BytesIO())
        self.incoming = incoming


async def parsed(
    request: HttpRequest, principal: Principal, parse: Callable[[bytes], Call]
) -> Call:
    """Receive the body and return the call that `parse` makes of it.

    Raises Refused if it is not JSON, too large or too late, or too many wait (429).
    """
    async with _json_body(request, principal) as body:
        return await parse_in_turn(principal, body, partial(parse, body))


async def parse_in_turn(principal: Principal, body: bytes, parse: Callable[[], Call]) -> Call:
    """Return the call that `parse` makes of the body. Raises Refused: 429 if too many wait."""
    at_once = is_small(body)

    def parse_large() -> Call:
        return replace(parse(), is_large=True, body_bytes=memory_of(body))

    return await in_turn(principal, parse if at_once else parse_large, at_once=at_once)


async def in_turn(principal: Principal, work: Callable[[], T], *, at_once: bool) -> T:
    """Return the result of work on a body: a large one takes its turn in a thread.

    Raises Refused: 429 if too many wait.
    """
    return work() if at_once else await _in_turn(principal, work)


def memory_of(body: bytes) -> int:
    """Return the bytes that a large body and its values take, 0 for a small one."""
    return 0 if is_small(body) else len(body) + VALUE_BYTES * count_values(body)


def is_small(body: bytes) -> bool:
    """Whether a body is parsed at once, and not counted."""
    return len(body) <= INLINE_MAX_BYTES and values_at_most(body) <= INLINE_MAX_VALUES


async def _in_turn(principal: Principal, work: Callable[[], T]) -> T:
    try:
        return await BODIES.run(principal.org_id, work, waiting_max=WAITING_MAX)
    except TooManyWaiting as exc:
        sentence = "Too many large requests of this organization are waiting; try again later"
        raise Refused("rate_limited", sentence, status=429, retry_after_s=1) from exc


@asynccontextmanager
async def _json_body(request: HttpRequest, principal: Principal) -> AsyncIterator[bytes]:
    if request.content_type != JSON_TYPE:
        raise not_json()
    encoding = encoding_named(header(request, "content-encoding"))
    max_bytes: int = settings.BODY_MAX_BYTES
    if _declared_bytes(request) > max_bytes:
        raise too_large(max_bytes)
    if isinstance(request, ApiRequest):
        async with (
            request.incoming.received(
                max_bytes=max_bytes, budget=current().bodies, shares=shares_of(principal)
            ) as body,
            _unpacked(body, encoding, principal, max_bytes=max_bytes) as plain,
        ):
            yield plain
    else:
        body = _read_body(request, max_bytes)
        async with _unpacked(body, encoding, principal, max_bytes=max_bytes) as plain:
            yield plain


@asynccontextmanager
async def _unpacked(
    body: bytes, encoding: str | None, principal: Principal, *, max_bytes: int
) -> AsyncIterator[bytes]:
    """Unpack a compressed body in a thread, counting it in the budget until the block ends."""
    if encoding is None:
        yield body
        return
    budget, shares, size = current().bodies, shares_of(principal), 0

    def receive(n_bytes: int) -> None:
        nonlocal size
        if size + n_bytes > max_bytes:
            raise too_large(max_bytes)
        if not budget.take(n_bytes, shares):
            raise no_room()
        size += n_bytes

    try:
        yield await _in_turn(principal, partial(unpacked, body, encoding, receive=receive))
    finally:
        budget.give_back(size, shares)


def _read_body(request: HttpRequest, max_bytes: int) -> bytes:
    try:
        return request.body
    except RequestDataTooBig as exc:
        raise too_large(max_bytes) from exc
    except UnreadablePostError as exc:
        raise invalid("The body could not be read") from exc


def _declared_bytes(request: HttpRequest) -> int:
    declared = request.META.get("CONTENT_LENGTH") or "0"
    if not (declared.isascii() and declared.isdigit()):
        raise invalid("Content-Length must be a number")
    digits = declared.lstrip("0") or "0"
    if len(digits) > LENGTH_MAX_DIGITS:
        raise too_large(settings.BODY_MAX_BYTES)
    return int(digits)


def too_large(max_bytes: int) -> Refused:
    """Return the refusal of a body above the limit."""
    sentence = f"The body must be at most {max_bytes // 2**20} MiB"
    return Refused("body_too_large", sentence, status=413)

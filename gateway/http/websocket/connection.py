"""One WebSocket: its turns, its limits and its end.

A turn begins with a message, and is then a streamed request like those over HTTP: the key is
checked again, and the call is admitted, held, charged and recorded by the pipeline.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any, Final, cast

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from gateway.apis.arrival import Arrival, fields_of
from gateway.apis.attribution import with_client
from gateway.apis.events import data_in
from gateway.apis.responses.codex import is_codex
from gateway.apis.responses.responses import PATH, ResponseBody, Responses
from gateway.call.runtime import Gateway
from gateway.core.body_budget import FREE_BYTES, shares_of
from gateway.core.calls import Call, Principal
from gateway.core.errors import GatewayError, Refused, internal_error
from gateway.core.request_body import dimensions_in_headers, invalid, model_in, scoped
from gateway.http.answers import EventStream
from gateway.http.bodies import Receive, in_turn, is_small, parse_in_turn, too_large
from gateway.http.callers import unauthenticated
from gateway.http.compatible import caller_of, refused, served
from gateway.http.headers import header, headers_of
from gateway.http.serving import read_or_refuse
from gateway.http.websocket.conversations import Conversations
from gateway.http.websocket.stopping import STOPPING
from gateway.http.websocket.turns import (
    ReceivedResponse,
    Turn,
    error_event,
    is_whole,
    items_as_json,
    joined,
    text_of,
    turn_in,
    warm_up_events,
)

Send = Callable[[Mapping[str, Any]], Awaitable[None]]

# As long and as many as at OpenAI: responses at once, those that wait included, and their lanes.
LIFETIME_S: Final = 3600.0
TURNS_MAX: Final = 16
LANES_MAX: Final = 32
# What a close frame has room for.
REASON_MAX_BYTES: Final = 123

logger = logging.getLogger("pulse.gateway")


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a connection ends: the code of its close frame, and the answer to messages until then.

    One that is `announced` is sent without a message too.
    """

    code: int
    refusal: Refused
    is_announced: bool = False


EXPIRED: Final = Ending(
    1000,
    Refused(
        "websocket_connection_limit_reached",
        "Responses websocket connection limit reached (60 minutes). Create a new websocket "
        "connection to continue.",
        status=400,
    ),
    is_announced=True,
)
STOPPED: Final = Ending(
    1001,
    Refused(
        "ledger_unavailable",
        "This gateway process is stopping; connect again",
        status=503,
        retry_after_s=1,
    ),
)
NOT_TEXT: Final = Ending(1003, invalid("Messages must be text"))
REVOKED: Final = Ending(1008, unauthenticated())


def dialect_of(request: HttpRequest) -> Responses:
    """Return the dialect in which a caller is answered: Codex gets refusals in its own words."""
    return Responses(for_codex=is_codex(header(request, "originator")))


class Connection:
    """The connection of one caller. `request` is the one that opened it."""

    def __init__(
        self,
        gateway: Gateway,
        request: HttpRequest,
        principal: Principal,
        send: Send,
        *,
        lifetime_s: float = LIFETIME_S,
    ) -> None:
        self._gateway = gateway
        self._request = request
        self._principal = principal
        self._send = send
        self._dialect = dialect_of(request)
        self._lifetime_s = lifetime_s
        self._conversations = Conversations(gateway.conversations, principal)
        self._lanes: defaultdict[str | None, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._turns: set[asyncio.Task[None]] = set()
        self._ending: Ending | None = None
        self._is_closed = False
        self._has_left = False

    async def serve(self, receive: Receive) -> None:
        """Take messages until the connection has ended; turns that still run then are cut."""
        expiring = asyncio.create_task(self._expire())
        try:
            while await self._receive(await receive()):
                pass
        finally:
            running = {expiring, *self._turns}
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            self._conversations.forget_all()

    async def _receive(self, message: Mapping[str, Any]) -> bool:
        """Act on a message, which is not kept; return whether there may be others."""
        kind, text = message["type"], message.get("text")
        del message
        if kind == "websocket.disconnect":
            return False
        if kind == STOPPING:
            await self._end(STOPPED)
        elif text is None:
            await self._end(NOT_TEXT)
        elif not self._is_closed:
            await self._take(text.encode())
        return True

    # --- the end ------------------------------------------------------------------------------

    async def _expire(self) -> None:
        await asyncio.sleep(self._lifetime_s)
        await self._end(EXPIRED)

    async def _end(self, ending: Ending) -> None:
        """Begin no turn any more, and close when none runs."""
        if self._ending is None:
            self._ending = ending
            await self._close_if_idle()

    async def _close_if_idle(self) -> None:
        ending = self._ending
        if ending is None or self._turns or self._is_closed:
            return
        self._is_closed = True
        if ending.is_announced:
            await self._send_error(refused(self._dialect, ending.refusal), None)
        reason = ending.refusal.message.encode()[:REASON_MAX_BYTES].decode(errors="ignore")
        await self._pass({"type": "websocket.close", "code": ending.code, "reason": reason})

    # --- turns --------------------------------------------------------------------------------

    async def _take(self, message: bytes) -> None:
        """Begin the turn that a message asks for, or say why not."""
        lane: str | None = None
        try:
            if self._ending is not None:
                raise self._ending.refusal
            turn = await self._parsed(message)
            if turn is not None:
                lane = turn.lane
                self._begin(turn)
        except Refused as exc:
            await self._send_error(refused(self._dialect, exc), lane)

    async def _parsed(self, message: bytes) -> Turn | None:
        """Parse a message, which is counted as a body is. Raises Refused: it is not recorded."""
        counted = max(0, len(message) - FREE_BYTES)
        with self._gateway.bodies.holding(counted, shares_of(self._principal)):
            try:
                parse = partial(turn_in, message)
                return await in_turn(self._principal, parse, at_once=is_small(message))
            except Refused as exc:
                return Turn(refusal=exc)

    def _begin(self, turn: Turn) -> None:
        if len(self._turns) >= TURNS_MAX:
            sentence = f"At most {TURNS_MAX} responses can be in flight on one WebSocket"
            raise Refused("rate_limited", sentence, status=429, retry_after_s=1)
        if turn.lane not in self._lanes and len(self._lanes) >= LANES_MAX:
            sentence = f"A WebSocket can have at most {LANES_MAX} values of stream_id"
            raise Refused("websocket_stream_limit_reached", sentence, status=400)
        self._turns.add(asyncio.create_task(self._run(turn)))

    async def _run(self, turn: Turn) -> None:
        with suppress(OSError):  # an error did not arrive
            await self._answer_in_lane(turn)
        self._turns.discard(cast("asyncio.Task[None]", asyncio.current_task()))
        with suppress(OSError):
            await self._close_if_idle()

    async def _answer_in_lane(self, turn: Turn) -> None:
        """Run a turn, after those before it in its lane."""
        try:
            with ExitStack() as waiting:
                shares = shares_of(self._principal)
                waiting.enter_context(self._gateway.bodies.holding(turn.memory, shares))
                async with self._lanes[turn.lane]:
                    await self._answer(turn, waiting)
        except Refused as exc:
            await self._send_error(refused(self._dialect, exc), turn.lane)
        except Exception:  # a defect: its call, if any, has its own row
            if self._has_left:
                return  # what was sent did not arrive
            logger.exception("a turn over WebSocket failed")
            await self._send_error(refused(self._dialect, internal_error()), turn.lane)

    async def _answer(self, turn: Turn, waiting: ExitStack) -> None:
        principal = await caller_of(self._dialect, self._request)
        if isinstance(principal, HttpResponseBase):
            await self._send_error(cast("HttpResponse", principal), turn.lane)
            return
        if not turn.generates:
            await self._warm_up(turn)
            return
        call = await read_or_refuse(principal, partial(self._call_of, principal, turn))
        turn.fields.clear()  # the call has its own, and is counted by itself
        waiting.close()
        response = await served(self._dialect, principal, call)
        if isinstance(response, EventStream):
            await self._send_stream(response, turn, call)
        else:
            await self._send_error(cast("HttpResponse", response), turn.lane)

    async def _warm_up(self, turn: Turn) -> None:
        """Remember what a later turn continues: nothing is sent, so nothing is checked or billed.

        Raises Refused.
        """
        build = partial(turn.conversation, self._conversations)
        items = await in_turn(self._principal, build, at_once=turn.memory == 0)
        response_id, events = warm_up_events(model_in(turn.fields))
        self._conversations.keep(turn.lane, response_id, items)
        for event in events:
            await self._send_event(event, turn.lane)

    async def _call_of(self, principal: Principal, turn: Turn) -> Call:
        """Return the call of a turn, which is that of a POST with the whole conversation."""
        if turn.refusal is not None:
            raise turn.refusal
        build = partial(turn.body, self._conversations)
        body = await in_turn(principal, build, at_once=turn.memory == 0)
        if len(body) > settings.BODY_MAX_BYTES:
            raise too_large(settings.BODY_MAX_BYTES)

        def parse() -> Call:
            headers = headers_of(self._request)
            dimensions = scoped(dimensions_in_headers(headers), principal)
            fields = fields_of(body)
            arrival = Arrival(
                raw=b"",
                fields=fields,
                headers=headers,
                dimensions=with_client(dimensions, principal.client_from, headers, fields),
                path=PATH,
            )
            return self._dialect.read(arrival)

        with self._gateway.bodies.holding(max(0, len(body) - FREE_BYTES), shares_of(principal)):
            return await parse_in_turn(principal, body, parse)

    async def _keep(self, turn: Turn, call: Call, received: ReceivedResponse) -> None:
        """Remember the conversation for the next turn, which sends only what is new."""
        if not isinstance(call.body, ResponseBody):
            raise AssertionError("a refused call has no response")
        fields = call.body.arrival.fields
        if not is_whole(fields):
            return
        as_json = partial(items_as_json, fields)
        with suppress(Refused):  # too many large ones wait: the client sends the whole again
            given = await in_turn(self._principal, as_json, at_once=not call.is_large)
            items = joined(given, *received.items)
            self._conversations.keep(turn.lane, received.response_id, items)

    # --- messages -----------------------------------------------------------------------------

    async def _send_stream(self, stream: EventStream, turn: Turn, call: Call) -> None:
        """Send a stream's events. What the last one ends is remembered before it is sent."""
        received = ReceivedResponse()

        async def pass_on(piece: bytes) -> None:
            for data in data_in(piece):
                if received.take(data):
                    await self._keep(turn, call, received)
                await self._send_event(data, turn.lane)

        try:
            await stream.pieces.pass_on(pass_on)
        finally:
            stream.pieces.close()  # this ends the call when the client has disconnected

    async def _send_error(self, response: HttpResponse, lane: str | None) -> None:
        if response.status_code == HTTPStatus.OK:
            without = GatewayError("The provider answered without a stream")
            response = refused(self._dialect, without)
        await self._send_event(error_event(response), lane)
        if response.status_code == HTTPStatus.UNAUTHORIZED:
            await self._end(REVOKED)

    async def _send_event(self, data: bytes, lane: str | None) -> None:
        await self._pass({"type": "websocket.send", "text": text_of(data, lane)})

    async def _pass(self, message: Mapping[str, Any]) -> None:
        """Send a message. Raises OSError when the client has disconnected."""
        try:
            await self._send(message)
        except OSError:
            self._has_left = True
            raise

"""Sending of an answer by the fake provider: whole or in pieces, and with faults."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import socket
import struct
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any, Final

from aiohttp import web

from tests.fake_provider.behaviour import Answer, Behaviour
from tests.fake_provider.formats import Errors
from tests.fake_provider.formats.common import THINKS, Format
from tests.fake_provider.records import Call

IDS: Final = {"x-request-id": "req_fake", "request-id": "req_fake"}
# Closing a socket that lingers for no time sends a reset instead of an end.
_RESET: Final = struct.pack("ii", 1, 0)
# What each of Google's chunks reports counts up to its moment.
_COUNTED: Final = re.compile(rb'("(?:candidates|total)TokenCount": ?)(\d+)')


@dataclass(frozen=True, slots=True)
class Sending:
    """A request with its record and its answer."""

    request: web.Request
    call: Call
    behaviour: Behaviour
    errors: Errors

    async def trouble(self, *, pauses: bool = True) -> bool:
        """Apply the faults before an answer; return True if there is no answer."""
        if pauses:
            await asyncio.sleep(self.behaviour.pause_s)
        if self.behaviour.stall == "headers":
            await asyncio.Event().wait()
        if self.behaviour.reset == "after":
            reset(self.request)
            return True
        return False

    def another(self) -> web.Response | None:
        """Return the replacement answer of the behaviour, if any."""
        status, body = self.behaviour.status, self.behaviour.body
        if status == 200 and body is None:
            return None
        if body is None and status >= 400:
            body = self.errors(status, f"The fake provider answers {status}")
        text = body if isinstance(body, str) else json.dumps(body)
        return self._noted(
            web.Response(
                status=status,
                text=text,
                headers=self.behaviour.headers,
                content_type=(
                    None if "content-type" in self.behaviour.headers else "application/json"
                ),
            )
        )

    def error(self, status: int, message: str) -> web.Response:
        """Return an error in the vendor's format."""
        body = self.errors(status, message)
        return self._noted(web.json_response(body, status=status))

    async def whole(self, answer: Answer, format_: Format) -> web.StreamResponse:
        """Send a plain answer."""
        fields = format_.plain(answer) | dict(self.behaviour.extra_fields)
        body = _laid_out(fields, format_.indent).encode()
        headers = {"content-type": "application/json", "content-length": str(len(body))}
        size = max(len(body) // 8, 1) if self.behaviour.drip_s else len(body)
        pieces = [body[start : start + size] for start in range(0, len(body), size)]
        return await self._sent(headers, _each(pieces))

    async def streamed(self, answer: Answer, format_: Format) -> web.StreamResponse:
        """Send events, or Google's array in pieces."""
        events = format_.events(answer)
        content_type = "text/event-stream"
        if format_.without_sse is not None and self.request.query.get("alt") != "sse":
            events, content_type = format_.without_sse(events), "application/json"
        written = [event.encode() for event in events]
        source = _endless(written, answer) if self.behaviour.endless else _each(written)
        return await self._sent({"content-type": content_type}, source)

    async def _sent(
        self, headers: Mapping[str, str], pieces: AsyncIterator[bytes]
    ) -> web.StreamResponse:
        behaviour = self.behaviour
        response = web.StreamResponse(headers={**headers, **IDS, **behaviour.headers})
        await response.prepare(self.request)
        left = behaviour.cut_after_bytes
        digest = hashlib.sha256()
        # The rate is kept by the clock: a busy machine sleeps longer than it should.
        due_s = time.monotonic()
        async for piece in pieces:
            if behaviour.stall == "body" and self.call.sent_pieces == behaviour.stall_after_events:
                await asyncio.Event().wait()
            if left is not None and len(piece) >= left:
                await response.write(piece[:left])
                await asyncio.sleep(0.1)  # so that what was written arrives before the reset
                reset(self.request)
                return response
            if piece == THINKS.encode():
                await self._think()
                due_s = time.monotonic()
                continue
            await response.write(piece)
            self.call.written_tokens += tokens_in(piece)
            digest.update(piece)
            self.call.sent_pieces += 1
            self.call.sent_bytes += len(piece)
            left = None if left is None else left - len(piece)
            due_s += behaviour.drip_s
            await asyncio.sleep(max(due_s - time.monotonic(), 0))
        self.call.sent_sha256 = digest.hexdigest()
        await response.write_eof()
        return response

    async def _think(self) -> None:
        """Think at the rate by the clock, too."""
        tokens, per_s = self.behaviour.hidden_thinking_tokens, self.behaviour.hidden_thinking_per_s
        begun_s, thought = time.monotonic(), 0
        while thought < tokens:
            by_now = min(tokens, 1 + int((time.monotonic() - begun_s) * per_s))
            self.call.written_tokens += by_now - thought
            thought = by_now
            await asyncio.sleep(1 / per_s)

    def _noted(self, response: web.Response) -> web.Response:
        body = (response.text or "").encode()
        self.call.sent_pieces, self.call.sent_bytes = 1, len(body)
        self.call.sent_sha256 = hashlib.sha256(body).hexdigest()
        return response


def tokens_in(event: bytes) -> int:
    """Return the tokens of output in one event of any vendor's stream: a word is one."""
    text = event.decode(errors="replace").partition("data: ")[2] or event.decode(errors="replace")
    try:
        data = json.loads(text.strip("[, \r\n"))
    except json.JSONDecodeError:
        return 0
    if not isinstance(data, dict):
        return 0
    kind = data.get("type") or ""
    if kind.endswith("_delta"):
        return int("signature" not in data.get("delta", {}))
    if kind.endswith(".delta"):
        return 1
    deltas = [choice.get("delta", {}).get("content") for choice in data.get("choices", ())]
    contents = [each.get("content", {}) for each in data.get("candidates", ())]
    parts = [part.get("text") for content in contents for part in content.get("parts", ())]
    return sum(map(bool, (*deltas, *parts)))


def reset(request: web.Request) -> None:
    """Reset the connection."""
    transport = request.transport
    if transport is None:
        return
    connection: socket.socket = transport.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    transport.abort()


def _laid_out(fields: Mapping[str, Any], indent: int | None) -> str:
    separators = (",", ":") if indent is None else None
    return json.dumps(fields, indent=indent, separators=separators, ensure_ascii=False)


async def _each(pieces: list[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def _endless(events: list[bytes], answer: Answer) -> AsyncIterator[bytes]:
    """Start as usual, then repeat the event with the last piece but one: the last may end it."""
    repeated = answer.pieces[-2:-1] or answer.pieces or [""]
    text = json.dumps(repeated[0], ensure_ascii=False).encode()
    begun = next(place for place, event in enumerate(events) if text in event)
    for event in events[: begun + 1]:
        yield event
    # The first element of an array has the bracket, and none of the others has.
    again = events[begun]
    again = b"\n,\r\n" + again[1:] if again.startswith(b"[") else again
    for more in count(1):
        yield _COUNTED.sub(partial(_counted_on, more), again)
        await asyncio.sleep(0.001)


def _counted_on(more: int, found: re.Match[bytes]) -> bytes:
    return found[1] + str(int(found[2]) + more).encode()

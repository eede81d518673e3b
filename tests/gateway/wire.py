"""A client of the real ASGI application, without a socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from asgiref.sync import async_to_sync
from django.test import AsyncClient

from gateway.http.answers import EventStream
from pulse.asgi import application

HOST: Final = "testserver"
JSON_TYPE: Final = "application/json"
Message = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Event:
    """One server-sent event."""

    name: str
    data: Any


@dataclass(frozen=True, slots=True)
class Reply:
    """A response."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The parsed body."""
        return json.loads(self.body)

    @property
    def events(self) -> list[Event]:
        """The body as server-sent events, which it must be to the last byte; without comments."""
        *blocks, rest = self.body.decode().split("\n\n")
        assert rest == ""
        return [_event(block) for block in blocks if not block.startswith(":")]

    @property
    def refusal(self) -> tuple[int, str, str]:
        """Status, code and sentence of a refusal."""
        body = self.json
        assert body["success"] is False
        assert set(body) - {"estimatedCostEur"} == {"success", "error", "code", "requestId"}
        return self.status, body["code"], body["error"]


def _event(block: str) -> Event:
    name, data = block.split("\n")
    return Event(name.removeprefix("event: "), json.loads(data.removeprefix("data: ")))


class Handler(Protocol):
    """Sends a request to the API: through the API handler, or Django's handler and middleware."""

    def __call__(
        self, method: str, path: str, *, body: bytes = b"", headers: Mapping[str, str]
    ) -> Reply: ...


def send_to_api(
    method: str, path: str, *, body: bytes = b"", headers: Mapping[str, str] | None = None
) -> Reply:
    """Send one request to the real application and wait for the whole answer."""
    raw = [(name, value.encode("latin1")) for name, value in (headers or {}).items()]
    return Visit(method, path, headers=raw, body=body).run()


def send_to_django(
    method: str, path: str, *, body: bytes = b"", headers: Mapping[str, str] | None = None
) -> Reply:
    """Send the same request through Django's handler, as its development server would."""
    sent_headers = dict(headers or {})
    # Django's test client says the type of a body only when there is one.
    content_type = (
        sent_headers.get("content-type", JSON_TYPE)
        if not body
        else sent_headers.pop("content-type")
    )

    async def answered() -> Reply:
        client = AsyncClient(enforce_csrf_checks=True, raise_request_exception=False)
        client.cookies.load(sent_headers.pop("cookie", ""))
        response: Any = await client.generic(
            method, path, data=body, content_type=content_type, headers=sent_headers
        )
        if isinstance(response, EventStream):
            content = b"".join([piece async for piece in response.pieces])
        else:
            content = response.content
        lower = {name.lower(): value for name, value in response.items()}
        return Reply(response.status_code, lower, content)

    return async_to_sync(answered)()


@dataclass(slots=True)
class Visit:
    """One request through the API handler; its client may disconnect before the end.

    `leaves_when` is called repeatedly with the bytes so far; True is a disconnect. With None for
    a body the client leaves before it has sent one.
    """

    method: str
    path: str
    headers: Iterable[tuple[str, bytes]] = ()
    body: bytes | None = b""
    query: bytes = b""
    leaves_when: Callable[[bytes], bool] | None = None
    pieces: list[bytes] = field(default_factory=list)
    start: Message | None = None
    _is_sent: bool = False

    def run(self) -> Reply:
        """Send the request and return the reply, or its part received before a disconnect."""
        asyncio.run(application(self.scope(), self._receive, self._send))
        return self.reply

    @property
    def reply(self) -> Reply:
        """The reply so far."""
        if self.start is None:
            return Reply(0, {}, b"")
        headers = {name.decode(): value.decode() for name, value in self.start["headers"]}
        return Reply(self.start["status"], headers, b"".join(self.pieces))

    def scope(self) -> dict[str, Any]:
        """Return the ASGI scope."""
        path, _, query = self.path.partition("?")
        is_hosted = any(name == "host" for name, _ in self.headers)
        named = [] if is_hosted else [(b"host", HOST.encode())]
        if self.body and not any(name == "content-length" for name, _ in self.headers):
            named.append((b"content-length", str(len(self.body)).encode()))
        return {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": self.method,
            "scheme": "http",
            "path": path,
            "query_string": self.query or query.encode(),
            "root_path": "",
            "headers": [*named, *((name.lower().encode(), value) for name, value in self.headers)],
            "client": ("127.0.0.1", 50000),
            "server": (HOST, 80),
        }

    async def _receive(self) -> Message:
        if self.body is not None and not self._is_sent:
            self._is_sent = True
            return {"type": "http.request", "body": self.body, "more_body": False}
        while not (self.leaves_when and self.leaves_when(b"".join(self.pieces))):  # noqa: ASYNC110  any thread may end it
            await asyncio.sleep(0.005)
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        await asyncio.sleep(0)  # a server gives way to others here
        if message["type"] == "http.response.start":
            self.start = message
        else:
            self.pieces.append(message.get("body", b""))

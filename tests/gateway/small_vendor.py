"""A vendor in a thread that answers each path with given bytes."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Self

import orjson

HOST: Final = "127.0.0.1"
JSON: Final = "application/json"


@dataclass(frozen=True, slots=True)
class Seen:
    """One received request."""

    path: str
    headers: Mapping[str, str]
    body: Any


@dataclass(slots=True)
class SmallVendor:
    """Answers by path; a `cut` reply ends before its Content-Length."""

    seen: list[Seen] = field(default_factory=list)
    _replies: dict[str, tuple[str, bytes, bool, int]] = field(default_factory=dict)
    _server: ThreadingHTTPServer | None = None

    def answers(
        self, path: str, body: bytes, *, kind: str = JSON, cut: bool = False, status: int = 200
    ) -> None:
        """Set the answer of `path`."""
        self._replies[path] = (kind, body, cut, status)

    @property
    def url(self) -> str:
        """Where it is."""
        assert self._server is not None
        return f"http://{HOST}:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._server = ThreadingHTTPServer((HOST, 0), self._handler())
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        vendor = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                vendor.seen.append(Seen(self.path, headers, orjson.loads(body)))
                self._answer()

            def do_GET(self) -> None:
                self._answer()

            def _answer(self) -> None:
                kind, reply, cut, status = vendor._replies[self.path]
                self.send_response(status)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(reply) + cut))
                self.end_headers()
                self.wfile.write(reply)

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        return Handler

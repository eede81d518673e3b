"""The production server: Uvicorn, on a socket that is bound before anything starts.

Measured against Granian on two cores, a bare relay in both: 46 ms of CPU for 1,000 chunks against
56, 0.24 ms a request at one connection against 0.54, 43 MiB against 76.
"""

from __future__ import annotations

import asyncio
import ipaddress
import multiprocessing
import os
import resource
import signal
import socket
import threading
from multiprocessing.process import BaseProcess
from typing import Final

import uvicorn
from django.conf import settings
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.supervisors import Multiprocess

LOOPBACK: Final = "127.0.0.1"
CONNECTIONS_MAX: Final = 10_000  # per worker; one more gets 503
BACKLOG: Final = 4096
# libuv accepts one connection a turn of its loop from each listening handle. With 1,500 streams a
# turn takes 60 ms, and a new client would wait for all before it, so there are several handles.
ACCEPTED_AT_ONCE: Final = 16
# Limits of the request line and headers: their size, and how long they may take.
HEAD_MAX_BYTES: Final = 64 * 1024
HEAD_MAX_S: Final = 30.0
KEEP_ALIVE_S: Final = 75
# How long a stopping worker has beyond the provider's time limit to settle and close.
STOP_MARGIN_S: Final = 20
HEALTHY_WITHIN_S: Final = 30


class CannotServe(Exception):
    """The address cannot be served; the message says why."""


def open_socket(*, host: str, port: int) -> socket.socket:
    """Return a socket bound to the address, else raise CannotServe."""
    try:
        family, *_, (address, *_) = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, OverflowError) as exc:
        raise CannotServe(f'Host must be an address of this machine, not "{host}"') from exc
    if settings.LOCAL and not ipaddress.ip_address(address).is_loopback:
        raise CannotServe(
            f"Host must be {LOOPBACK} while DEBUG is on, not {host}; or set DEBUG=off"
        )
    # With an explicit protocol: otherwise asyncio leaves Nagle's algorithm on, which costs 40 ms.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((address, port))
        bound.listen(BACKLOG)
    except OSError as exc:
        bound.close()
        raise CannotServe(f"Cannot listen on {host}:{port}: {exc.strerror}") from exc
    return bound


def local_url(bound: socket.socket) -> str:
    """Return the URL at which a browser on this machine reaches the socket."""
    address, port = bound.getsockname()[:2]
    return f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"


def serve(bound: socket.socket, *, workers: int) -> None:
    """Serve until SIGTERM or SIGINT; then finish running calls and return.

    A single worker is this process; several are its children, restarted when they die.
    """
    _raise_file_limit()
    config = uvicorn.Config(
        settings.ASGI_APPLICATION.replace(".application", ":application"),
        loop="uvloop",
        http=BoundedProtocol,
        ws="none",
        lifespan="on",
        workers=workers,
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        limit_concurrency=CONNECTIONS_MAX,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=int(settings.PROVIDER_TIMEOUT_S) + STOP_MARGIN_S,
        timeout_worker_healthcheck=HEALTHY_WITHIN_S,
    )
    # Uvicorn re-raises the signal that stopped it when it is done; this is a normal end.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    sockets = [bound, *(bound.dup() for _ in range(ACCEPTED_AT_ONCE - 1))]
    if workers == 1:
        uvicorn.Server(config).run(sockets=sockets)
        return
    # A forked worker would share the parent's connections and locks.
    multiprocessing.set_start_method("spawn", force=True)
    Multiprocess(config, sockets=sockets).run()


def stop_with_parent() -> None:
    """Stop this worker gracefully when its parent is killed: nothing else would stop it."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_wait_for, args=(parent,), name="parent", daemon=True).start()


def _wait_for(parent: BaseProcess) -> None:
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


def _raise_file_limit() -> None:
    """Raise the limit of open files to the hard limit: every connection is a file."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


class BoundedProtocol(HttpToolsProtocol):
    """Uvicorn's HTTP/1.1, with a limit on the size and the time of request line and headers."""

    _head_bytes = 0
    _is_in_head = True
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._arm()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._is_in_head and not self.transport.is_closing():
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_MAX_BYTES:
                self.send_400_response("The request's headers are too large.")
            elif self._head_timer is None:
                self._arm()

    def on_message_begin(self) -> None:
        self._is_in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._is_in_head, self._head_bytes = False, 0
        self._disarm()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        super().connection_lost(exc)

    def _arm(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_MAX_S, self._give_up)

    def _disarm(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _give_up(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()

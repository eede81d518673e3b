"""The production server: Uvicorn, on a socket that is bound before anything starts.

Measured against Granian on two cores, a bare relay in both: 46 ms of CPU for 1,000 chunks against
56, 0.24 ms a request at one connection against 0.54, 43 MiB against 76.
"""

from __future__ import annotations

import ipaddress
import math
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
from uvicorn.supervisors import Multiprocess

from pulse.server.protocol import BoundedProtocol
from pulse.server.websocket_protocol import settings_of

LOOPBACK: Final = "127.0.0.1"
BACKLOG: Final = 4096
# libuv accepts one connection a turn of its loop from each listening handle. With 1,500 streams a
# turn takes 60 ms, and a new client would wait for all before it, so there are several handles.
ACCEPTED_AT_ONCE: Final = 16
KEEP_ALIVE_S: Final = 75
# How long a stopping worker has, beyond the time in which calls may end, to settle and close.
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
    """Serve until SIGTERM or SIGINT; then let running calls end, for DRAIN_S, and return.

    A single worker is this process; several are its children, restarted when they die.
    """
    _raise_file_limit()
    config = uvicorn.Config(
        settings.ASGI_APPLICATION.replace(".application", ":application"),
        loop="uvloop",
        # A spawned worker imports this and the WebSockets' class before the application sets up
        # Django, so their modules must import no model.
        http=BoundedProtocol,
        **settings_of(settings.BODY_MAX_BYTES),
        lifespan="on",
        workers=workers,
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=bool(settings.PROXY_NETWORKS),
        forwarded_allow_ips=_proxies(),
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=math.ceil(settings.DRAIN_S) + STOP_MARGIN_S,
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


def _proxies() -> list[str]:
    """Return the trusted proxies; a socket for both versions shows IPv4 as ::ffff:…"""
    networks = settings.PROXY_NETWORKS
    return [str(network) for network in networks] + [
        f"::ffff:{network.network_address}/{96 + network.prefixlen}"
        for network in networks
        if network.version == 4
    ]


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

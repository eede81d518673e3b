"""The production server: Granian, with an address that is checked before anything starts."""

from __future__ import annotations

import atexit
import ipaddress
import multiprocessing
import os
import signal
import socket
import threading
from typing import Any, Final

from django.conf import settings
from django.utils.module_loading import import_string
from granian import Granian
from granian.constants import HTTPModes, Interfaces
from granian.log import LogLevels

LOOPBACK: Final = "127.0.0.1"
CONNECTIONS_MAX: Final = 1024  # of one worker; more wait in the kernel's queue
# What a stopping worker is given beyond the provider's time limit to settle and to close.
STOP_MARGIN_S: Final = 20


class CannotServe(Exception):
    """The address cannot be served; the message is a sentence that says why."""


def check_address(*, host: str, port: int) -> str:
    """Return the host's address when it can be served here, else raise CannotServe."""
    try:
        family, *_, (address, *_) = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, OverflowError) as exc:
        raise CannotServe(f'"{host}" is not an address of this machine') from exc
    if settings.LOCAL and not ipaddress.ip_address(address).is_loopback:
        raise CannotServe(f"DEBUG is on, so {host} is not served; set DEBUG=off, or use {LOOPBACK}")
    # Granian shares its port on purpose (its workers do), so it would not notice another server.
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as exc:
            raise CannotServe(f"{host}:{port} cannot be served: {exc.strerror}") from exc
    return str(address)


def local_url(*, address: str, port: int) -> str:
    """Return the URL at which a browser on this machine reaches the address."""
    return f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"


def serve(*, address: str, port: int, workers: int) -> None:
    """Serve until SIGTERM or SIGINT; then finish what runs, and return."""
    # A forked worker would share the parent's connections and locks.
    multiprocessing.set_start_method("spawn", force=True)
    Granian(
        settings.ASGI_APPLICATION,
        address=address,
        port=port,
        workers=workers,
        interface=Interfaces.ASGI,
        http=HTTPModes.http1,
        websockets=False,
        backlog=CONNECTIONS_MAX * workers,
        backpressure=CONNECTIONS_MAX,
        respawn_failed_workers=True,
        workers_kill_timeout=int(settings.PROVIDER_TIMEOUT_S) + STOP_MARGIN_S,
        log_level=LogLevels.warning,
    ).serve(target_loader=_load)


def _load(application: str) -> Any:
    """Import the application in a worker."""
    # Granian's threads outlive the interpreter, and one that wakes up while Python ends makes
    # the process abort with a panic in the log. By then all is finished and closed: just go.
    atexit.register(os._exit, 0)
    threading.Thread(target=_stop_with_parent, name="parent", daemon=True).start()
    return import_string(application)


def _stop_with_parent() -> None:
    """Stop this worker, gracefully, when its parent was killed: nobody else would."""
    if parent := multiprocessing.parent_process():
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)

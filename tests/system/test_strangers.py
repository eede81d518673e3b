"""What strangers send to a real server is bounded in memory and on disk, and is never kept."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

import pytest

from tests.system.databases import SECRET_KEY
from tests.system.servers import HOST, Installation, Server

MIB: Final = 2**20
# Far below what each of the attacks sends, far above what serving some requests takes.
GROWTH_MAX_MIB: Final = 12
ANSWER_MAX_S: Final = 120.0
PATHS: Final = ("/login", "/admin/login/", "/nothing/here", "/costs")
BLOCK: Final = b"a" * MIB


@pytest.fixture(scope="module")
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder for the server's temporary files."""
    return tmp_path_factory.mktemp("temporary")


@pytest.fixture(scope="module")
def attacked(
    empty_database_url: str, temporary: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server with a trusted proxy at an address of its own."""
    installation = Installation(
        database_url=empty_database_url,
        folder=tmp_path_factory.mktemp("attacked"),
        environment={
            "SECRET_KEY": SECRET_KEY,
            "TMPDIR": str(temporary),
            "PULSE_PROXY_ADDRESSES": "127.0.0.9",
            "PULSE_BEHIND_PROXY": "on",
        },
    )
    try:
        [server] = installation.serve()
        # What the first page loads stays.
        for path in PATHS:
            with closing(opened(server, f"GET {path} HTTP/1.1")) as client:
                assert status_of(client) in (200, 302, 404)
        yield server
    finally:
        installation.kill_all()


def opened(server: Server, *lines: str, source: str = HOST) -> socket.socket:
    """Connect and send a head."""
    client = socket.create_connection(
        (HOST, server.port), timeout=ANSWER_MAX_S, source_address=(source, 0)
    )
    client.sendall("\r\n".join([lines[0], f"host: {HOST}", *lines[1:], "", ""]).encode())
    return client


def pushed(client: socket.socket, blocks: int, block: bytes = BLOCK) -> None:
    """Send as much of this as the server takes."""
    with suppress(OSError):
        for _ in range(blocks):
            client.sendall(block)


def status_of(client: socket.socket) -> int:
    """Return the status of the answer."""
    return int(client.recv(12).split()[1])


def resident_mib(server: Server) -> float:
    """Return the memory of the server's process."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def in_files_mib(server: Server, folder: Path) -> float:
    """Return the size of the temporary files that are open, most of which have no name."""
    total = 0
    for each in Path(f"/proc/{server.process.pid}/fd").iterdir():
        with suppress(OSError):
            if str(each.readlink()).startswith(str(folder)):
                total += each.stat().st_size
    return total / MIB


@pytest.fixture
def grows_by(attacked: Server) -> Callable[[], float]:
    """By how many MiB the server's memory has grown since the test began."""
    before = resident_mib(attacked)
    return lambda: resident_mib(attacked) - before


def test_trailers_are_refused(attacked: Server, grows_by: Callable[[], float]) -> None:
    for path in ("/api/ai/request", "/v1/messages", *PATHS):
        head = (f"POST {path} HTTP/1.1", "transfer-encoding: chunked")
        with closing(opened(attacked, *head)) as client:
            client.sendall(b"2\r\n{}\r\n0\r\n")
            pushed(client, 20, b"x-pulse-key: trailer\r\n" * (MIB // 22))
            assert status_of(client) in (401, 431)  # without a key, the head is enough for a 401
    assert grows_by() < GROWTH_MAX_MIB


@pytest.mark.parametrize("path", PATHS)
def test_large_page_body_is_refused_and_not_kept(
    attacked: Server, grows_by: Callable[[], float], temporary: Path, path: str
) -> None:
    head = (f"POST {path} HTTP/1.1", f"content-length: {400 * MIB}")
    with closing(opened(attacked, *head)) as client:
        pushed(client, 40)
        assert status_of(client) == 413
        assert in_files_mib(attacked, temporary) == 0
    assert grows_by() < GROWTH_MAX_MIB


def test_page_body_that_stands_still_is_not_in_file(attacked: Server, temporary: Path) -> None:
    head = ("POST /login HTTP/1.1", f"content-length: {MIB}")
    with closing(opened(attacked, *head)) as client:
        client.sendall(BLOCK[:-1])
        time.sleep(1)
        assert in_files_mib(attacked, temporary) == 0
        client.sendall(b"a")
        assert status_of(client) == 403  # of the CSRF check: the page was reached


@pytest.mark.parametrize("path", ["/api/ai/request", "/v1/chat/completions", "/v1/messages"])
def test_bodies_without_key_are_not_received(
    attacked: Server, grows_by: Callable[[], float], path: str
) -> None:
    head = (
        f"POST {path} HTTP/1.1",
        "content-type: application/json",
        f"content-length: {10 * MIB}",
        "x-pulse-key: junk",
    )
    clients = [opened(attacked, *head) for _ in range(20)]
    try:
        with ThreadPoolExecutor(len(clients)) as pool:
            list(pool.map(lambda client: pushed(client, 9), clients))
            assert set(pool.map(status_of, clients)) == {401}
        assert grows_by() < 2 * GROWTH_MAX_MIB  # each has what the kernel delivers at once
    finally:
        for client in clients:
            client.close()


def test_slow_heads_are_bounded(attacked: Server, grows_by: Callable[[], float]) -> None:
    clients = [opened(attacked, "GET /healthz HTTP/1.1") for _ in range(20)]
    try:
        for client in clients:
            assert status_of(client) == 200
            pushed(client, 1, b"GET / HTTP/1.1\r\nx: " + BLOCK)
        assert grows_by() < GROWTH_MAX_MIB
    finally:
        for client in clients:
            client.close()


def test_forwarded_address_counts_only_from_proxy(attacked: Server) -> None:
    """Sign in wrongly until one address has had its failures, and then from another."""

    def attempt(source: str, forwarded: str, *, n: int) -> int:
        form = f"email=unknown{n}@example.org&password=guess&csrfmiddlewaretoken={'t' * 32}"
        head = (
            "POST /login HTTP/1.1",
            "content-type: application/x-www-form-urlencoded",
            f"cookie: csrftoken={'t' * 32}",
            f"x-forwarded-for: {forwarded}",
            f"content-length: {len(form)}",
        )
        with closing(opened(attacked, *head, source=source)) as client:
            client.sendall(form.encode())
            return status_of(client)

    tried = [attempt(HOST, f"192.0.2.{n}", n=n) for n in range(31)]
    assert tried == 30 * [200] + [429]
    assert attempt("127.0.0.9", "198.51.100.1", n=31) == 200
    assert attempt("127.0.0.9", f"198.51.100.1, {HOST}", n=32) == 429

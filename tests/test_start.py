"""`up` and `serve` in separate processes: first start, later starts, and stop."""

from __future__ import annotations

import http.client
import json
import os
import re
import shlex
import signal
import socket
import urllib.request
from contextlib import closing
from email.message import Message
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from tests.commands import SECRET_KEY, STOP_MAX_S, manage, started, wait_until_ready
from tests.factories import OrganizationFactory
from tests.system.servers import free_port

PRODUCTION = {"DEBUG": "off", "SECRET_KEY": SECRET_KEY, "ALLOWED_HOSTS": "127.0.0.1"}


def up_and_down(port: int, url: str, *, by: int = signal.SIGTERM) -> str:
    """Run `up` until it is ready, end it, and return what it printed."""
    with started("up", port=port, DATABASE_URL=url, SECRET_KEY=SECRET_KEY) as process:
        wait_until_ready(process, port)
        if by == signal.SIGINT:
            os.killpg(process.pid, by)  # as a terminal does it: to all at once
        else:
            process.send_signal(by)
        printed, _ = process.communicate(timeout=STOP_MAX_S)
        assert process.returncode == 0, printed
        return printed


def test_only_first_start_prints_credentials(
    empty_database_url: str,
) -> None:
    port = free_port()
    first = up_and_down(port, empty_database_url)
    assert f"http://127.0.0.1:{port}/login" in first
    assert len(re.findall(r"password  \S{16}", first)) == 1
    assert len(re.findall(r"API key   pulse_\w+", first)) == 1
    second = up_and_down(port, empty_database_url, by=signal.SIGINT)
    assert second == f"Serving on http://127.0.0.1:{port} - press Ctrl+C to stop.\n"
    variables = {"DATABASE_URL": empty_database_url, "SECRET_KEY": SECRET_KEY}
    listed = manage("orgs", "list", "--format", "json", variables=variables)
    assert [row["slug"] for row in json.loads(listed.stdout)] == ["demo"]


def test_printed_curl_works(database_url: str) -> None:
    port = free_port()
    variables = {"DATABASE_URL": database_url, "SECRET_KEY": SECRET_KEY}
    with started("up", port=port, **variables) as process:
        wait_until_ready(process, port)
        assert process.stdout is not None
        printed = ""
        while "Serving on" not in printed:
            printed += process.stdout.readline()
        words = shlex.split(printed[printed.index("curl ") : printed.index("Serving on")])
        answer = _sent_like_curl(words)
    assert answer["success"] is True
    assert answer["model"] == "sandbox-small"
    assert answer["estimatedCostEur"] > 0


def _sent_like_curl(words: list[str]) -> dict[str, Any]:
    """Send the request of the printed `curl` command."""
    assert words[0] == "curl"
    headers = [words[at + 1] for at, word in enumerate(words) if word == "-H"]
    request = urllib.request.Request(  # noqa: S310
        words[1],
        data=words[words.index("-d") + 1].encode(),
        headers=dict(header.split(": ", 1) for header in headers),
    )
    with urllib.request.urlopen(request, timeout=120) as response:  # noqa: S310
        answer: dict[str, Any] = json.load(response)
        return answer


@pytest.mark.both_databases
def test_concurrent_first_starts_create_one_demo(empty_database_url: str) -> None:
    ports = [free_port(), free_port()]
    variables = {"DATABASE_URL": empty_database_url, "SECRET_KEY": SECRET_KEY}
    with (
        started("up", port=ports[0], **variables) as one,
        started("up", port=ports[1], **variables) as other,
    ):
        printed = ""
        for process, port in zip((one, other), ports, strict=True):
            wait_until_ready(process, port)
            process.terminate()
            printed += process.communicate(timeout=STOP_MAX_S)[0]
            assert process.returncode == 0, printed
    assert printed.count("API key") == 1
    assert printed.count("Serving on") == 2


def test_existing_database_gets_no_demo(database_url: str) -> None:
    OrganizationFactory.create()
    assert "API key" not in up_and_down(free_port(), database_url)


@pytest.mark.parametrize("command", ["up", "serve"])
def test_port_in_use_is_one_line_error(command: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        variables = {"DATABASE_URL": f"sqlite:///{tmp_path}/never.sqlite3"}
        ended = manage(command, "--port", str(port), variables=variables)
    assert ended.returncode == 1
    assert ended.stderr.splitlines() == [
        f"CommandError: Cannot listen on 127.0.0.1:{port}: Address already in use"
    ]
    assert ended.stdout == ""
    assert not (tmp_path / "never.sqlite3").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--host", "0.0.0.0"), "DEBUG is on"),  # noqa: S104
        (("--host", "::"), "DEBUG is on"),
        (("--host", "no.such.host.invalid"), "must be an address"),
        (("--port", "0"), "--port must be between"),
        (("--port", "65536"), "--port must be between"),
        (("--workers", "0"), "--workers must be between"),
    ],
)
def test_invalid_serve_option_is_refused(
    settings: Settings, arguments: tuple[str, ...], sentence: str
) -> None:
    settings.LOCAL = True
    with pytest.raises(CommandError, match=sentence):
        call_command("serve", *arguments)


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGKILL])
def test_several_workers_serve_and_stop_with_their_parent(database_url: str, by: int) -> None:
    variables = {"DATABASE_URL": database_url, "SECRET_KEY": SECRET_KEY}
    port = free_port()
    with started("serve", "--workers", "2", port=port, **variables) as process:
        wait_until_ready(process, port)
        assert len(_workers(process.pid)) == 2
        process.send_signal(by)
        # It ends when the workers, too, have let go of stdout.
        printed, _ = process.communicate(timeout=STOP_MAX_S)
        assert printed == f"Serving on http://127.0.0.1:{port} - press Ctrl+C to stop.\n"
        assert process.returncode == (0 if by == signal.SIGTERM else -by)
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0


def _workers(pid: int) -> list[str]:
    """Return the children of a process that serve, by their ids."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [each for each in children if "spawn_main" in Path(f"/proc/{each}/cmdline").read_text()]


def test_unavailable_database_is_one_line_error() -> None:
    url = f"postgresql://user@127.0.0.1:{free_port()}/nothing"
    ended = manage("up", "--port", str(free_port()), variables={"DATABASE_URL": url})
    assert ended.returncode == 1
    assert len(ended.stderr.splitlines()) == 1, ended.stderr
    assert "The database cannot be used" in ended.stderr


def test_production_serves_hashed_stylesheet_name(database_url: str) -> None:
    variables = PRODUCTION | {"DATABASE_URL": database_url, "PULSE_PROXY_ADDRESSES": "127.0.0.1"}
    port = free_port()
    with started("serve", port=port, **variables) as process:
        wait_until_ready(process, port)
        status, headers, _ = _get(port, "/login")
        assert (status, headers["Location"]) == (301, "https://127.0.0.1/login")
        status, headers, page = _get(port, "/login", over="https")
        assert status == 200
        assert headers["Strict-Transport-Security"] == "max-age=31536000"
        assert headers["Cache-Control"] == "private, no-store"
        assert headers["Set-Cookie"].startswith("__Host-csrftoken=")
        assert {"Secure", "Path=/"} <= set(headers["Set-Cookie"].split("; "))
        stylesheet = re.search(r"/static/css/pulse\.[0-9a-f]{12}\.css", page)
        assert stylesheet is not None
        status, headers, _ = _get(port, stylesheet[0], over="https")
        assert status == 200
        assert "immutable" in headers["Cache-Control"]
        _, headers, _ = _get(port, "/healthz", over="https")
        assert headers["Strict-Transport-Security"] == "max-age=31536000"
        assert headers["Cache-Control"] == "no-store"


def _get(port: int, path: str, *, over: str = "http") -> tuple[int, Message, str]:
    """Send a request as a proxy that received it over `over`."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    with closing(connection):
        headers = {"Host": "127.0.0.1", "X-Forwarded-Proto": over}
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        return response.status, response.headers, response.read().decode()

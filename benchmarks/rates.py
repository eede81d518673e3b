"""What rates cost a request, in turns with the same without: `python -m benchmarks.rates`.

On PostgreSQL with fsync on, and on SQLite: a policy that limits requests and tokens per minute and
concurrent requests, all higher than the load.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from benchmarks.load import Load, configure, in_turns, run
from benchmarks.stage import (
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

LOADS: Final = {"1 connection": 1, "64 connections": 64}
LIMITED: Final = """
from gateway.models import Policy
Policy.objects.filter(name="Daily").update(
    requests_per_minute=1_000_000, tokens_per_minute=1_000_000_000, concurrent_requests=1_000
)
"""


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rates")
    parser.add_argument("--rounds", type=int, default=8, help="of each load, of 2 seconds")
    options = parser.parse_args()
    sys.stdout.write(f"{'CPU a request, ms':40} {'without':>9} {'with rates':>11}\n")
    with tempfile.TemporaryDirectory(prefix="pulse-benchmark-") as name:
        folder = Path(name)
        tools = compiled(folder)
        with provider(tools) as port, postgresql(folder) as server:
            on_server = [new_postgresql_database(server, name) for name in ("without", "rates")]
            in_files = [Database(url=f"sqlite:///{folder}/{name}.db") for name in ("w", "r")]
            for title, databases in (("PostgreSQL", on_server), ("SQLite", in_files)):
                with _both(databases, port) as both:
                    _compare(title, tools, port, both, options.rounds)


@contextmanager
def _both(databases: Sequence[Database], port: int) -> Iterator[tuple[Gateway, Gateway]]:
    without, limited = databases
    keys = prepare(without), prepare(limited)
    limited.run("shell", "-c", LIMITED)
    with (
        gateway(without, key=keys[0], provider_port=port) as first,
        gateway(limited, key=keys[1], provider_port=port) as second,
    ):
        yield first, second


def _compare(
    database: str, tools: Tools, port: int, both: tuple[Gateway, Gateway], rounds: int
) -> None:
    configure(port)
    for each in both:
        run(tools, each, port, Load(connections=16, requests=1000))
    for title, connections in LOADS.items():
        load = Load(connections=connections, seconds=2)
        without, limited = in_turns(tools, both, port, load, rounds=rounds)
        if without.failed or limited.failed:
            raise SystemExit("requests failed; the figures would mean nothing")
        for part in ("gateway_ms", "database_ms"):
            before, now = getattr(without, part), getattr(limited, part)
            if before:
                line = f"{database}, {title}, {part.removesuffix('_ms')}"
                sys.stdout.write(f"{line:40} {before:9.3f} {now:11.3f} x {now / before:.2f}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()

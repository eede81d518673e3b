"""Compare this checkout with another one, alternating: `python -m benchmarks.versions ../before`.

Both serve the same loads on one PostgreSQL with fsync on, each in a database of its own; in turns,
since a machine's speed may change by two within minutes.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from benchmarks.load import NATIVE, Load, Phase, configure, in_turns, run
from benchmarks.stage import (
    ROOT,
    Gateway,
    Tools,
    compiled,
    gateway,
    new_postgresql_database,
    postgresql,
    prepare,
    provider,
)

Figure = tuple[str, Callable[[Phase], float]]
GATEWAY: Final[Figure] = ("CPU a request, gateway, ms", lambda phase: phase.gateway_ms)
DATABASE: Final[Figure] = ("CPU a request, database, ms", lambda phase: phase.database_ms)
LATENCY: Final[Figure] = ("latency, p50, ms", lambda phase: phase.p50_ms)
RATE: Final[Figure] = ("requests a second", lambda phase: phase.per_s)
CHUNKS: Final[Figure] = ("CPU for 1,000 chunks, ms", lambda phase: phase.ms_per_1000_chunks)
FIRST_BYTE: Final[Figure] = ("first byte, p50, ms", lambda phase: phase.first_byte_p50_ms)


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.versions")
    parser.add_argument("before", type=Path, help="the folder of the other checkout")
    parser.add_argument("--rounds", type=int, default=8, help="of each load, of 2 seconds")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pulse-benchmark-") as name:
        folder = Path(name)
        tools = compiled(folder)
        with provider(tools) as port, postgresql(folder) as server:
            before = new_postgresql_database(server, "before", root=options.before.resolve())
            now = new_postgresql_database(server, "now", root=ROOT)
            with (
                gateway(before, key=prepare(before), provider_port=port) as old,
                gateway(now, key=prepare(now), provider_port=port) as new,
            ):
                _compare(tools, port, (old, new), options.rounds)


def _compare(tools: Tools, port: int, both: tuple[Gateway, Gateway], rounds: int) -> None:
    sys.stdout.write(f"{'':50} {'before':>9} {'now':>9}\n")

    def compare(title: str, load: Load, *figures: Figure) -> None:
        old, new = in_turns(tools, both, port, load, rounds=rounds)
        for name, figure in figures:
            times = figure(new) / figure(old)
            line = f"{title}: {name}"
            sys.stdout.write(f"{line:50} {figure(old):9.2f} {figure(new):9.2f} x {times:.2f}\n")
        sys.stdout.flush()

    configure(port)
    for each in both:
        run(tools, each, port, Load(connections=16, requests=1000))
        run(tools, each, port, Load(connections=8, requests=100, path=NATIVE))
    compare("1 connection", Load(connections=1, seconds=2), LATENCY, GATEWAY, DATABASE)
    compare("64 connections", Load(connections=64, seconds=2), GATEWAY, DATABASE, RATE)
    compare("SDK, 16", Load(connections=16, seconds=2, path=NATIVE), GATEWAY, RATE)
    configure(port, gap_ms=10)
    compare("1 stream", Load(connections=1, requests=4, stream=True), FIRST_BYTE)
    compare("32 streams", Load(connections=32, seconds=2, stream=True), CHUNKS)


if __name__ == "__main__":
    main()

"""What a governed request costs: `python -m benchmarks.speed`. A table with the targets beside it.

The client, the provider, PostgreSQL (fsync on) and the gateway share the machine. Every request
has an API key, two policies, a daily limit, an audit row, a hold, a settle and a cost event, all
durable before its answer. The bare relay (`benchmarks.bare`) is measured beside it, and peers in
the same run where their command is given:

    python -m benchmarks.speed --peer 'litellm=4000=litellm --config c.yaml --port 4000'

`{provider}` in a peer's command is the provider's port. Load stays on loopback and ends by itself.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.load import NATIVE, Load, Phase, configure, run
from benchmarks.stage import (
    Database,
    Gateway,
    Tools,
    bare_relay,
    compiled,
    gateway,
    new_postgresql_database,
    postgresql,
    prepare,
    provider,
)
from benchmarks.usage import resident_mib

PEER_STARTS_MAX_S: Final = 90


@dataclass(frozen=True, slots=True)
class Row:
    """A figure and what it has to be; `is_most` says that it may not be above."""

    name: str
    value: float
    unit: str
    target: float | None = None
    is_most: bool = True
    # The same of the bare relay, in the same run.
    bare: float | None = None

    @property
    def is_met(self) -> bool:
        if self.target is None:
            return True
        return self.value <= self.target if self.is_most else self.value >= self.target


def main() -> int:
    """Measure, print the table, and return 1 where a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed")
    parser.add_argument("--seconds", type=float, default=10, help="of each load")
    parser.add_argument("--many", type=int, default=2000, help="streams open at once, 0 for none")
    parser.add_argument("--soak", type=int, default=0, help="requests after which memory is read")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=PORT=COMMAND")
    options = parser.parse_args()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="pulse-benchmark-") as name:
        folder = Path(name)
        tools = compiled(folder)
        with provider(tools) as port:
            direct = _direct(tools, port, options.seconds)
            with postgresql(folder) as server:
                database = new_postgresql_database(server, "speed")
                rows += _postgresql(tools, port, database, options, direct)
            rows += _sqlite(tools, port, folder, options.seconds)
            peers = [_peer(tools, port, text, options.seconds) for text in options.peer]
    _print(rows, peers)
    return 0 if all(row.is_met for row in rows) else 1


def _direct(tools: Tools, port: int, seconds: float) -> tuple[float, float]:
    """Return the latency of the provider itself, whole and to the first byte."""
    straight = Gateway(port=port, key="", pid=0, ready_s=0)
    configure(port)
    plain = run(tools, straight, port, Load(connections=1, requests=500))
    configure(port, gap_ms=10)
    stream = run(tools, straight, port, Load(connections=1, requests=20, stream=True))
    return plain.p50_ms, stream.first_byte_p50_ms


def _postgresql(
    tools: Tools,
    port: int,
    database: Database,
    options: argparse.Namespace,
    direct: tuple[float, float],
) -> list[Row]:
    key = prepare(database)
    with gateway(database, key=key, provider_port=port) as ours, bare_relay(port) as bare:
        configure(port)
        for each in (bare, ours):
            run(tools, each, port, Load(connections=16, requests=1000))
        bare_alone = run(tools, bare, port, Load(connections=1, requests=500))
        alone = run(tools, ours, port, Load(connections=1, requests=500))
        bare_busy = run(tools, bare, port, Load(connections=64, seconds=options.seconds / 2))
        busy = run(tools, ours, port, Load(connections=64, seconds=options.seconds))
        run(tools, ours, port, Load(connections=8, requests=100, path=NATIVE))  # imports the SDK
        sdk = run(tools, ours, port, Load(connections=16, seconds=options.seconds / 2, path=NATIVE))
        configure(port, gap_ms=10)
        one = run(tools, ours, port, Load(connections=1, requests=20, stream=True))
        load = Load(connections=32, seconds=options.seconds, stream=True)
        bare_streams = run(tools, bare, port, load)
        streams = run(tools, ours, port, load)
        configure(port)
        for _ in range(options.soak // 10_000):
            run(tools, ours, port, Load(connections=64, requests=10_000))
        memory = resident_mib(ours.pid)
        many = _many(tools, ours, port, options.many)
    _no_failures(alone, busy, sdk, one, streams)
    return [
        Row("CPU a request, gateway, c=64", busy.gateway_ms, "ms"),
        Row("CPU a request, database, c=64", busy.database_ms, "ms"),
        Row(
            "CPU a request together, c=64",
            busy.gateway_ms + busy.database_ms,
            "ms",
            0.7,
            bare=bare_busy.gateway_ms,
        ),
        Row(
            "requests a second, c=64, one worker",
            busy.per_s,
            "/s",
            1200,
            is_most=False,
            bare=bare_busy.per_s,
        ),
        Row(
            "added latency, c=1, p50",
            alone.p50_ms - direct[0],
            "ms",
            3,
            bare=bare_alone.p50_ms - direct[0],
        ),
        Row(
            "CPU for 1,000 relayed chunks",
            streams.ms_per_1000_chunks,
            "ms",
            70,
            bare=bare_streams.ms_per_1000_chunks,
        ),
        Row("added time to first byte, p50", one.first_byte_p50_ms - direct[1], "ms", 3.5),
        Row("resident memory after the load", memory, "MiB", 150),
        Row("CPU a request, /api/ai/request by SDK", sdk.gateway_ms, "ms", 2),
        *many,
        Row("start of serve to ready", ours.ready_s, "s", 2),
    ]


def _many(tools: Tools, ours: Gateway, port: int, streams: int) -> list[Row]:
    """Hold many streams of 20 chunks a second each at once."""
    if not streams:
        return []
    configure(port, gap_ms=50, chunks=200)
    load = Load(connections=streams, requests=streams, seconds=60, stream=True)
    phase = run(tools, ours, port, load)
    return [
        Row(f"{streams} streams at once: unanswered or failed", phase.failed, "", 0),
        Row(
            f"{streams} streams at once: memory",
            phase.resident_mib,
            "MiB",
            150 + streams * 100 / 1024,
        ),
    ]


def _sqlite(tools: Tools, port: int, folder: Path, seconds: float) -> list[Row]:
    database = Database(url=f"sqlite:///{folder}/speed.sqlite3")
    key = prepare(database)
    with gateway(database, key=key, provider_port=port) as ours:
        configure(port)
        run(tools, ours, port, Load(connections=8, requests=400))
        busy = run(tools, ours, port, Load(connections=64, seconds=seconds))
    _no_failures(busy)
    return [
        Row("SQLite: requests a second, c=64", busy.per_s, "/s", 800, is_most=False),
        Row("SQLite: CPU a request", busy.gateway_ms, "ms"),
    ]


def _peer(tools: Tools, port: int, text: str, seconds: float) -> tuple[str, Phase, Phase]:
    name, peer_port, command = text.split("=", 2)
    with _started(shlex.split(command.format(provider=port))) as pid:
        peer = Gateway(port=int(peer_port), key="sk-peer", pid=pid, ready_s=0)
        _wait_until_it_answers(tools, peer, port)
        configure(port)
        busy = run(tools, peer, port, Load(connections=64, seconds=seconds))
        configure(port, gap_ms=10)
        streams = run(tools, peer, port, Load(connections=32, seconds=seconds, stream=True))
    return name, busy, streams


@contextmanager
def _started(command: list[str]) -> Iterator[int]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process.pid
    finally:
        process.terminate()
        process.wait(timeout=30)


def _wait_until_it_answers(tools: Tools, peer: Gateway, port: int) -> None:
    deadline = time.monotonic() + PEER_STARTS_MAX_S
    while time.monotonic() < deadline:
        try:
            if run(tools, peer, port, Load(connections=1, requests=1, seconds=5)).done:
                return
        except SystemExit:
            time.sleep(0.5)
    raise SystemExit(f"the peer on port {peer.port} does not answer")


def _no_failures(*phases: Phase) -> None:
    failed = sum(phase.failed for phase in phases)
    if failed:
        raise SystemExit(f"{failed} requests failed; the figures would mean nothing")


def _print(rows: list[Row], peers: list[tuple[str, Phase, Phase]]) -> None:
    load = ", ".join(f"{each:.2f}" for each in os.getloadavg())
    sys.stdout.write(f"\nload of the machine in the last 1, 5, 15 minutes: {load}\n\n")
    for row in rows:
        sign = "" if row.target is None else ("<=" if row.is_most else ">=") + f" {row.target:g}"
        verdict = "" if row.target is None else "met" if row.is_met else "MISSED"
        beside = f"bare relay {row.bare:.2f} {row.unit}" if row.bare is not None else ""
        line = f"{row.name:45} {row.value:9.2f} {row.unit:4} {sign:9} {verdict:6} {beside}"
        sys.stdout.write(line.rstrip() + "\n")
    together = next(row.value for row in rows if "together" in row.name)
    chunks = next(row.value for row in rows if "chunks" in row.name)
    for name, busy, streams in peers:
        of_ours, chunks_ms = busy.gateway_ms / together, streams.ms_per_1000_chunks
        sys.stdout.write(
            f"{name}: {busy.gateway_ms:.2f} ms of CPU a request ({of_ours:.1f} x), "
            f"{busy.per_s:.0f}/s, {chunks_ms:.0f} ms for 1,000 chunks "
            f"({chunks_ms / chunks:.1f} x)\n"
        )


if __name__ == "__main__":
    sys.exit(main())

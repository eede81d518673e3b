"""Measure the cost of a governed request and compare it with targets: `python -m benchmarks.speed`.

The client, the provider, PostgreSQL (fsync on) and the gateway share the machine. Every request
has an API key, two policies, a daily limit, an audit row, a hold, a settle and a cost event, all
durable before its answer. The bare relay (`benchmarks.bare`) is measured in turns with it, and
peers in the same run where their command is given:

    python -m benchmarks.speed \\
        --peer 'litellm=4000=env BASE=http://127.0.0.1:{provider}/v1 litellm --config c.yaml' \\
        --peer 'portkey=8787=node build/start-server.js' \\
        --header 'portkey=x-portkey-provider: openai' \\
        --header 'portkey=x-portkey-custom-host: http://127.0.0.1:{provider}/v1'

`{provider}` is the provider's port, in a peer's command and in its headers. Load stays on loopback
and ends by itself.
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

from benchmarks.load import NATIVE, Load, Phase, configure, in_turns, run
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
from benchmarks.usage import fdatasync_ms, resident_mib

PEER_STARTS_MAX_S: Final = 90
ROUNDS: Final = 5
ALONE: Final = Load(connections=1, seconds=2)
ONE_STREAM: Final = Load(connections=1, requests=10, stream=True)


@dataclass(frozen=True, slots=True)
class Row:
    """A figure and its target; with `is_most` the target is a maximum.

    `bare` is the same of the bare relay in the same run, and `bare_there` what that was on the
    machine of the targets: a machine of another speed is to keep the ratio of the two.
    """

    name: str
    value: float
    unit: str
    target: float | None = None
    is_most: bool = True
    bare: float | None = None
    bare_there: float | None = None

    @property
    def times_bare(self) -> float | None:
        """The ratio to the figure of the bare relay."""
        return self.value / self.bare if self.bare else None

    @property
    def times_to_reach(self) -> float | None:
        """The target ratio to the bare relay."""
        return self.target / self.bare_there if self.target and self.bare_there else None

    @property
    def verdict(self) -> str:
        """Whether the target is met, by itself or beside the bare relay."""
        if self.target is None:
            return ""
        if self._reaches(self.value, self.target):
            return "met"
        times, to_reach = self.times_bare, self.times_to_reach
        if times is not None and to_reach is not None and self._reaches(times, to_reach):
            return "met beside the bare relay"
        return "MISSED"

    def _reaches(self, value: float, target: float) -> bool:
        return value <= target if self.is_most else value >= target


def main() -> int:
    """Measure, print the table, and return 1 if a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed")
    parser.add_argument("--seconds", type=float, default=10, help="of each load")
    parser.add_argument("--many", type=int, default=2000, help="streams open at once, 0 for none")
    parser.add_argument("--soak", type=int, default=0, help="requests over which memory is watched")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=PORT=COMMAND")
    parser.add_argument("--header", action="append", default=[], metavar="NAME=HEADER: VALUE")
    options = parser.parse_args()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="pulse-benchmark-") as name:
        folder = Path(name)
        tools = compiled(folder)
        with provider(tools) as port:
            with postgresql(folder) as server, bare_relay(port) as bare:
                database = new_postgresql_database(server, "speed")
                rows += _postgresql(tools, port, database, options, bare)
                rows.append(
                    Row("the disk's fdatasync, p50; a call has two", fdatasync_ms(folder), "ms")
                )
                rows += _sqlite(tools, port, folder, options.seconds, bare)
            peers = [_peer(tools, port, text, options) for text in options.peer]
    _print(rows, peers)
    return 1 if any(row.verdict == "MISSED" for row in rows) else 0


def _postgresql(
    tools: Tools, port: int, database: Database, options: argparse.Namespace, bare: Gateway
) -> list[Row]:
    key = prepare(database)
    straight = Gateway(port=port, key="", pid=0, ready_s=0)
    with gateway(database, key=key, provider_port=port) as ours:

        def measured(load: Load, *gateways: Gateway) -> list[Phase]:
            return in_turns(tools, gateways, port, load, rounds=ROUNDS)

        seconds = options.seconds / ROUNDS
        configure(port)
        for each in (bare, ours):
            run(tools, each, port, Load(connections=16, requests=1000))
        direct, bare_alone, alone = measured(ALONE, straight, bare, ours)
        bare_busy, busy = measured(Load(connections=64, seconds=seconds), bare, ours)
        run(tools, ours, port, Load(connections=8, requests=100, path=NATIVE))  # imports the SDK
        native = Load(connections=16, seconds=seconds, path=NATIVE)
        bare_16, sdk = measured(native, bare, ours)
        configure(port, gap_ms=10)
        direct_stream, bare_one, one = measured(ONE_STREAM, straight, bare, ours)
        # A stream takes half a second, and a started one is read to its end.
        streaming = Load(connections=32, seconds=max(seconds, 2), stream=True)
        bare_streams, streams = measured(streaming, bare, ours)
        configure(port)
        soaked = _soaked(tools, ours, port, options.soak)
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
            0.9,
            bare=bare_busy.gateway_ms,
            bare_there=0.162,
        ),
        Row(
            "requests a second, c=64, one worker",
            busy.per_s,
            "/s",
            1100,
            is_most=False,
            bare=bare_busy.per_s,
            bare_there=6178,
        ),
        Row(
            "added latency, c=1, p50",
            alone.p50_ms - direct.p50_ms,
            "ms",
            3,
            bare=bare_alone.p50_ms - direct.p50_ms,
            bare_there=0.33,
        ),
        Row(
            "CPU for 1,000 relayed chunks",
            streams.ms_per_1000_chunks,
            "ms",
            70,
            bare=bare_streams.ms_per_1000_chunks,
            bare_there=47,
        ),
        Row(
            "added time to first byte, p50",
            one.first_byte_p50_ms - direct_stream.first_byte_p50_ms,
            "ms",
            3.5,
            bare=bare_one.first_byte_p50_ms - direct_stream.first_byte_p50_ms,
        ),
        *soaked,
        Row("resident memory after the load", memory, "MiB", 150),
        Row(
            "CPU a request, /api/ai/request by SDK",
            sdk.gateway_ms,
            "ms",
            2,
            bare=bare_16.gateway_ms,
            bare_there=0.162,
        ),
        *many,
        Row("start of serve to ready", ours.ready_s, "s", 2),
    ]


def _soaked(tools: Tools, ours: Gateway, port: int, requests: int) -> list[Row]:
    """Return the growth of memory over many requests, after the first tenth."""
    if not requests:
        return []
    run(tools, ours, port, Load(connections=64, requests=requests // 10))
    before = resident_mib(ours.pid)
    for _ in range(9):
        _no_failures(run(tools, ours, port, Load(connections=64, requests=requests // 10)))
    return [Row(f"memory grown in {requests:,} requests", resident_mib(ours.pid) - before, "MiB")]


def _many(tools: Tools, ours: Gateway, port: int, streams: int) -> list[Row]:
    """Keep many streams open at once, of 20 chunks a second each."""
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


def _sqlite(tools: Tools, port: int, folder: Path, seconds: float, bare: Gateway) -> list[Row]:
    database = Database(url=f"sqlite:///{folder}/speed.sqlite3")
    key = prepare(database)
    with gateway(database, key=key, provider_port=port) as ours:
        configure(port)
        run(tools, ours, port, Load(connections=8, requests=400))
        load = Load(connections=64, seconds=seconds / ROUNDS)
        bare_busy, busy = in_turns(tools, (bare, ours), port, load, rounds=ROUNDS)
    _no_failures(busy)
    return [
        Row(
            "SQLite: requests a second, c=64",
            busy.per_s,
            "/s",
            800,
            is_most=False,
            bare=bare_busy.per_s,
            bare_there=6178,
        ),
        Row("SQLite: CPU a request", busy.gateway_ms, "ms"),
    ]


@dataclass(frozen=True, slots=True)
class Peer:
    """Another gateway, under the loads of ours."""

    name: str
    direct_ms: float
    alone: Phase
    busy: Phase
    streams: Phase


def _peer(tools: Tools, port: int, text: str, options: argparse.Namespace) -> Peer:
    name, peer_port, command = text.split("=", 2)
    given = (header.format(provider=port).split("=", 1) for header in options.header)
    headers = tuple(header for whose, header in given if whose == name)
    seconds: float = options.seconds
    straight = Gateway(port=port, key="", pid=0, ready_s=0)
    with _started(shlex.split(command.format(provider=port))) as pid:
        peer = Gateway(port=int(peer_port), key="sk-peer", pid=pid, ready_s=0, headers=headers)
        _wait_until_it_answers(tools, peer, port)
        configure(port)
        run(tools, peer, port, Load(connections=16, requests=200))
        direct, alone = in_turns(tools, (straight, peer), port, ALONE, rounds=1)
        busy = run(tools, peer, port, Load(connections=64, seconds=seconds))
        configure(port, gap_ms=10)
        streams = run(tools, peer, port, Load(connections=32, seconds=seconds, stream=True))
    return Peer(name, direct.p50_ms, alone, busy, streams)


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


def _beside(row: Row) -> str:
    if row.bare is None or row.times_bare is None:
        return ""
    wanted = f" (to reach: {row.times_to_reach:.2f})" if row.times_to_reach else ""
    return f"bare relay {row.bare:.2f}, {row.times_bare:.2f} times{wanted}"


def _print(rows: list[Row], peers: list[Peer]) -> None:
    load = ", ".join(f"{each:.2f}" for each in os.getloadavg())
    sys.stdout.write(f"\nload of the machine in the last 1, 5, 15 minutes: {load}\n\n")
    for row in rows:
        sign = "" if row.target is None else ("<=" if row.is_most else ">=") + f" {row.target:g}"
        line = f"{row.name:45} {row.value:9.2f} {row.unit:4} {sign:10} {_beside(row):46}"
        sys.stdout.write(f"{line} {row.verdict}".rstrip() + "\n")
    together = next(row.value for row in rows if "together" in row.name)
    chunks = next(row.value for row in rows if "chunks" in row.name)
    for peer in peers:
        cpu_ms, chunks_ms = peer.busy.gateway_ms, peer.streams.ms_per_1000_chunks
        sys.stdout.write(
            f"{peer.name}: {cpu_ms:.2f} ms of CPU a request ({cpu_ms / together:.1f} x ours), "
            f"{peer.busy.per_s:.0f}/s, {peer.alone.p50_ms - peer.direct_ms:.2f} ms added at c=1, "
            f"{chunks_ms:.0f} ms for 1,000 chunks ({chunks_ms / chunks:.1f} x), "
            f"{peer.streams.resident_mib:.0f} MiB, {peer.busy.failed + peer.alone.failed} failed\n"
        )


if __name__ == "__main__":
    sys.exit(main())

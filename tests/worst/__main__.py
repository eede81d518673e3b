"""Run the worst of a stranger, a key and an admin beside another tenant's ordinary requests.

Prints for each attack what it costs the other tenant, and exits with 1 if a limit is passed. Every
attack has a server process of its own, on SQLite, or on the PostgreSQL of DATABASE_URL.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import signal
import sys
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from tests.system.servers import Server
from tests.worst import admin, key, stranger, wire
from tests.worst.measuring import KIB, MIB, Neighbour, Watch
from tests.worst.stage import Stage, prepared

ATTACKS: Final = {
    "stranger": stranger.ATTACKS,
    "key": key.ATTACKS,
    "admin": admin.ATTACKS,
}
P99_MAX_MS: Final = 250
MEMORY_MAX_MIB: Final = 400
DISK_MAX_KIB: Final = 64  # lines of the log
LINE: Final = "{:<9} {:<22} {:>6} {:>6} {:>6} {:>5} {:>8} {:>8}  {}"
TITLES: Final = ("attacker", "attack", "p50", "p99", "max", "fail", "MiB", "KiB", "limits")
START_MAX_S: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What one attack cost."""

    attacker: str
    attack: str
    neighbour: Neighbour
    peak_mib: float
    disk_kib: float

    def passed(self, limits: argparse.Namespace) -> list[str]:
        """Return the limits that were passed."""
        found = {
            "p99": self.neighbour.percentile_ms(99) > limits.p99_ms,
            "failures": self.neighbour.failures > 0,
            "memory": self.peak_mib > limits.memory_mib,
            "disk": self.disk_kib > DISK_MAX_KIB,
        }
        return [name for name, is_passed in found.items() if is_passed]

    def line(self, limits: argparse.Namespace) -> str:
        """Return a line of the table."""
        times = [self.neighbour.percentile_ms(percent) for percent in (50, 99, 100)]
        return LINE.format(
            self.attacker,
            self.attack,
            *(f"{each:.0f}" for each in times),
            self.neighbour.failures,
            f"{self.peak_mib:.0f}",
            f"{self.disk_kib:.0f}",
            " ".join(self.passed(limits)) or "ok",
        )


def main(arguments: Sequence[str]) -> int:
    """Run the attacks and return the exit code."""
    options = _parser().parse_args(arguments)
    chosen = [options.attacker] if options.attacker in ATTACKS else list(ATTACKS)
    passed = 0
    with prepared(requests=options.requests) as stage:
        _print(LINE.format(*TITLES))
        _print(_measured(stage, "no one", wire.nothing, options.seconds).line(options))
        for attacker in chosen:
            for attack in ATTACKS[attacker]:
                if not options.only or attack.__name__ in options.only:
                    result = _measured(stage, attacker, attack, options.seconds)
                    _print(result.line(options))
                    passed += bool(result.passed(options))
    _print(f"{passed} attacks passed a limit" if passed else "No limit was passed")
    return min(passed, 1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.worst", description=__doc__)
    choices = [*ATTACKS, "all"]
    parser.add_argument("attacker", nargs="?", default="all", choices=choices)
    parser.add_argument("--only", nargs="+", metavar="ATTACK", help="names of attacks")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long each attack lasts")
    parser.add_argument("--requests", type=int, default=20_000, help="the attacker's past ones")
    parser.add_argument("--p99-ms", type=float, default=P99_MAX_MS)
    parser.add_argument("--memory-mib", type=float, default=MEMORY_MAX_MIB)
    return parser


def _measured(stage: Stage, attacker: str, attack: wire.Attack, seconds: float) -> Result:
    with stage.server() as server:
        neighbour = Neighbour(server.url, stage.installation.key)
        watch = Watch(server, (stage.temporary, stage.installation.folder))
        asyncio.run(_beside(stage, server, attack, seconds, neighbour.live(), watch.live()))
        watch.look()
        return Result(
            attacker=attacker,
            attack=attack.__name__,
            neighbour=neighbour,
            peak_mib=watch.peak_bytes / MIB,
            disk_kib=watch.disk_bytes / KIB,
        )


async def _beside(
    stage: Stage,
    server: Server,
    attack: wire.Attack,
    seconds: float,
    *measuring: Coroutine[Any, Any, None],
) -> None:
    """Run the attack in a process of its own, and measure until it has ended."""
    process = multiprocessing.get_context("spawn").Process(
        target=wire.run, args=(attack, stage.target(server), seconds)
    )
    process.start()
    tasks = [asyncio.create_task(each) for each in measuring]
    await asyncio.to_thread(process.join, seconds + START_MAX_S)
    for task in tasks:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    if process.exitcode != -signal.SIGALRM:
        process.kill()
        raise RuntimeError(f"{attack.__name__} ended with {process.exitcode}")


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

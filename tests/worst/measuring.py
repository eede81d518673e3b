"""What is measured meanwhile: another tenant's latency, the server's memory, its files."""

from __future__ import annotations

import asyncio
import itertools
import math
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import aiohttp

from tests.system.clients import ClientCall, ask
from tests.system.processes import ROOT
from tests.system.servers import Server

REQUESTS_PER_S: Final = 10
SAMPLE_EVERY_S: Final = 0.1
KIB, MIB = 2**10, 2**20
# Folders in it, such as the tests' packages for Node, would take longer to read than the calls.
VAR: Final = ROOT / "var"


@dataclass(slots=True)
class Neighbour:
    """The other tenant: small calls at a steady rate over connections that are kept."""

    url: str
    key: str
    latencies_ms: list[float] = field(default_factory=list)
    failures: int = 0

    async def live(self) -> None:
        """Send calls until cancelled; those under way are then finished."""
        calls: set[asyncio.Task[None]] = set()
        async with aiohttp.ClientSession() as session:
            begun = time.monotonic()
            try:
                for number in itertools.count():
                    due = begun + number / REQUESTS_PER_S
                    await asyncio.sleep(due - time.monotonic())
                    calls.add(asyncio.create_task(self._call(session, due)))
            finally:
                await asyncio.gather(*calls)

    async def _call(self, session: aiohttp.ClientSession, due: float) -> None:
        """Count the time from when the call was due, so that a late start counts as well."""
        outcome = await ask(session, self.url, self.key, ClientCall(call=secrets.token_hex(8)))
        self.latencies_ms.append((time.monotonic() - due) * 1_000)
        self.failures += not outcome.is_answered

    def percentile_ms(self, percent: float) -> float:
        """Return the latency that `percent` of the calls do not exceed."""
        ordered = sorted(self.latencies_ms)
        return ordered[math.ceil(len(ordered) * percent / 100) - 1]


@dataclass(slots=True)
class Watch:
    """The most memory and the most bytes of files of a server since the watch began.

    The files are those of its temporary folder, also deleted ones that it keeps open, those in
    `var` of its working folder, and its log. The database is elsewhere.
    """

    server: Server
    folders: tuple[Path, ...]
    disk_bytes: int = 0
    _before: int = 0

    def __post_init__(self) -> None:
        for pid in self.server.workers():
            Path(f"/proc/{pid}/clear_refs").write_text("5")  # the peak begins here
        self._before = self._bytes()

    async def live(self) -> None:
        """Look until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(SAMPLE_EVERY_S)

    def look(self) -> None:
        """Look at the files once."""
        self.disk_bytes = max(self.disk_bytes, self._bytes() - self._before)

    @property
    def peak_bytes(self) -> int:
        """The most resident memory of all serving processes."""
        return sum(map(_peak_bytes, self.server.workers()))

    def _bytes(self) -> int:
        files = itertools.chain(*(folder.rglob("*") for folder in self.folders), VAR.iterdir())
        kept = sum(map(_size, files))
        return kept + sum(sum(_deleted(pid)) for pid in self.server.workers())


def _peak_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    [peak] = (line.split()[1] for line in lines if line.startswith("VmHWM:"))
    return int(peak) * KIB


def _size(path: Path) -> int:
    with suppress(FileNotFoundError):
        return path.stat().st_size if path.is_file() else 0
    return 0


def _deleted(pid: int) -> Iterator[int]:
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            found = path.stat()
            if stat.S_ISREG(found.st_mode) and not found.st_nlink:
                yield found.st_size

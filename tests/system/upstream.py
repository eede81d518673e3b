"""The fake provider as a process, which records a call before answering it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import aiohttp

from tests.system.processes import ROOT
from tests.system.servers import HOST, clean_environment, free_port

Seen = dict[str, Any]

ARRIVES_MAX_S: Final = 120.0


class Upstream:
    """Four vendors on one loopback port, or one host, in a process that outlives every gateway."""

    def __init__(self, record: Path, *, host: str | None = None) -> None:
        self.record = record
        self.port = free_port()
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.fake_provider"),
                *("--port", str(self.port), "--record", str(record)),
                *(() if host is None else ("--host", host)),
            ],
            cwd=ROOT,
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline(), "the fake provider did not start"

    def stop(self) -> None:
        """End it."""
        self.process.kill()
        self.process.communicate()

    def answers(self, *behaviours: Seen) -> None:
        """Queue behaviours for the next calls."""
        self._post({"answers": list(behaviours)})

    def reset(self) -> None:
        """Clear calls and behaviours; the file on disk is kept."""
        self._post({"reset": True})

    def release(self) -> None:
        """Let the calls be answered that wait for it, until the next reset."""
        self._post({"release": True})

    def calls(self) -> list[Seen]:
        """Return every call since the last reset, oldest first."""
        with urllib.request.urlopen(
            f"http://{HOST}:{self.port}/_calls", timeout=ARRIVES_MAX_S
        ) as answer:
            found: list[Seen] = json.load(answer)
            return found

    def recorded(self) -> list[Seen]:
        """Return every call that reached the disk."""
        return _lines(self.record)

    def written(self) -> list[Seen]:
        """Return every stream whose client left, with what had been written by then."""
        return _lines(self.record.with_suffix(".written"))

    def wait_for(self, seen: Callable[[Seen], object], *, timeout_s: float = ARRIVES_MAX_S) -> Seen:
        """Wait for the first call for which `seen` is true."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            found = next((call for call in self.calls() if seen(call)), None)
            if found is not None:
                return found
            time.sleep(0.05)
        raise AssertionError(f"no such call within {timeout_s} s among {len(self.calls())}")

    async def arrived(self, prompt: str) -> Seen:
        """Wait until a call with this prompt is there, and return it as it is then."""
        url = f"http://{HOST}:{self.port}/_calls"
        timeout = aiohttp.ClientTimeout(total=ARRIVES_MAX_S)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(url, params={"containing": prompt}) as answer,
        ):
            found: list[Seen] = await answer.json()
            return found[0]

    def _post(self, orders: dict[str, Any]) -> None:
        request = urllib.request.Request(
            f"http://{HOST}:{self.port}/_control",
            data=json.dumps(orders).encode(),
            headers={"content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=ARRIVES_MAX_S) as answer:  # noqa: S310
            answer.read()


def _lines(file: Path) -> list[Seen]:
    """Return the lines of a file that may not be there yet; the last one may be half written."""
    if not file.exists():
        return []
    return [
        json.loads(line)
        for line in file.read_text().splitlines(keepends=True)
        if line.endswith("\n")
    ]


def prompt_in(call: Seen) -> str:
    """Return the last user message of a call, in any vendor's format."""
    body = call["body"] or {}
    if "contents" in body:
        return str(body["contents"][-1]["parts"][0]["text"])
    if "input" in body:
        given = body["input"]
        return str(given if isinstance(given, str) else given[-1])
    if "requests" in body:
        return str(body["requests"][-1]["content"]["parts"][0]["text"])
    if "content" in body:
        return str(body["content"]["parts"][0]["text"])
    content = body["messages"][-1]["content"]
    return str(content if isinstance(content, str) else content[0]["text"])

"""Runs the load client against a gateway, and measures the cost."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from benchmarks.stage import Gateway, Tools, asked
from benchmarks.usage import cpu_s, resident_mib

CHAT: Final = "/v1/chat/completions"
NATIVE: Final = "/api/ai/request"
LOAD_MAX_S: Final = 240
MESSAGES: Final = [
    {"role": "system", "content": "You are a helpful assistant."},
    {"role": "user", "content": "Tell me a short story about a fox and a dog, in one sentence."},
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """The result of one load: requests, CPU and latencies. Times are in milliseconds."""

    done: int
    failed: int
    wall_s: float
    p50_ms: float
    p99_ms: float
    first_byte_p50_ms: float
    gateway_cpu_s: float
    database_cpu_s: float
    chunks: int
    resident_mib: float

    @property
    def per_s(self) -> float:
        """Successful requests per second."""
        return self.done / self.wall_s

    @property
    def gateway_ms(self) -> float:
        """CPU of the gateway per request."""
        return self.gateway_cpu_s * 1e3 / max(1, self.done)

    @property
    def database_ms(self) -> float:
        """CPU of the database per request."""
        return self.database_cpu_s * 1e3 / max(1, self.done)

    @property
    def ms_per_1000_chunks(self) -> float:
        """CPU of the gateway per thousand chunks, their requests included."""
        return self.gateway_cpu_s * 1e6 / max(1, self.chunks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """A closed loop of `connections`, for a number of requests or of seconds."""

    connections: int
    requests: int | None = None
    seconds: float = 60.0
    stream: bool = False
    path: str = CHAT


def run(tools: Tools, gateway: Gateway, provider_port: int, load: Load) -> Phase:
    """Send the load and return its result."""
    asked(provider_port, "/reset")
    before = cpu_s(gateway.pid), cpu_s(gateway.database_pid)
    report = _sent(tools, gateway, load)
    after = cpu_s(gateway.pid), cpu_s(gateway.database_pid)
    good = report["status"].get("200", 0)
    return Phase(
        done=good,
        failed=report["done"] - good + report["errors"] + report["unanswered"],
        wall_s=report["wall"],
        p50_ms=report["p50"],
        p99_ms=report["p99"],
        first_byte_p50_ms=report["ttfb50"],
        gateway_cpu_s=after[0] - before[0],
        database_cpu_s=after[1] - before[1],
        chunks=asked(provider_port, "/count")["chunks"],
        resident_mib=resident_mib(gateway.pid),
    )


def in_turns(
    tools: Tools, gateways: Sequence[Gateway], provider_port: int, load: Load, *, rounds: int
) -> list[Phase]:
    """Send the load to each gateway in turn, repeatedly; return the total of each.

    A machine's speed may change by two within minutes. What is measured in turns is compared all
    the same.
    """
    phases: list[list[Phase]] = [[] for _ in gateways]
    for _ in range(rounds):
        for gateway, of_it in zip(gateways, phases, strict=True):
            of_it.append(run(tools, gateway, provider_port, load))
    return list(map(_together, phases))


def _together(phases: Sequence[Phase]) -> Phase:
    return Phase(
        done=sum(phase.done for phase in phases),
        failed=sum(phase.failed for phase in phases),
        wall_s=sum(phase.wall_s for phase in phases),
        p50_ms=median(phase.p50_ms for phase in phases),
        p99_ms=median(phase.p99_ms for phase in phases),
        first_byte_p50_ms=median(phase.first_byte_p50_ms for phase in phases),
        gateway_cpu_s=sum(phase.gateway_cpu_s for phase in phases),
        database_cpu_s=sum(phase.database_cpu_s for phase in phases),
        chunks=sum(phase.chunks for phase in phases),
        resident_mib=phases[-1].resident_mib,
    )


def configure(
    provider_port: int, *, latency_ms: float = 0, gap_ms: float = 0, chunks: int = 50
) -> None:
    """Configure how the provider answers."""
    how = f"latency_ms={latency_ms}&gap_ms={gap_ms}&chunks={chunks}"
    asked(provider_port, f"/config?{how}")


def _sent(tools: Tools, gateway: Gateway, load: Load) -> Any:
    command = [str(tools.load), "-p", str(gateway.port), "-u", load.path]
    command += ["-c", str(load.connections), "-b", json.dumps(_body(load))]
    command += ["-n", str(load.requests)] if load.requests else []
    command += ["-d", str(load.seconds)]
    command += ["-H", f"Authorization: Bearer {gateway.key}"] if gateway.key else []
    command += [word for header in gateway.headers for word in ("-H", header)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LOAD_MAX_S, check=False)
    if done.returncode:
        raise SystemExit(f"the load client failed: {done.stderr.strip()}")
    return json.loads(done.stdout)


def _body(load: Load) -> dict[str, Any]:
    body: dict[str, Any] = {"model": "gpt-4o-mini", "messages": MESSAGES}
    if load.path == NATIVE:
        return {**body, "maxTokens": 64, "stream": load.stream}
    body |= {"max_tokens": 64}
    if load.stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return body

"""The command that measures the worst of other tenants works; what it measures is its own run's."""

from __future__ import annotations

import argparse
import subprocess
import sys

import pytest

from tests.system.processes import ROOT
from tests.system.servers import clean_environment
from tests.worst.__main__ import Result
from tests.worst.measuring import Neighbour

RUN_MAX_S = 900
LIMITS = argparse.Namespace(p99_ms=250, memory_mib=400)


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.worst", *arguments],
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=RUN_MAX_S,
        check=False,
    )


@pytest.mark.long
def test_command_attacks_and_prints_latencies_of_other_tenant() -> None:
    limits = ("--p99-ms", "30000", "--memory-mib", "4000")
    done = _run("key", "--only", "small_values", "--seconds", "2", "--requests", "400", *limits)

    assert done.returncode == 0, done.stdout + done.stderr
    titles, quiet, attacked, verdict = done.stdout.splitlines()
    assert titles.split()[:5] == ["attacker", "attack", "p50", "p99", "max"]
    assert quiet.startswith("no one")
    attacker, attack, p50_ms, p99_ms, max_ms, failures, memory_mib, _, passed = attacked.split()
    assert (attacker, attack, failures, passed) == ("key", "small_values", "0", "ok")
    assert 0 < int(p50_ms) <= int(p99_ms) <= int(max_ms)
    assert int(memory_mib) > 50
    assert verdict == "No limit was passed"


@pytest.mark.parametrize(
    ("latency_ms", "failures", "peak_mib", "disk_kib", "passed"),
    [
        (250, 0, 400, 64, []),
        (251, 0, 400, 64, ["p99"]),
        (250, 1, 400, 64, ["failures"]),
        (250, 0, 401, 64, ["memory"]),
        (250, 0, 400, 65, ["disk"]),
    ],
)
def test_each_limit_is_passed_beyond_its_value(
    latency_ms: float, failures: int, peak_mib: float, disk_kib: float, passed: list[str]
) -> None:
    neighbour = Neighbour("http://server", "key", [1.0] * 99 + [latency_ms] * 2, failures)
    result = Result(
        attacker="key", attack="calls", neighbour=neighbour, peak_mib=peak_mib, disk_kib=disk_kib
    )

    assert result.passed(LIMITS) == passed

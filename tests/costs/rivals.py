"""Race competing processes (`tests.costs.rival`) on one database."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from django.conf import settings


def raced(database_url: str, wanted: Mapping[str, Any], *, processes: int) -> list[Any]:
    """Start so many processes, let them reserve what is wanted at once; return their results."""
    rivals = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.costs.rival"],
            cwd=settings.BASE_DIR,
            env=os.environ | {"DATABASE_URL": database_url},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(processes)
    ]
    for rival in rivals:
        _send(rival, json.dumps(wanted))
    assert [_received(rival) for rival in rivals] == ["ready"] * processes
    for rival in rivals:
        _send(rival, "go")
    results = [json.loads(_received(rival)) for rival in rivals]
    for rival in rivals:
        rival.communicate(timeout=120)
    return results


def _send(rival: subprocess.Popen[str], line: str) -> None:
    assert rival.stdin is not None
    rival.stdin.write(line + "\n")
    rival.stdin.flush()


def _received(rival: subprocess.Popen[str]) -> str:
    assert rival.stdout is not None
    return rival.stdout.readline().strip()

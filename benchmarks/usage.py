"""CPU and memory of processes, read from /proc, and the latency of durable writes."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Final

TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


def cpu_s(pid: int) -> float:
    """Return the CPU seconds of a process tree so far, dead children included; 0 for no process."""
    return sum(sum(map(int, fields[11:15])) for fields in _stats(pid)) / TICKS_PER_S


def resident_mib(pid: int) -> float:
    """Return the memory of a process tree, in MiB."""
    pages = 0
    for each in _tree(pid):
        try:
            pages += int(Path(f"/proc/{each}/statm").read_text().split()[1])
        except OSError:
            continue
    return pages * PAGE_BYTES / 2**20


def fdatasync_ms(folder: Path) -> float:
    """Return the median time of 200 durable writes of 8 KiB, as a commit waits for them."""
    times_s: list[float] = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(200):
            file.write(bytes(8192))
            file.flush()
            started_s = time.perf_counter()
            os.fdatasync(file.fileno())
            times_s.append(time.perf_counter() - started_s)
    return statistics.median(times_s) * 1e3


def _stats(pid: int) -> list[list[str]]:
    found = (_stat(each) for each in _tree(pid))
    return [fields for fields in found if fields]


def _stat(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return []


def _tree(root: int) -> list[int]:
    if not root:
        return []
    children: dict[int, list[int]] = defaultdict(list)
    for name in filter(str.isdigit, os.listdir("/proc")):
        fields = _stat(int(name))
        if fields:
            children[int(fields[1])].append(int(name))
    found, todo = [], [root]
    while todo:
        pid = todo.pop()
        found.append(pid)
        todo += children[pid]
    return found

"""Seeds faults into a copy of the ledger and checks that its tests fail.

`python -m tests.seeded_faults` prints a table and exits non-zero when a fault goes unseen. It runs
on the database that DATABASE_URL names; a test counts only if such a fault makes it fail.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ("manage.py", "pyproject.toml", "pulse", "orgs", "costs", "gateway", "tests")
LINKED = ("templates", "static")  # linked, since nothing breaks them
TIMEOUT_S = 300
SOME_FAILED = 1  # pytest's exit code; a broken import or a wrong argument has another


@dataclass(frozen=True, slots=True)
class Change:
    """A text in a file and what stands there instead, as often as it occurs."""

    path: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Fault:
    """A way to break the ledger, and the tests of which at least one must fail.

    With a `database`, which its URL begins with, only that one can be broken so.
    """

    name: str
    changes: tuple[Change, ...]
    tests: tuple[str, ...]
    database: str = ""


FAULTS = (
    Fault(
        "no row lock",
        (
            Change("costs/ledger/stores/postgres.py", " FOR NO KEY UPDATE", ""),
            Change("costs/ledger/stores/sqlite.py", '"BEGIN IMMEDIATE"', '"BEGIN"'),
        ),
        ("tests/costs/ledger/test_ledger_race.py",),
    ),
    Fault(
        "settle without a lock",
        (
            Change(
                "costs/ledger/stores/postgres.py",
                'ORDER BY id FOR NO KEY UPDATE"',
                "ORDER BY id {'FOR NO KEY UPDATE' * (kind is OrganizationRow)}\"",
            ),
        ),
        ("tests/costs/ledger/test_ledger_processes.py",),
        database="postgres",
    ),
    Fault(
        "settle in two transactions",
        (
            Change(
                "costs/ledger/batch.py",
                "        store.insert(HOLD, self.holds)\n",
                "        store.commit()\n        store.begin()\n"
                "        store.insert(HOLD, self.holds)\n",
            ),
        ),
        ("tests/costs/ledger/test_ledger_failures.py",),
    ),
    Fault(
        "release on expiry",
        (Change("costs/ledger/reaper.py", "outcome=State.UNKNOWN", "outcome=State.RELEASED"),),
        ("tests/costs/ledger/test_reaper.py",),
    ),
    Fault(
        "grow without a check",
        (
            Change(
                "costs/ledger/growing.py",
                "(left_nanoeur is None or more_nanoeur <= left_nanoeur)",
                "(left_nanoeur is None or left_nanoeur >= 0)",
            ),
        ),
        ("tests/costs/ledger/test_growth_race.py",),
    ),
    Fault(
        "no trigger",
        tuple(
            Change(
                f"costs/migrations/{migration}.py",
                '"NEW.limit_nanoeur IS NOT NULL AND ',
                '"1 = 0 AND NEW.limit_nanoeur IS NOT NULL AND ',
            )
            for migration in ("0002_walls", "0003_daily_cost")  # where SQLite has it again
        ),
        ("tests/costs/ledger/test_walls.py",),
    ),
)


def main() -> int:
    """Try the tests on what is sound, then on each fault; return the exit code."""
    url = os.environ.get("DATABASE_URL", "")
    faults = [fault for fault in FAULTS if url.startswith(fault.database)]
    everything = sorted({test for fault in faults for test in fault.tests})
    rows = [("nothing", *_tried(Fault("nothing", (), tuple(everything))))]
    rows += [(fault.name, *_tried(fault)) for fault in faults]
    _print_table(rows)
    sound, *broken = [failed for _, failed, _ in rows]
    return 0 if not sound and all(broken) else 1


def _tried(fault: Fault) -> tuple[bool, str]:
    """Return whether the tests failed on a copy with the fault, and their message."""
    with tempfile.TemporaryDirectory(prefix="pulse-fault-") as folder:
        copy = Path(folder)
        _copy_to(copy)
        for change in fault.changes:
            apply(change, copy)
        run = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *fault.tests],
            cwd=copy,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    failed = re.search(r"^FAILED \S+::(\S+)", run.stdout, re.MULTILINE)
    if run.returncode != (SOME_FAILED if failed else 0):  # an error in a fixture is no failed test
        raise SystemExit(f"{fault.name}: pytest itself failed\n{run.stdout}{run.stderr}")
    return failed is not None, failed[1] if failed else "all pass"


def apply(change: Change, folder: Path) -> None:
    """Make the change in the copy. Raises SystemExit when its text is not there any more."""
    path = folder / change.path
    text = path.read_text()
    if change.old not in text:
        raise SystemExit(f"{change.path} does not contain {change.old!r}: adapt the fault")
    path.write_text(text.replace(change.old, change.new))


def _copy_to(folder: Path) -> None:
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    for name in LINKED:
        (folder / name).symlink_to(ROOT / name)


def _print_table(rows: Iterable[tuple[str, bool, str]]) -> None:
    for name, failed, message in rows:
        sys.stdout.write(f"{name:<28}{'fails' if failed else 'passes':<8}{message}\n")


if __name__ == "__main__":
    sys.exit(main())

"""The tests of the ledger detect seeded faults."""

from __future__ import annotations

import subprocess
import sys

import pytest
from django.conf import settings

from tests.seeded_faults import FAULTS

pytestmark = pytest.mark.both_databases


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_seeded_fault_still_changes_code(fault: object) -> None:
    changes = getattr(fault, "changes", ())
    assert changes
    for change in changes:
        assert change.old in (settings.BASE_DIR / change.path).read_text()


@pytest.mark.long
@pytest.mark.django_db  # so that it runs on each database
def test_every_seeded_fault_fails_test() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "tests.seeded_faults"],
        cwd=settings.BASE_DIR,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr

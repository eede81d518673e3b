"""Print the findings of the verifying commands, and fail where there are any."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandError, OutputWrapper

from costs.ledger.verify import Finding


def write_findings(  # noqa: PLR0913  the parts of one report
    out: OutputWrapper,
    findings: Sequence[Finding],
    *,
    notes: Sequence[Finding],
    looked_at: Mapping[str, Any],
    summary: Sequence[str],
    format: str,
) -> None:
    """Write one line per finding, then the summary. Raises CommandError when there is a finding."""
    if format == "json":
        report = {
            "agrees": not findings,
            "lookedAt": looked_at,
            "findings": [asdict(finding) for finding in findings],
            "notes": [asdict(note) for note in notes],
        }
        out.write(json.dumps(report, indent=2))
    else:
        for finding in findings:
            out.write(f"DIFFERENCE {finding.check}: {finding.sentence}")
        for note in notes:
            out.write(f"note {note.check}: {note.sentence}")
        for line in summary:
            out.write(line)
        out.write("no differences found" if not findings else f"{len(findings)} differences")
    if findings:
        raise CommandError("Differences found", returncode=1)

"""One kind of public report."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One kind of public report: what went wrong elsewhere, and what is right."""

    kind: str
    report: str
    right: str
    source: str
    test: str

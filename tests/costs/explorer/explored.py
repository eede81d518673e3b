"""Costs of days in June, grouped."""

from __future__ import annotations

from datetime import date
from typing import Any

from costs.core.calendar.date_ranges import DateRange
from costs.core.cost_query import CostQuery
from costs.explorer import reports
from costs.explorer.names import DimensionNames
from costs.explorer.reports import CostReport
from orgs.models import Organization

JUNE = DateRange(date(2025, 6, 1), date(2025, 6, 30))


def explored(organization: Organization, *group_by: str, **options: Any) -> CostReport:
    """Return June 2025 of the organization."""
    query = CostQuery(date_range=JUNE, group_by=group_by or ("model",), **options)
    return reports.explore(query=query, names=DimensionNames(organization.pk))


def amounts(report: CostReport) -> dict[str | None, int]:
    return {group.values[0]: group.sums.amount_nanoeur for group in report.groups}

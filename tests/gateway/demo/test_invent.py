"""Generated requests have the same rows as those of the gateway."""

from __future__ import annotations

import pytest
from django.core.management import CommandError
from pytest_django import Settings

from costs.models import CostEvent
from gateway.models import AiRequestLog
from orgs.models import Organization
from tests.commands import output_of
from tests.costs.books import check_the_books

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]


def invent(*arguments: str) -> str:
    output_of("prices", "load")
    return output_of("invent", "year", *arguments)


def test_invented_requests_have_consistent_ledger() -> None:
    assert "Generated 900 requests over 12 days" in invent("--requests", "900", "--days", "12")
    assert AiRequestLog.objects.count() == 900
    kinds = set(CostEvent.objects.values_list("kind", flat=True))
    assert kinds == {"usage", "bound", "estimate", "correction"}
    estimates = AiRequestLog.objects.filter(estimated_nanoeur__gt=0)
    assert set(estimates.values_list("status", flat=True)) == {"ok", "unknown"}
    check_the_books()


def test_command_is_refused_in_production(settings: Settings) -> None:
    settings.LOCAL = False
    with pytest.raises(CommandError, match="production"):
        invent("--requests", "1")
    assert Organization.objects.count() == 0


def test_existing_organization_is_refused() -> None:
    Organization.objects.create(name="Year", slug="year")
    with pytest.raises(CommandError, match="already exists"):
        invent("--requests", "1")
    assert AiRequestLog.objects.count() == 0

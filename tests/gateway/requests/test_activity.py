"""The last 24 hours: counts, sums and chart from the same rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from gateway.requests.activity import HOURS, MODELS_MAX, Group, last_day, summed
from gateway.requests.activity_chart import hour_chart
from orgs.models import Organization
from tests.factories import AiRequestLogFactory

pytestmark = pytest.mark.both_databases

NOON = datetime(2025, 6, 15, 10, tzinfo=UTC)
PARIS = ZoneInfo("Europe/Paris")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("number", "p95"), [(0, None), (1, 1), (2, 2), (20, 19), (21, 20), (100, 95)]
)
def test_latency_is_95th_percentile(acme: Organization, number: int, p95: int | None) -> None:
    for latency_ms in [None, *range(number, 0, -1)]:
        AiRequestLogFactory.create(org=acme, occurred_at=NOON, status="ok", latency_ms=latency_ms)
    assert last_day(organization_id=acme.pk, moment=NOON).latency_p95_ms == p95


@pytest.mark.django_db
def test_hours_do_not_overlap(acme: Organization) -> None:
    for hours, later in ((1, 0), (1, 1), (23, 0), (23, 1)):
        at = NOON - timedelta(hours=hours) + timedelta(microseconds=later)
        AiRequestLogFactory.create(org=acme, occurred_at=at, cost_nanoeur=7)
    [model] = last_day(organization_id=acme.pk, moment=NOON).models
    assert (model.hours[0], model.hours[1], model.hours[22], model.hours[23]) == (7, 7, 7, 7)


@pytest.mark.django_db
def test_newest_requests_of_many_are_counted(acme: Organization) -> None:
    moments = [NOON - timedelta(minutes=minute) for minute in range(5)]
    for at in moments:
        AiRequestLogFactory.create(org=acme, occurred_at=at)
    found = last_day(organization_id=acme.pk, moment=NOON, most=3)
    assert (found.requests, found.is_cut, found.since) == (3, True, moments[2])


@pytest.mark.django_db
def test_only_last_24_hours_of_organization_count(acme: Organization, globex: Organization) -> None:
    day = timedelta(hours=24)
    for org, ago in (
        (acme, timedelta(0)),
        (acme, day - timedelta(microseconds=1)),
        (acme, day),
        (acme, -timedelta(microseconds=1)),
        (globex, timedelta(0)),
    ):
        AiRequestLogFactory.create(org=org, occurred_at=NOON - ago)
    found = last_day(organization_id=acme.pk, moment=NOON)
    assert (found.requests, found.is_cut, found.since) == (2, False, NOON - day)
    [model] = found.models
    assert (model.hours[0], model.hours[-1]) == (2_328, 2_328)
    assert found.nanoeur == sum(model.hours) == 2 * 2_328


@pytest.mark.django_db
def test_statuses_are_counted_and_latency_covers_only_answers(acme: Organization) -> None:
    for status in ("ok", "blocked", "error", "unknown", "pending"):
        AiRequestLogFactory.create(
            org=acme, occurred_at=NOON, status=status, latency_ms=10 if status == "ok" else 9_000
        )
    found = last_day(organization_id=acme.pk, moment=NOON)
    counted = (found.requests, found.blocked, found.failed, found.unknown, found.latency_p95_ms)
    assert counted == (5, 1, 1, 1, 10)


def groups(*costs: tuple[str, int], hour: int = HOURS - 1) -> list[Group]:
    return [(hour, "ok", model, 1, cost) for model, cost in costs]


def test_cheaper_models_share_one_line() -> None:
    many = groups(*((f"m-{n}", n) for n in range(1, MODELS_MAX + 3)))
    found = summed(many, since=NOON)
    assert [model.model for model in found.models] == ["m-7", "m-6", "m-5", "m-4", "m-3", None]
    assert (found.models[-1].requests, found.models[-1].nanoeur) == (2, 1 + 2)
    assert sum(model.nanoeur for model in found.models) == found.nanoeur


def test_bars_of_hour_are_stacked() -> None:
    found = summed(groups(("a", 300), ("b", 100)), since=NOON)
    chart = hour_chart(found, moment=NOON, zone=PARIS)
    assert chart is not None
    a, b = chart.bars
    assert (a.x, a.y, a.height, a.colour) == (f"{HOURS - 0.9:.1f}", "25.00", "75.00", 1)
    assert (b.y, b.height, b.colour) == ("0.00", "25.00", 2)
    assert a.text == "11:00 to 12:00, a: 0.0000003\N{NO-BREAK SPACE}€"
    assert "highest: 11:00 to 12:00" in chart.summary


def test_empty_chart_is_omitted() -> None:
    assert hour_chart(summed([], since=NOON), moment=NOON, zone=PARIS) is None
    assert hour_chart(summed(groups(("m", 0)), since=NOON), moment=NOON, zone=PARIS) is None

"""The explorer's page: contents, links and field errors."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.test import Client
from django.utils.timezone import now
from pytest_django import DjangoAssertNumQueries

from costs.core.calendar.periods import local_day
from costs.explorer.page import ExplorerPage
from costs.explorer.reports import Sums
from costs.explorer.table import Line
from orgs.models import Organization, User
from tests.cast import CLIENTS
from tests.costs.charges import charge
from tests.factories import ApiKeyFactory

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]

JUNE = "from=2025-06-01&to=2025-06-30"


@pytest.fixture
def person(client_for: CLIENTS, member_user: User) -> Client:
    """A member's browser."""
    return client_for(member_user)


def shown(person: Client, query: str) -> ExplorerPage:
    page: ExplorerPage = person.get(f"/costs?{query}").context["page"]
    return page


def html_of(person: Client, query: str, **headers: Any) -> str:
    return person.get(f"/costs?{query}", headers=headers).content.decode()


def test_page_shows_exact_totals(
    acme: Organization, client_for: CLIENTS, auditor_user: User
) -> None:
    charge(acme, 1_234_567_891, team_id="blue", occurred_at=datetime.now(UTC))
    page = html_of(client_for(auditor_user), "teamId=blue&groupBy=team")
    assert (
        '<data value="1234567891" title="1.234567891 EUR exactly">1.23\N{NO-BREAK SPACE}€' in page
    )
    for name in ("Group by", "Apply", "Download CSV"):
        assert name in page


def test_estimated_part_is_shown_in_total_and_lines_with_link(
    acme: Organization, person: Client
) -> None:
    charge(acme, 700, estimated_nanoeur=500, team_id="研究チーム", kind="estimate")
    charge(acme, 11, team_id="blue")
    page = shown(person, f"{JUNE}&groupBy=team")
    assert page.report.total.estimated_nanoeur == 500
    assert [line.estimated_nanoeur for line in page.lines] == [500, 0]
    html = html_of(person, f"{JUNE}&groupBy=team&provider=openai&keyId=")
    assert html.count('<data value="500"') == 3  # below the total, its line, the last line
    query = "estimated=yes&amp;from=2025-06-01&amp;to=2025-06-30&amp;provider=openai"
    assert f'<a href="/admin/ai?{query}">Show these requests</a>' in html
    assert ">Estimated</span></th>" in html


def test_link_to_estimates_is_omitted_if_request_list_has_no_such_filter(
    acme: Organization, person: Client
) -> None:
    for model in ("gpt-4o", "gpt-4o-2024-08-06", "gpt-4"):
        charge(acme, 700, estimated_nanoeur=700, model=model)
    for query in ("model=gpt-4o", "without=teamId"):
        assert shown(person, f"{JUNE}&{query}").estimates_href is None
        html = html_of(person, f"{JUNE}&{query}")
        assert "usage or price unknown, or the hour not over." in html
        assert "Show these requests" not in html
    assert "model=gpt-4&" in (shown(person, f"{JUNE}&model=GPT-4&teamId=a").estimates_href or "")


def test_page_without_estimates_does_not_mention_them(acme: Organization, person: Client) -> None:
    charge(acme, 11)
    assert "estimated" not in html_of(person, JUNE).lower()


def test_hundred_lines_and_rest_have_estimates(acme: Organization, person: Client) -> None:
    names = [f"{number:03d} {'отдел исследований ' * 6}"[:128] for number in range(102)]
    for number, name in enumerate(names):
        charge(acme, 1000 - number, estimated_nanoeur=number, app_id=name)
    page = shown(person, f"{JUNE}&groupBy=app")
    assert [line.estimated_nanoeur for line in page.lines] == [*range(100), 100 + 101]
    assert page.report.total.estimated_nanoeur == sum(range(102))


def test_page_needs_few_queries(
    acme: Organization, person: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    key = ApiKeyFactory.create(org=acme)
    for number in range(20):
        moment = now() - timedelta(days=number)
        charge(acme, number, occurred_at=moment, user_id="someone", key_id=key.pk)
    for query in ("groupBy=user&thenBy=key", "groupBy=day&thenBy=user", f"keyId={key.pk}"):
        with django_assert_max_num_queries(12):
            assert person.get(f"/costs?{query}&userId=someone").status_code == 200


def test_values_of_callers_are_escaped(acme: Organization, person: Client) -> None:
    charge(acme, 5, team_id="<script>alert(1)</script>", occurred_at=datetime.now(UTC))
    page = html_of(person, "groupBy=team")
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_page_has_no_inline_script_or_style(acme: Organization, person: Client) -> None:
    charge(acme, 5, occurred_at=datetime.now(UTC))
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", html_of(person, ""))


@pytest.mark.parametrize(
    "query",
    [
        "from=yesterday",
        "from=2025-02-30",
        "from=0001-01-01&to=9999-12-31",
        "from=2025-06-02&to=2025-06-01",
        "groupBy=password",
        "thenBy=password",
        "period=forever",
        "compare=unknown",
        "without=password",
        "keyId=1",
        "source=EVERYTHING",
        "teamId=" + "x" * 129,
        "model=%00",
        f"{JUNE}&period=7d",
        "to=2025-06-30&period=today",
        "teamId=a&without=teamId",
    ],
)
def test_invalid_value_is_error_at_its_field(person: Client, query: str) -> None:
    response = person.get(f"/costs?{query}")
    assert response.status_code == 400
    name = query.partition("=")[0]
    assert re.search(rf'id="id_{name}_error"', response.content.decode())
    assert person.get(f"/costs.csv?{query}").status_code == 400
    assert next(iter(person.get(f"/costs.json?{query}").json()["errors"])) == name


def test_empty_page_has_explanation(person: Client) -> None:
    assert "send a request" in html_of(person, "")
    assert "reset all filters" in html_of(person, "teamId=unknown")


def test_anonymous_visitor_is_redirected_to_sign_in(client: Client, db: None) -> None:
    for path in ("/costs", "/costs.csv", "/costs.json"):
        assert client.get(path).headers["Location"] == f"/login?next={path}"


def test_url_works_with_and_without_slash(person: Client) -> None:
    assert person.get("/costs").status_code == 200
    assert person.get("/costs/?groupBy=day", follow=True).request["QUERY_STRING"] == "groupBy=day"


def test_htmx_gets_partial_and_history_restore_gets_page(person: Client) -> None:
    part = person.get("/costs", headers={"HX-Request": "true"})
    assert b"<html" not in part.content
    assert b'id="explorer"' in part.content
    assert "HX-Request" in part.headers["Vary"]
    restored = {"HX-Request": "true", "HX-History-Restore-Request": "true"}
    assert b"<html" in person.get("/costs", headers=restored).content


# --- periods ------------------------------------------------------------------------------------


def test_preset_ends_today(acme: Organization, person: Client) -> None:
    today = local_day(now(), ZoneInfo(acme.timezone))
    page = shown(person, "period=7d")
    assert (page.date_range.first, page.date_range.last) == (today - timedelta(days=6), today)
    [current] = [preset for preset in page.presets if preset.is_current]
    assert current.label == "7 days"
    assert "period=7d" in page.address
    assert "from=" not in page.address


def test_dates_alone_are_custom_period(person: Client) -> None:
    page = shown(person, JUNE)
    assert f"{page.date_range.first} {page.date_range.last}" == "2025-06-01 2025-06-30"
    assert [preset.label for preset in page.presets if preset.is_current] == ["Custom"]
    assert 'name="from" value="2025-06-01"' in html_of(person, JUNE)
    assert 'name="from"' not in html_of(person, "period=30d")


def test_custom_link_starts_with_current_dates(person: Client) -> None:
    page = shown(person, "period=month&groupBy=team")
    custom = page.presets[-1].href
    again = shown(person, custom)
    assert (again.date_range, again.group_labels) == (page.date_range, ("Team",))


def test_month_is_compared_with_previous_month(acme: Organization, person: Client) -> None:
    charge(acme, 150)
    charge(acme, 100, occurred_at=datetime(2025, 5, 1, 12, tzinfo=UTC))
    page = shown(person, JUNE)
    assert page.before is not None
    assert f"{page.before.first} {page.before.last}" == "2025-05-01 2025-05-31"
    assert page.change is not None
    assert page.change.text == "+50.0\N{NO-BREAK SPACE}%"
    assert shown(person, f"{JUNE}&compare=nothing").before is None


def test_previous_period_in_another_year_shows_year(acme: Organization, person: Client) -> None:
    charge(acme, 100)
    shown_at = person.get("/costs?from=2025-06-01&to=2026-05-31").content.decode()
    assert "1 Jun 2024 to 31 May 2025" in " ".join(shown_at.split())
    shown_at = person.get(f"/costs?{JUNE}").content.decode()
    assert "1 May to 31 May 2025" in " ".join(shown_at.split())


def test_forecast_requires_range_up_to_today(acme: Organization, person: Client) -> None:
    for days in range(1, 20):
        charge(acme, 10**9, occurred_at=now() - timedelta(days=days))
    forecast = shown(person, "").forecast
    assert forecast is not None
    assert forecast.low_nanoeur <= forecast.expected_nanoeur <= forecast.high_nanoeur
    assert shown(person, "period=last-month").forecast is None
    assert shown(person, "teamId=unknown").forecast is None


def test_forecast_does_not_depend_on_grouping(acme: Organization, person: Client) -> None:
    for days in range(75):
        charge(acme, 10**9 + days, team_id="blue", occurred_at=now() - timedelta(days=days))
    found = [
        shown(person, f"period=365d&groupBy={group_by}&{more}").forecast
        for group_by in ("team", "day", "day&thenBy=team")
        for more in ("", "teamId=blue")
    ]
    assert found[0] is not None
    assert found == [found[0]] * 6


# --- links --------------------------------------------------------------------------------------


def figures(shown: Line | Sums) -> tuple[int, ...]:
    """Return what a line and the total of a page have in common."""
    tokens = shown.input_tokens or 0, shown.output_tokens or 0
    return shown.amount_nanoeur, shown.requests, *tokens


def test_every_line_links_to_its_own_costs(acme: Organization, person: Client) -> None:
    key = ApiKeyFactory.create(org=acme)
    charge(acme, 5, team_id="a&b=c", app_id="x", key_id=key.pk)
    charge(acme, 3, team_id=None, model="o3")
    for group_by in ("team", "app", "model", "provider", "day", "key"):
        for line in shown(person, f"groupBy={group_by}&{JUNE}").lines:
            page = shown(person, line.cells[0].href)
            assert figures(page.report.total) == figures(line), group_by


def test_line_of_two_dimensions_links_to_both(acme: Organization, person: Client) -> None:
    for team, app, amount in (("blue", "x", 5), ("blue", "y", 7), (None, "x", 11)):
        charge(acme, amount, team_id=team, app_id=app)
    for line in shown(person, f"groupBy=team&thenBy=app&{JUNE}").lines:
        first, second = line.cells
        assert figures(shown(person, second.href).report.total) == figures(line)
        assert shown(person, first.href).group_labels == ("App",)


def test_active_filter_can_be_removed(acme: Organization, person: Client) -> None:
    charge(acme, 5, team_id="blue")
    charge(acme, 3, model="gpt-4o-mini-2024-07-18")
    page = shown(person, f"{JUNE}&model=gpt-4o-mini&without=teamId&source=AI")
    assert [(chip.name, chip.value) for chip in page.chips] == [
        ("Model", "gpt-4o-mini"),
        ("Team", "(none)"),
        ("Source", "AI"),
    ]
    assert page.chips[0].also == "and 1 dated snapshot"
    assert page.report.total.amount_nanoeur == 3
    assert shown(person, page.chips[1].href).report.total.amount_nanoeur == 8


def test_user_can_be_filtered_by_email(
    acme: Organization, person: Client, admin_user: User
) -> None:
    charge(acme, 5, user_id=str(admin_user.pk))
    charge(acme, 3)
    assert shown(person, f"{JUNE}&userId={admin_user.email}").report.total.amount_nanoeur == 5
    assert shown(person, f"{JUNE}&userId={admin_user.pk}").chips[0].value == admin_user.email


def test_day_comes_first_and_duplicate_grouping_is_dropped(
    acme: Organization, person: Client
) -> None:
    charge(acme, 5)
    assert shown(person, f"{JUNE}&groupBy=team&thenBy=day").group_labels == ("Day", "Team")
    assert shown(person, f"{JUNE}&groupBy=team&thenBy=team").group_labels == ("Team",)


# --- chart --------------------------------------------------------------------------------------


def test_legend_filters_and_adds_up(acme: Organization, person: Client) -> None:
    for number in range(1, 11):
        charge(acme, number, team_id=f"t{number}")
    page = shown(person, f"{JUNE}&groupBy=team")
    assert [entry.label for entry in page.legend][-2:] == ["t4", "Others"]
    assert sum(entry.amount_nanoeur for entry in page.legend) == 55
    hrefs = [unescape(entry.href) for entry in page.legend if entry.href]
    assert [shown(person, href).report.total.amount_nanoeur for href in hrefs] == [
        *range(10, 3, -1)
    ]


@pytest.mark.parametrize(
    ("to", "bucket", "bars"),
    [("2025-06-30", "day", 30), ("2025-11-30", "week", 27), ("2025-12-31", "month", 7)],
)
def test_bars_widen_to_weeks_and_months(
    acme: Organization, person: Client, to: str, bucket: str, bars: int
) -> None:
    charge(acme, 5)
    chart = shown(person, f"from=2025-06-01&to={to}&groupBy=day").chart
    assert chart is not None
    assert (chart.bucket, len(chart.bars)) == (bucket, bars)


def test_no_costs_draw_no_chart(acme: Organization, person: Client) -> None:
    charge(acme, -5)
    assert shown(person, JUNE).chart is None

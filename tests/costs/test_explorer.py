"""The cost explorer: every figure is the ledger's, for every filter and every dimension."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from costs import reports
from costs.models import CostEvent
from costs.reports import GROUP_COLUMNS, GROUPS_MAX, CostQuery, CostReport, share_percent
from orgs.models import Organization, User
from tests.factories import CostEventFactory

pytestmark = pytest.mark.django_db

CLIENTS = Callable[[User], Client]
NOON = datetime(2025, 6, 10, 12, tzinfo=UTC)


def explored(organization: Organization, group_by: str = "model", **filters: str) -> CostReport:
    """Return June 2025 of the organization."""
    return reports.explore(
        organization_id=organization.pk,
        zone=ZoneInfo(organization.timezone),
        query=CostQuery(
            first_day=date(2025, 6, 1), last_day=date(2025, 6, 30), group_by=group_by, **filters
        ),
    )


def amounts(report: CostReport) -> dict[str | None, int]:
    return {group.value: group.sums.amount_nanoeur for group in report.groups}


def charge(organization: Organization, amount_nanoeur: int, **said: object) -> CostEvent:
    return CostEventFactory.create(
        org=organization, **{"occurred_at": NOON, "amount_nanoeur": amount_nanoeur} | said
    )


def test_lines_of_every_dimension_add_up_to_the_ledger(acme: Organization) -> None:
    amounts_nanoeur = [1, 2, 999_999_999, 10**15 + 7, -3]
    for number, amount in enumerate(amounts_nanoeur):
        said = f"x{number % 3}" if number % 3 else None
        columns = set(GROUP_COLUMNS.values()) - {"occurred_at", "model", "provider"}
        charge(acme, amount, **dict.fromkeys(columns, said), model=f"m{number % 2}")
    for group_by in GROUP_COLUMNS:
        report = explored(acme, group_by)
        assert report.total.amount_nanoeur == sum(amounts_nanoeur)
        assert sum(amounts(report).values()) == sum(amounts_nanoeur)
        assert report.total.events == report.total.requests == 5


def test_a_correction_belongs_to_its_request(acme: Organization) -> None:
    first = charge(acme, 500, kind=CostEvent.Kind.BOUND, input_tokens=None, output_tokens=None)
    charge(acme, -380, kind=CostEvent.Kind.CORRECTION, request_id=first.request_id)
    [group] = explored(acme).groups
    assert (group.sums.amount_nanoeur, group.sums.events, group.sums.requests) == (120, 2, 1)
    assert (group.sums.input_tokens, group.sums.output_tokens) == (9, 2)


def test_days_are_those_of_the_organization(acme: Organization) -> None:
    charge(acme, 1, occurred_at=datetime(2025, 6, 9, 21, 59, 59, 999_999, tzinfo=UTC))
    charge(acme, 10, occurred_at=datetime(2025, 6, 9, 22, tzinfo=UTC))
    charge(acme, 100, occurred_at=datetime(2025, 6, 10, 21, 59, 59, tzinfo=UTC))
    charge(acme, 1000, occurred_at=datetime(2025, 6, 10, 22, tzinfo=UTC))
    by_day = amounts(explored(acme, "day"))
    assert by_day == {"2025-06-11": 1000, "2025-06-10": 110, "2025-06-09": 1}


def test_both_ends_of_a_period_are_in_it_also_when_clocks_change(acme: Organization) -> None:
    # Paris put its clocks forward on 30 March 2025: that day began at 23:00 UTC and had 23 hours.
    for hour, minute, amount in ((22, 59, 1), (23, 0, 10)):
        charge(acme, amount, occurred_at=datetime(2025, 3, 29, hour, minute, tzinfo=UTC))
    for hour, minute, amount in ((21, 59, 100), (22, 0, 1000)):
        charge(acme, amount, occurred_at=datetime(2025, 3, 30, hour, minute, tzinfo=UTC))
    day = date(2025, 3, 30)
    query = CostQuery(first_day=day, last_day=day, group_by="day")
    report = reports.explore(organization_id=acme.pk, zone=ZoneInfo(acme.timezone), query=query)
    assert amounts(report) == {"2025-03-30": 110}


@pytest.mark.parametrize(
    "column",
    ["source", "model", "provider", "user_id", "team_id", "project_id", "app_id", "client_id"],
)
def test_a_filter_leaves_only_what_it_names(acme: Organization, column: str) -> None:
    charge(acme, 7, **{column: "wanted"})
    charge(acme, 100, **{column: "Wanted"})
    charge(acme, 1000)
    assert explored(acme, **{column: "wanted"}).total.amount_nanoeur == 7


def test_another_organizations_costs_are_never_counted(
    acme: Organization, globex: Organization
) -> None:
    charge(globex, 5, team_id="blue")
    assert explored(acme, team_id="blue") == CostReport(
        groups=(), rest=None, rest_groups=0, total=reports.Sums()
    )


def test_lines_beyond_the_most_shown_are_one_line(acme: Organization) -> None:
    CostEvent.objects.bulk_create(
        CostEventFactory.build(
            org=acme, occurred_at=NOON, amount_nanoeur=number, team_id=f"{number}"
        )
        for number in range(1, GROUPS_MAX + 4)
    )
    report = explored(acme, "team")
    assert len(report.groups) == GROUPS_MAX
    assert report.groups[0].value == f"{GROUPS_MAX + 3}"  # the dearest first
    assert report.rest is not None
    assert (report.rest_groups, report.rest.amount_nanoeur) == (3, 1 + 2 + 3)
    assert report.total.amount_nanoeur == sum(range(1, GROUPS_MAX + 4))


def test_a_member_is_shown_by_e_mail_and_nobody_else_is(
    acme: Organization, admin_user: User, stranger: User
) -> None:
    charge(acme, 3, user_id=str(admin_user.pk))
    charge(acme, 2, user_id=str(stranger.pk))
    charge(acme, 1, user_id="alice")
    labels = [group.label for group in explored(acme, "user").groups]
    assert labels == [admin_user.email, str(stranger.pk), "alice"]


@pytest.mark.parametrize(
    ("part", "whole", "shown"),
    [(1, 3, "33.3"), (2, 3, "66.7"), (3, 3, "100.0"), (-1, 4, "-25.0"), (0, 5, "0.0")],
)
def test_shares_are_rounded_to_a_tenth(part: int, whole: int, shown: str) -> None:
    assert share_percent(part, whole) == shown


def test_nothing_has_no_shares() -> None:
    assert share_percent(0, 0) is None


# --- the page -----------------------------------------------------------------------------------


def test_the_page_shows_exact_totals(
    acme: Organization, client_for: CLIENTS, auditor_user: User
) -> None:
    charge(acme, 1_234_567_891, team_id="blue", occurred_at=datetime.now(UTC))
    page = client_for(auditor_user).get("/costs?teamId=blue&groupBy=team").content.decode()
    assert (
        '<data value="1234567891" title="1.234567891 EUR exactly">1.23\N{NO-BREAK SPACE}€' in page
    )
    for name in ("Group by", "Apply", "Download CSV"):
        assert name in page


def test_the_page_needs_few_queries(
    acme: Organization,
    client_for: CLIENTS,
    member_user: User,
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    for number in range(20):
        charge(acme, number, occurred_at=datetime.now(UTC), user_id=str(member_user.pk))
    client = client_for(member_user)
    with django_assert_max_num_queries(7):  # session, user, membership twice, events, people
        assert client.get("/costs?groupBy=user").status_code == 200


def test_what_callers_wrote_is_shown_as_text(
    acme: Organization, client_for: CLIENTS, member_user: User
) -> None:
    charge(acme, 5, team_id="<script>alert(1)</script>", occurred_at=datetime.now(UTC))
    page = client_for(member_user).get("/costs?groupBy=team").content.decode()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


@pytest.mark.parametrize(
    "query",
    [
        "from=yesterday",
        "from=2025-02-30",
        "from=0001-01-01&to=9999-12-31",
        "from=2025-06-02&to=2025-06-01",
        "groupBy=password",
        "source=EVERYTHING",
        "teamId=" + "x" * 129,
        "model=%00",
    ],
)
def test_a_bad_value_is_an_error_at_its_field(
    client_for: CLIENTS, member_user: User, query: str
) -> None:
    client = client_for(member_user)
    response = client.get(f"/costs?{query}")
    assert response.status_code == 200
    name = query.partition("=")[0]
    assert re.search(rf'id="id_{name}_error"', response.content.decode())
    assert client.get(f"/costs.csv?{query}").status_code == 400


def test_unknown_parameters_change_nothing(client_for: CLIENTS, member_user: User) -> None:
    assert client_for(member_user).get("/costs?org_id=1&org__slug=globex").status_code == 200


def test_a_line_leads_to_the_costs_of_it_alone(
    acme: Organization, client_for: CLIENTS, member_user: User
) -> None:
    charge(acme, 5, team_id="a&b=c", occurred_at=datetime.now(UTC))
    charge(acme, 3, team_id=None, occurred_at=datetime.now(UTC))
    client = client_for(member_user)
    found = re.findall(
        r'href="/costs\?([^"]*)"', client.get("/costs?groupBy=team").content.decode()
    )
    [href] = [link for link in found if "teamId" in link]
    response = client.get(f"/costs?{href.replace('&amp;', '&')}")
    assert response.context["report"].total.amount_nanoeur == 5


def test_the_days_of_a_chart_have_a_bar_each(
    acme: Organization, client_for: CLIENTS, member_user: User
) -> None:
    charge(acme, 5)
    url = "/costs?groupBy=day&from=2025-06-01&to=2025-06-30"
    response = client_for(member_user).get(url)
    assert response.context["chart"].days == len(response.context["chart"].bars) == 30


def test_a_stranger_is_asked_to_sign_in(client: Client, db: None) -> None:
    for path in ("/costs", "/costs.csv"):
        assert client.get(path).headers["Location"] == f"/login?next={path}"


def test_both_spellings_of_the_address_work(client_for: CLIENTS, member_user: User) -> None:
    client = client_for(member_user)
    assert client.get("/costs").status_code == 200
    assert client.get("/costs/?groupBy=day", follow=True).request["QUERY_STRING"] == "groupBy=day"

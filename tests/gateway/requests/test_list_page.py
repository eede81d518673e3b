"""Recent requests: models, costs, and the remaining daily limit."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils.timezone import now
from pytest_django import DjangoAssertNumQueries

from gateway.models import AiRequestLog
from gateway.requests import reports
from gateway.requests.reports import REQUESTS_PER_PAGE, Cursor, RequestQuery
from orgs.fields import new_id
from orgs.models import Organization, User
from tests.cast import CLIENTS
from tests.costs.charges import charge
from tests.factories import (
    AiRequestLogFactory,
    ApiKeyFactory,
    PeriodFactory,
    PolicyFactory,
)

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]

REQUESTS = "/admin/ai"


def shown(client: Client, query: str = "") -> list[AiRequestLog]:
    response = client.get(f"{REQUESTS}?{query}" if query else REQUESTS)
    assert response.status_code == 200
    return [line.row for line in response.context["lines"]]


def test_request_shows_time_model_tokens_cost_and_status(
    acme: Organization, client_for: CLIENTS, auditor_user: User
) -> None:
    occurred_at = datetime(2025, 6, 1, 22, 30, 15, 123_456, tzinfo=UTC)
    AiRequestLogFactory.create(org=acme, occurred_at=occurred_at, user_id=str(auditor_user.pk))
    page = client_for(auditor_user).get(REQUESTS).content.decode()
    for heading in ("Time", "Model", "Tokens", "Cost", "Status"):
        assert re.search(rf"<th[^>]*>{heading}</th>", page)
    assert (
        '<time datetime="2025-06-01T22:30:15.123456+00:00" title="2025-06-01 22:30:15.123456 UTC">'
        "2 Jun 2025, 00:30:15</time>"  # Paris
    ) in page
    assert "gpt-4o-mini" in page
    assert "9 in, 2 out" in page
    assert '<data value="2328" title="0.000002328 EUR exactly">0.000002328' in page
    assert re.search(r'<span class="status good">.*</span> ok</span>', page)
    assert auditor_user.email in page


def test_estimated_cost_is_marked_in_words_and_filtered(
    acme: Organization, client_for: CLIENTS, member_user: User
) -> None:
    estimate = AiRequestLogFactory.create(org=acme, status="unknown", estimated_nanoeur=2_328)
    AiRequestLogFactory.create(org=acme, estimated_nanoeur=0)
    client = client_for(member_user)
    page = client.get(REQUESTS).content.decode()
    assert len(re.findall(r'<span title="The usage is unknown[^"]+">estimated</span>', page)) == 1
    assert shown(client, "estimated=yes") == [estimate]


def test_empty_page_has_explanation_and_next_step(client_for: CLIENTS, member_user: User) -> None:
    page = client_for(member_user).get(REQUESTS).content.decode()
    assert "No requests yet" in page
    assert "curl http://testserver/api/ai/request" in page


def test_pages_have_no_gap_or_repeat(
    acme: Organization, client_for: CLIENTS, member_user: User
) -> None:
    same_moment = now()
    AiRequestLog.objects.bulk_create(
        AiRequestLogFactory.build(org=acme, occurred_at=same_moment - timedelta(seconds=n // 40))
        for n in range(2 * REQUESTS_PER_PAGE + 1)
    )
    client, seen, address = client_for(member_user), [], REQUESTS
    for _ in range(3):
        response = client.get(address)
        seen += [line.row.pk for line in response.context["lines"]]
        address = f"{REQUESTS}?{response.context['older']}"
    newest_first = AiRequestLog.objects.order_by("-occurred_at", "-id")
    assert seen == list(newest_first.values_list("id", flat=True))
    assert response.context["older"] is None


def test_new_request_does_not_shift_older_page(
    acme: Organization, client_for: CLIENTS, member_user: User
) -> None:
    for n in range(REQUESTS_PER_PAGE + 1):
        AiRequestLogFactory.create(org=acme, occurred_at=now() - timedelta(minutes=n + 1))
    client = client_for(member_user)
    older = client.get(REQUESTS).context["older"]
    before = shown(client, older)
    AiRequestLogFactory.create(org=acme)
    assert shown(client, older) == before


def test_cursor_survives_url() -> None:
    cursor = Cursor(occurred_at=datetime(2025, 6, 1, 1, 2, 3, 4, tzinfo=UTC), id=new_id())
    assert Cursor.from_text(str(cursor)) == cursor


@pytest.mark.parametrize(
    ("query", "column"),
    [
        ("status=blocked", "status"),
        ("provider=mistral", "provider"),
        ("teamId=blue", "team_id"),
        ("projectId=blue", "project_id"),
        ("appId=blue", "app_id"),
        ("clientId=blue", "client_id"),
        ("userId=blue", "user_id"),
        ("taskType=blue", "task_type"),
        ("model=mistral-large", "model"),
        ("model=mistral/mistral-large", "requested_model"),
    ],
)
def test_filter_keeps_only_matches(
    acme: Organization, client_for: CLIENTS, member_user: User, query: str, column: str
) -> None:
    wanted = AiRequestLogFactory.create(org=acme, **{column: query.partition("=")[2]})
    AiRequestLogFactory.create(org=acme)
    assert shown(client_for(member_user), query) == [wanted]


def test_requests_are_filtered_by_id_and_by_key(
    acme: Organization, client_for: CLIENTS, member_user: User
) -> None:
    key = ApiKeyFactory.create(org=acme, name="nightly report")
    wanted = AiRequestLogFactory.create(org=acme, key_id=key.pk)
    AiRequestLogFactory.create(org=acme)
    client = client_for(member_user)
    assert shown(client, f"requestId={wanted.pk}") == [wanted]
    assert shown(client, f"keyId={key.pk}") == [wanted]
    assert "nightly report" in client.get(REQUESTS).content.decode()


def test_today_starts_at_organization_midnight(
    acme: Organization, client_for: CLIENTS, member_user: User
) -> None:
    today = AiRequestLogFactory.create(org=acme)
    AiRequestLogFactory.create(org=acme, occurred_at=now() - timedelta(days=1, hours=1))
    client = client_for(member_user)
    assert shown(client, "period=today") == [today]
    assert len(shown(client, "period=7d")) == 2


@pytest.mark.parametrize(
    "query",
    [
        "before=x",
        "before=99999999T999999.0_1",
        "before=20250101T000000.000000_no",
        "requestId=1",
        "keyId=%27",
        "status=fine",
        "period=ever",
        "model=" + "x" * 201,
        "teamId=%00",
    ],
)
def test_invalid_value_is_error_at_its_field(
    acme: Organization, client_for: CLIENTS, member_user: User, query: str
) -> None:
    AiRequestLogFactory.create(org=acme)
    response = client_for(member_user).get(f"{REQUESTS}?{query}")
    assert response.status_code == 400
    assert list(response.context["form"].errors) == [query.partition("=")[0]]
    assert 'class="errorlist"' in response.content.decode()
    assert response.context["lines"] == []


def test_requests_of_other_organizations_are_not_listed(
    globex: Organization, client_for: CLIENTS, member_user: User
) -> None:
    row = AiRequestLogFactory.create(org=globex)
    client = client_for(member_user)
    assert shown(client) == shown(client, f"requestId={row.pk}") == []


def test_page_takes_few_queries(
    acme: Organization,
    client_for: CLIENTS,
    member_user: User,
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    key = ApiKeyFactory.create(org=acme)
    for _ in range(10):
        AiRequestLogFactory.create(org=acme, user_id=str(member_user.pk), key_id=key.pk)
    client = client_for(member_user)
    # session, user, membership twice, requests, people, keys, policy, period, last 24 hours, alerts
    with django_assert_max_num_queries(11):
        client.get(REQUESTS)


def test_today_is_shown_with_lowest_limit(
    acme: Organization, client_for: CLIENTS, member_user: User
) -> None:
    euro = 10**9
    PolicyFactory.create(org=acme, name="Wide", max_cost_per_day_nanoeur=50 * euro)
    PolicyFactory.create(org=acme, name="Tight", max_cost_per_day_nanoeur=10 * euro)
    PolicyFactory.create(org=acme, name="Off", max_cost_per_day_nanoeur=1, mode="off")
    moment = now()
    today = {"starts_at": moment - timedelta(hours=1), "ends_at": moment + timedelta(hours=1)}
    PeriodFactory.create(
        org=acme,
        held_nanoeur=3 * euro,
        settled_nanoeur=2 * euro,
        overrun_nanoeur=euro,
        **today,
    )
    yesterday = {"starts_at": moment - timedelta(hours=25), "ends_at": today["starts_at"]}
    PeriodFactory.create(org=acme, settled_nanoeur=99 * euro, **yesterday)
    response = client_for(member_user).get(REQUESTS)
    spend = response.context["spend"]
    assert (spend.policy_name, spend.limit_nanoeur) == ("Tight", 10 * euro)
    assert (spend.charged_nanoeur, spend.held_nanoeur) == (3 * euro, 3 * euro)
    assert spend.left_nanoeur == 4 * euro
    bar = response.context["bar"]
    assert (bar.charged, bar.held_from, bar.held) == ("30.00", "30.00", "30.00")


def test_unused_day_has_whole_limit_left(
    acme: Organization, client_for: CLIENTS, member_user: User
) -> None:
    PolicyFactory.create(org=acme, max_cost_per_day_nanoeur=7)
    spend = client_for(member_user).get(REQUESTS).context["spend"]
    assert (spend.charged_nanoeur, spend.held_nanoeur, spend.left_nanoeur) == (0, 0, 7)


def test_page_warns_when_gateway_is_off(
    acme: Organization, client_for: CLIENTS, member_user: User
) -> None:
    acme.ai_gateway_enabled = False
    acme.save()
    assert "every request is refused" in client_for(member_user).get(REQUESTS).content.decode()


def test_caller_values_are_escaped(
    acme: Organization, client_for: CLIENTS, member_user: User
) -> None:
    AiRequestLogFactory.create(org=acme, team_id="<img src=x>", model="<b>", user_id="<i>")
    page = client_for(member_user).get(REQUESTS).content.decode()
    assert not re.search(r"<img src=x>|<b>|<i>", page)


# --- from and to --------------------------------------------------------------------------------


@pytest.fixture
def times(acme: Organization) -> dict[str, AiRequestLog]:
    """Requests at these times of Paris, the organization's zone, on the winter's 10 January."""
    return {
        text: AiRequestLogFactory.create(
            org=acme, occurred_at=datetime.fromisoformat(f"2026-01-10T{text}+01:00")
        )
        for text in ("00:00:00", "14:29:59.999999", "14:30:00", "14:59:59.999999", "15:00:00")
    }


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("from=2026-01-10T14:30&to=2026-01-10T15:00", ["14:59:59.999999", "14:30:00"]),
        ("from=2026-01-10T13:30Z&to=2026-01-10T14:00:00Z", ["14:59:59.999999", "14:30:00"]),
        ("from=2026-01-10T14:30%2B01:00&to=2026-01-10T14:31", ["14:30:00"]),
        ("to=2026-01-10T14:30", ["14:29:59.999999", "00:00:00"]),
        ("from=2026-01-10T14:59:59.999999", ["15:00:00", "14:59:59.999999"]),
        ("from=2026-01-10&to=2026-01-10&status=ok", list(reversed(list(range(5))))),
        ("to=2026-01-09", []),
        ("from=2026-01-11", []),
    ],
)
def test_from_is_inclusive_and_to_exclusive(
    times: dict[str, AiRequestLog],
    client_for: CLIENTS,
    member_user: User,
    query: str,
    found: list[str | int],
) -> None:
    names = list(times)
    expected = [times[each if isinstance(each, str) else names[each]] for each in found]
    client = client_for(member_user)
    assert shown(client, query) == expected
    rows = json.loads(client.get(f"/admin/ai/requests.json?{query}").getvalue())
    assert [row["requestId"] for row in rows] == [str(row.pk) for row in expected]


@pytest.mark.parametrize(
    ("query", "field", "sentence"),
    [
        ("from=2026-02-30", "from", "from must be a date that exists, not 2026-02-30."),
        ("to=14:30", "to", "to must be a date, or a date and time, such as"),
        ("from=2026-01-10T14:30&to=2026-01-10T14:30", "from", "from must be before to."),
        ("from=2026-01-11&to=2026-01-10", "from", "from must be before to."),
        ("from=2026-01-10&period=7d", "period", "Choose either a period or from and to."),
        ("from=2025-10-26T02:30", "from", "2025-10-26T02:30+02:00 or 2025-10-26T02:30+01:00"),
        ("to=2026-03-29T02:30", "to", "clocks in Europe/Paris skip 2026-03-29T02:30"),
    ],
)
def test_invalid_moment_is_error_at_its_field(
    client_for: CLIENTS, member_user: User, query: str, field: str, sentence: str
) -> None:
    client = client_for(member_user)
    response = client.get(f"{REQUESTS}?{query}")
    assert response.status_code == 400
    assert list(response.context["form"].errors) == [field]
    assert sentence in response.context["form"].errors[field][0]
    file = client.get(f"/admin/ai/requests.csv?{query}")
    assert (file.status_code, file.content.decode().startswith(f"{field}: ")) == (400, True)


def test_moments_stay_in_links_and_fields(
    acme: Organization, client_for: CLIENTS, member_user: User
) -> None:
    AiRequestLogFactory.create_batch(
        51, org=acme, occurred_at=datetime(2026, 1, 10, 12, tzinfo=UTC)
    )
    client = client_for(member_user)
    response = client.get(f"{REQUESTS}?from=2026-01-10T12:00%2B00:00&to=2026-01-10")
    html = response.content.decode()
    assert 'type="datetime-local" name="from" value="2026-01-10T13:00"' in html
    assert 'name="to" value="2026-01-11T00:00"' in html  # the day is included
    older = response.context["older"]
    assert older.startswith("from=2026-01-10T12%3A00%2B00%3A00&to=2026-01-10&before=")
    assert len(shown(client, older)) == 1


def plans(query: RequestQuery, organization: Organization) -> list[str]:
    """Return how the database reads each statement of a list."""
    with CaptureQueriesContext(connection) as captured:
        assert len(reports.requests(organization_id=organization.pk, query=query).rows) == 3
    is_sqlite = connection.vendor == "sqlite"
    found = []
    with connection.cursor() as cursor:
        if not is_sqlite:  # three rows are read faster without an index
            cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off")
        for statement in captured:
            cursor.execute(f"EXPLAIN {'QUERY PLAN ' * is_sqlite}{statement['sql']}")
            found.append(" ".join(str(row[-1]) for row in cursor.fetchall()))
    return found


def test_moments_are_read_from_index_in_order(acme: Organization) -> None:
    moment = datetime(2026, 1, 10, 12, tzinfo=UTC)
    AiRequestLogFactory.create_batch(3, org=acme, occurred_at=moment)
    query = RequestQuery(since=moment - timedelta(hours=1), until=moment + timedelta(hours=1))
    [plan] = plans(query, acme)
    assert "ai_request_log_newest" in plan
    is_sqlite = connection.vendor == "sqlite"
    bounded = r"occurred_at>\? AND occurred_at<\?" if is_sqlite else r"Index Cond:.*>=.*<"
    assert re.search(bounded, plan), plan
    assert not re.search("TEMP B-TREE|Sort", plan)


@pytest.mark.parametrize("more", [{}, {"model": "gpt-4o-mini"}, {"status": "ok"}], ids=str)
def test_every_spelling_is_read_from_index_in_order(
    acme: Organization, more: dict[str, str]
) -> None:
    for team in ("A", "a", "\u00c4", "B"):
        AiRequestLogFactory.create(org=acme, team_id=team)
    query = RequestQuery(named={"team_id": ("A", "a", "\u00c4")}, **more)  # type: ignore[arg-type]  # the names of text
    for plan in plans(query, acme):
        assert not re.search("TEMP B-TREE|Sort", plan), plan
        if connection.vendor == "sqlite":  # it walks all rows, unless an index has the value
            assert "ai_request_log_newest" not in plan


def test_many_spellings_take_few_queries(
    acme: Organization, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    row = AiRequestLogFactory.create(org=acme, team_id="a")
    many = tuple(f"{n}" for n in range(reports.SPELLINGS_ROWS_MAX // 10))
    query = RequestQuery(named={"team_id": (*many, "a")}, model="gpt-4o-mini")
    with django_assert_num_queries(2):
        assert reports.requests(organization_id=acme.pk, query=query).rows == [row]


# --- where spellings are looked for -------------------------------------------------------------


def test_list_of_dates_looks_for_spellings_of_their_charges_alone(
    acme: Organization, client_for: CLIENTS, member_user: User
) -> None:
    moment = datetime(2026, 1, 31, 23, 30, tzinfo=UTC)  # in February in Paris
    row = AiRequestLogFactory.create(org=acme, occurred_at=moment, team_id="STRASSE")
    charge(acme, 1, occurred_at=moment, team_id="STRASSE")
    AiRequestLogFactory.create_batch(3, org=acme, occurred_at=moment + timedelta(days=9))
    client = client_for(member_user)
    with pytest.MonkeyPatch.context() as patch, CaptureQueriesContext(connection) as captured:
        patch.setattr(reports, "SPELLINGS_ROWS_MAX", 1)
        found = shown(client, "teamId=stra%C3%9Fe&from=2026-02-01&to=2026-02-28")
    assert found == [row]
    [looked] = [each["sql"] for each in captured if "monthly_cost" in each["sql"]]
    assert "2026-01-01" in looked  # days of any time zone
    assert "2026-03-0" in looked


def test_following_list_does_not_read_charges(
    acme: Organization, client_for: CLIENTS, member_user: User
) -> None:
    row = AiRequestLogFactory.create(org=acme, team_id="A", user_id="Customer@example.com")
    charge(acme, 1, user_id="customer@example.com")
    place = Cursor(occurred_at=now(), id=new_id())
    client = client_for(member_user)
    with CaptureQueriesContext(connection) as captured:
        query = f"after={place}&teamId=a&userId=customer%40example.com"
        response = client.get(f"{REQUESTS}/requests/new?{query}")
        assert [line.row for line in response.context["lines"]] == [row]
        quiet = f"after={place}&userId=later%40example.com"  # of calls, no member's
        assert client.get(f"{REQUESTS}/requests/new?{quiet}").context["lines"] == []
    assert not [each for each in captured if "monthly_cost" in each["sql"]]

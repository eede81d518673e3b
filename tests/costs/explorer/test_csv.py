"""The explorer's CSV and JSON: exact lines of the page, escaped for spreadsheets."""

from __future__ import annotations

import csv
import json
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from datetime import date
from itertools import islice
from typing import Any, cast

import pytest
from django.http import StreamingHttpResponse
from django.test import AsyncClient, Client

from costs.core.calendar.date_ranges import DateRange
from costs.core.cost_query import CostQuery
from costs.explorer.exports import csv_pieces
from costs.explorer.reports import CostGroup, Sums
from orgs.models import Organization, User
from tests.answers import text_of
from tests.cast import CLIENTS
from tests.costs.charges import charge

pytestmark = pytest.mark.both_databases

JUNE = "from=2025-06-01&to=2025-06-30"


def rows_of(client: Client, query: str) -> list[dict[str, str]]:
    return list(csv.DictReader(text_of(client, f"/costs.csv?{query}").splitlines()))


@pytest.mark.django_db
def test_csv_and_json_have_lines_of_page(
    acme: Organization, client_for: CLIENTS, auditor_user: User
) -> None:
    for team, amount in (("blue", 10**18 + 1), ("red", -1_500_000_000), (None, 3)):
        charge(acme, amount, team_id=team)
    client = client_for(auditor_user)
    rows = rows_of(client, f"groupBy=team&{JUNE}")
    page = client.get(f"/costs?groupBy=team&{JUNE}").context["page"]
    assert [row["team"] for row in rows] == [line.values[0] or "" for line in page.report.groups]
    assert sum(int(row["amount_nanoeur"]) for row in rows) == page.report.total.amount_nanoeur
    assert rows[0]["amount_eur"] == "1000000000.000000001"
    assert rows[-1]["amount_eur"] == "-1.500000000"  # a figure, which no spreadsheet runs
    assert (rows[0]["requests"], rows[0]["events"], rows[0]["input_tokens"]) == ("1", "1", "9")
    assert [row["share_percent"] for row in rows] == [line.share_percent for line in page.lines]
    found = json.loads(text_of(client, f"/costs.json?groupBy=team&{JUNE}"))
    assert [group["amountNanoeur"] for group in found["groups"]] == [10**18 + 1, 3, -1_500_000_000]
    assert found["total"]["amountNanoeur"] == page.report.total.amount_nanoeur
    assert (found["from"], found["timeZone"]) == ("2025-06-01", "Europe/Paris")
    assert found["before"] == {"from": "2025-05-01", "to": "2025-05-31", "amountNanoeur": 0}


@pytest.mark.django_db
def test_files_have_estimated_part(
    acme: Organization, client_for: CLIENTS, member_user: User
) -> None:
    charge(acme, 10**9 + 7, estimated_nanoeur=10**9, kind="bound", team_id="blue")
    charge(acme, 5, team_id="red")
    client = client_for(member_user)
    rows = rows_of(client, f"groupBy=team&{JUNE}")
    assert [(row["estimated_eur"], row["estimated_nanoeur"]) for row in rows] == [
        ("1.000000000", "1000000000"),
        ("0.000000000", "0"),
    ]
    found = json.loads(text_of(client, f"/costs.json?groupBy=team&{JUNE}"))
    assert [line["estimatedEur"] for line in (found["total"], *found["groups"])] == [
        *("1.000000000", "1.000000000", "0.000000000")
    ]


@pytest.mark.django_db
def test_two_dimensions_are_two_columns_and_users_have_names(
    acme: Organization, client_for: CLIENTS, member_user: User
) -> None:
    charge(acme, 5, user_id=str(member_user.pk), input_tokens=None, output_tokens=None)
    client = client_for(member_user)
    [row] = rows_of(client, f"groupBy=user&thenBy=day&{JUNE}")
    assert list(row)[:3] == ["day", "user", "user_name"]
    assert (row["day"], row["user_name"]) == ("2025-06-10", member_user.email)
    assert row["input_tokens"] == ""  # not known is not zero
    [group] = json.loads(text_of(client, f"/costs.json?groupBy=user&{JUNE}"))["groups"]
    assert (group["userName"], group["inputTokens"]) == (member_user.email, None)


@pytest.mark.django_db
def test_no_costs_export_empty_list(client_for: CLIENTS, member_user: User) -> None:
    client = client_for(member_user)
    assert rows_of(client, JUNE) == []
    assert json.loads(text_of(client, f"/costs.json?{JUNE}"))["groups"] == []


@pytest.mark.django_db(transaction=True)
async def test_export_is_streamed(acme: Organization, member_user: User) -> None:
    client = AsyncClient()
    await client.aforce_login(member_user)
    response = cast("StreamingHttpResponse", await client.get(f"/costs.csv?groupBy=team&{JUNE}"))
    assert response.is_async
    pieces = [piece async for piece in cast("AsyncIterator[bytes]", response.streaming_content)]
    assert pieces[0].startswith(b"team,amount_eur")


def _many(count: int) -> Iterator[CostGroup]:
    for number in range(count):
        sums = Sums(amount_nanoeur=number, events=1, requests=1)
        yield CostGroup(values=(f"team-{number}",), labels=(f"team-{number}",), sums=sums)


def test_export_memory_is_constant() -> None:
    query: Any = CostQuery(
        date_range=DateRange(date(2025, 6, 1), date(2025, 6, 30)), group_by=("team",)
    )
    tracemalloc.start()
    lines = sum(piece.count("\n") for piece in csv_pieces(query, _many(20_000), Sums()))
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert lines == 20_001
    assert peak_bytes < 2**20
    assert len(list(islice(csv_pieces(query, _many(10**9), Sums()), 3))) == 3


@pytest.mark.django_db
def test_formula_in_dimension_is_escaped(
    acme: Organization, client_for: CLIENTS, member_user: User
) -> None:
    charge(acme, 5, team_id='=HYPERLINK("x")')
    [row] = rows_of(client_for(member_user), f"groupBy=team&{JUNE}")
    assert row["team"] == '\'=HYPERLINK("x")'

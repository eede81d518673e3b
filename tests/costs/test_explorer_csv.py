"""The explorer's CSV: the page's lines, exact, and harmless in a spreadsheet."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import cast

import pytest
from django.http import StreamingHttpResponse
from django.test import Client

from costs.views import csv_text
from orgs.models import Organization, User
from tests.factories import CostEventFactory

pytestmark = pytest.mark.django_db

CLIENTS = Callable[[User], Client]
JUNE = "from=2025-06-01&to=2025-06-30"
NOON = datetime(2025, 6, 10, 12, tzinfo=UTC)


def rows_of(client: Client, query: str) -> list[dict[str, str]]:
    response = cast("StreamingHttpResponse", client.get(f"/costs.csv?{query}"))
    assert response.status_code == 200
    text = b"".join(cast("Iterable[bytes]", response.streaming_content)).decode()
    return list(csv.DictReader(text.splitlines()))


def test_it_has_the_lines_of_the_page(
    acme: Organization, client_for: CLIENTS, auditor_user: User
) -> None:
    for team, amount in (("blue", 10**18 + 1), ("red", -1_500_000_000), (None, 3)):
        CostEventFactory.create(org=acme, occurred_at=NOON, team_id=team, amount_nanoeur=amount)
    client = client_for(auditor_user)
    rows = rows_of(client, f"groupBy=team&{JUNE}")
    shown = client.get(f"/costs?groupBy=team&{JUNE}").context["report"]
    assert [row["team"] for row in rows] == [group.value or "" for group in shown.groups]
    assert sum(int(row["amount_nanoeur"]) for row in rows) == shown.total.amount_nanoeur
    assert rows[0]["amount_eur"] == "1000000000.000000001"
    assert rows[-1]["amount_eur"] == "-1.500000000"  # a figure, which no spreadsheet runs
    assert (rows[0]["requests"], rows[0]["events"], rows[0]["input_tokens"]) == ("1", "1", "9")


@pytest.mark.parametrize(
    "text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "  =1", "\N{FULLWIDTH EQUALS SIGN}1"]
)
def test_no_text_becomes_a_formula(text: str) -> None:
    assert csv_text(text) == f"'{text}"


@pytest.mark.parametrize("text", ["team-1", "", "a=b", "gpt-4o"])
def test_other_text_stays_as_it_is(text: str) -> None:
    assert csv_text(text) == text


def test_a_formula_in_a_dimension_is_defused(
    acme: Organization, client_for: CLIENTS, member_user: User
) -> None:
    CostEventFactory.create(org=acme, occurred_at=NOON, team_id='=HYPERLINK("x")')
    [row] = rows_of(client_for(member_user), f"groupBy=team&{JUNE}")
    assert row["team"] == row["name"] == '\'=HYPERLINK("x")'

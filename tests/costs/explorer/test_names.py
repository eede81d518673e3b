"""Names that look alike are one line, and people who left keep theirs."""

from __future__ import annotations

import csv
import json
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from costs.explorer import spellings
from orgs.members.operations import remove_member
from orgs.models import Membership, Organization, User
from tests.answers import text_of
from tests.cast import CLIENTS
from tests.costs.charges import NOON, charge
from tests.factories import ApiKeyFactory, MembershipFactory, UserFactory

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]

JUNE = "from=2025-06-01&to=2025-06-30"
SPELLINGS = (
    "Stra\u00dfe",
    "STRASSE",
    "strasse ",
    "Cafe\u0301",
    "CAF\u00c9",
    "plain",
    "Plain",
    None,
)


@pytest.fixture
def person(client_for: CLIENTS, auditor_user: User) -> Client:
    """An auditor's browser."""
    return client_for(auditor_user)


@pytest.fixture
def spelled(acme: Organization) -> None:
    """Charge 1, 2, 4, … nano-euro to each spelling; to the first of each name by two calls."""
    for place, team in enumerate(SPELLINGS):
        charge(acme, 2**place, team_id=team, app_id=f"{place % 2}")
    for team in ("Stra\u00dfe", "CAF\u00c9", "Plain"):
        charge(acme, 1000, team_id=team, occurred_at=NOON + timedelta(days=1))


def lines(person: Client, query: str) -> dict[Any, int]:
    """Return the amounts of the page's lines; the files have the same."""
    address = f"{JUNE}&{query}"
    page = person.get(f"/costs?{address}").context["page"]
    found = {
        group.values[0] if len(group.values) == 1 else group.values: group.sums.amount_nanoeur
        for group in page.report.groups
    }
    assert sum(found.values()) == page.report.total.amount_nanoeur
    rows = list(csv.DictReader(text_of(person, f"/costs.csv?{address}").splitlines()))
    assert [int(row["amount_nanoeur"]) for row in rows] == list(found.values())
    file = json.loads(text_of(person, f"/costs.json?{address}"))
    assert file["total"]["amountNanoeur"] == page.report.total.amount_nanoeur
    return found


def test_spellings_are_one_line_in_most_used_spelling(person: Client, spelled: None) -> None:
    assert lines(person, "groupBy=team") == {
        "Plain": 1000 + 32 + 64,
        "CAF\u00c9": 1000 + 8 + 16,
        "Stra\u00dfe": 1000 + 1 + 2 + 4,
        None: 128,
    }
    by_app = lines(person, "groupBy=team&thenBy=app")
    assert by_app["Stra\u00dfe", "0"] == 1 + 4  # the app of later charges is another
    assert sum(lines(person, "groupBy=day&thenBy=team").values()) == sum(by_app.values())


def test_chart_has_one_colour_for_one_name(person: Client, spelled: None) -> None:
    page = person.get(f"/costs?{JUNE}&groupBy=team").context["page"]
    assert [(entry.label, entry.amount_nanoeur) for entry in page.legend] == [
        ("Plain", 1096),
        ("CAF\u00c9", 1024),
        ("Stra\u00dfe", 1007),
        ("(none)", 128),
    ]


@pytest.mark.parametrize("name", ["stra\u00dfe", "STRASSE", "%20strasse"])
def test_filter_matches_every_spelling(person: Client, spelled: None, name: str) -> None:
    assert sum(lines(person, f"groupBy=app&teamId={name}").values()) == 1007
    assert lines(person, f"groupBy=team&teamId={name}") == {"Stra\u00dfe": 1007}


def test_matches_come_before_names_that_python_compares(
    acme: Organization, person: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    for team in ("A\u00e9", "A\u00f6", "Plain", "plain"):
        charge(acme, 1, team_id=team)
    monkeypatch.setattr(spellings, "COMPARED_MAX", 2)
    assert lines(person, "groupBy=app&teamId=PLAIN") == {None: 2}
    assert lines(person, "groupBy=team")["Plain"] == 2


def test_spellings_are_looked_for_in_dates_that_are_read(
    acme: Organization, person: Client
) -> None:
    charge(acme, 5, team_id="A")
    charge(acme, 7, team_id="a", occurred_at=NOON - timedelta(days=365))
    with CaptureQueriesContext(connection) as captured:
        assert lines(person, "groupBy=app&teamId=A&compare=nothing") == {None: 5}
    looked = [each["sql"] for each in captured if "SELECT DISTINCT" in each["sql"]]
    assert looked
    assert all("2025-06-01" in each for each in looked)
    long = person.get("/costs?from=2024-06-01&to=2025-06-30&teamId=A").context["page"]
    assert long.report.total.amount_nanoeur == 12


def test_comparison_merges_spellings_of_both_date_ranges(
    acme: Organization, person: Client
) -> None:
    charge(acme, 5, team_id="A")
    charge(acme, 7, team_id="a", occurred_at=NOON - timedelta(days=30))
    page = person.get(f"/costs?{JUNE}&groupBy=team").context["page"]
    [group] = page.report.groups
    assert (group.sums.amount_nanoeur, group.before_nanoeur) == (5, 7)


def test_other_organizations_spelling_is_not_used(
    acme: Organization, globex: Organization, person: Client
) -> None:
    charge(acme, 5, team_id="a")
    for _ in range(3):
        charge(globex, 5, team_id="A")
    assert lines(person, "groupBy=team&teamId=A") == {"a": 5}


# --- people -------------------------------------------------------------------------------------


def test_person_who_left_keeps_name_in_page_file_and_filter(
    acme: Organization, person: Client, member_user: User
) -> None:
    charge(acme, 5, user_id=str(member_user.pk))
    address = member_user.email
    before = lines(person, f"groupBy=user&userId={address}")
    remove_member(membership=Membership.objects.get(user=member_user))
    # What the account is called later is not the organization's.
    User.objects.filter(pk=member_user.pk).update(email="later@elsewhere.example")
    assert lines(person, f"groupBy=user&userId={address}") == before == {str(member_user.pk): 5}
    assert address in person.get(f"/costs?{JUNE}&groupBy=user").content.decode()
    [row] = csv.DictReader(text_of(person, f"/costs.csv?{JUNE}&groupBy=user").splitlines())
    assert (row["user"], row["user_name"]) == (str(member_user.pk), address)
    User.objects.filter(pk=member_user.pk).delete()
    assert lines(person, f"groupBy=user&userId={address}") == before


def test_deactivated_person_and_owner_of_key_keep_name(acme: Organization, person: Client) -> None:
    inactive = UserFactory.create(email="inactive@acme.example", is_active=False)
    MembershipFactory.create(org=acme, user=inactive)
    owner = UserFactory.create(email="owner@acme.example")
    ApiKeyFactory.create(org=acme, owner=owner)
    for user in (inactive, owner):
        charge(acme, 5, user_id=str(user.pk))
        assert lines(person, f"groupBy=user&userId={user.email}") == {str(user.pk): 5}
        assert user.email in person.get(f"/costs?{JUNE}&groupBy=user").content.decode()


def test_unknown_address_is_error_and_stranger_is_unknown(
    acme: Organization, person: Client, stranger: User
) -> None:
    charge(acme, 5, user_id=str(stranger.pk))
    answers = set()
    for address in (stranger.email, "unknown@example.com"):
        sentence = f"No user of this organization has the email address {address}"
        page = person.get(f"/costs?userId={address}")
        assert page.context["form"].errors["userId"] == [sentence]
        assert "Fix the marked fields" in page.content.decode()
        for file in ("costs.csv", "costs.json"):
            response = person.get(f"/{file}?userId={address}")
            assert (response.status_code, sentence in response.content.decode()) == (400, True)
            answers.add(response.content.decode().replace(address, ""))
    assert len(answers) == 2
    assert lines(person, "userId=unknown") == {}


def test_address_that_callers_sent_is_no_error(acme: Organization, person: Client) -> None:
    charge(acme, 5, user_id="Customer@example.com")
    assert lines(person, "groupBy=user&userId=customer@EXAMPLE.com") == {"Customer@example.com": 5}

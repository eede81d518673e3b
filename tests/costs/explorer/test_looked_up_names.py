"""Names that the cost explorer looks up: of models, users and keys."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from pytest_django import DjangoAssertNumQueries

from costs.core.cost_query import DAY, CostQuery
from costs.explorer import names, reports
from costs.explorer.names import DimensionNames, models_matching, models_used
from orgs.core.errors import Invalid
from orgs.models import Organization, User
from tests.costs.charges import NOON, charge
from tests.costs.explorer.explored import JUNE, explored
from tests.factories import ApiKeyFactory

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]


def test_model_filter_matches_dated_snapshots(acme: Organization) -> None:
    for number, model in enumerate(
        ["gpt-4o", "gpt-4o-2024-08-06", "gpt-4o-mini", "gpt-4o-mini-2024-07-18", "gpt-4"]
    ):
        charge(acme, 10**number, model=model)
    used = models_used(organization_id=acme.pk)
    assert len(used) == 5

    def total(name: str) -> int:
        return explored(acme, models=models_matching(name, used)).total.amount_nanoeur

    assert total("gpt-4o") == 11
    assert total("gpt-4o-mini") == total(" OpenAI/GPT-4o-mini ") == 1100
    assert total("gpt-4o-mini-2024-07-18") == 1000
    assert total("gpt-4") == 10_000
    assert total("gpt") == total("gpt-5") == 0


def test_model_of_two_providers_is_listed_for_both(acme: Organization) -> None:
    for provider in ("mistral", "google"):
        charge(acme, 1, model="shared", provider=provider)
    assert models_used(organization_id=acme.pk) == [("google", "shared"), ("mistral", "shared")]
    assert models_matching("mistral/shared", [("google", "shared"), ("mistral", "shared")]) == (
        "shared",
    )


def test_only_members_are_shown_by_email(
    acme: Organization, admin_user: User, stranger: User
) -> None:
    charge(acme, 3, user_id=str(admin_user.pk))
    charge(acme, 2, user_id=str(stranger.pk))
    charge(acme, 1, user_id="alice")
    labels = [group.labels for group in explored(acme, "user").groups]
    assert labels == [(admin_user.email,), (str(stranger.pk),), ("alice",)]
    assert _users(acme, admin_user.email.upper()) == (str(admin_user.pk),)
    with pytest.raises(Invalid, match=stranger.email):
        _users(acme, stranger.email)


def _users(organization: Organization, name: str) -> tuple[str, ...]:
    return names.values_named(
        name, column="user_id", organization_id=organization.pk, date_range=None
    )


def test_each_user_is_looked_up_once(
    acme: Organization,
    admin_user: User,
    stranger: User,
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    found = DimensionNames(acme.pk)
    ours, theirs = str(admin_user.pk), str(stranger.pk)
    with django_assert_num_queries(3):
        assert found.of("user", [ours, theirs, None, "alice"])[ours] == admin_user.email
    with django_assert_num_queries(0):
        assert found.of("user", ["alice", theirs, ours])[theirs] == theirs
        assert found.of("model", ["gpt-4o"]).get("gpt-4o") is None


def test_file_of_many_lines_looks_up_users_once(
    acme: Organization,
    admin_user: User,
    monkeypatch: pytest.MonkeyPatch,
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    monkeypatch.setattr(reports, "GROUPS_AT_ONCE", 2)
    for day in range(7):
        charge(acme, 1, user_id=str(admin_user.pk), occurred_at=NOON + timedelta(days=day))
    query = CostQuery(date_range=JUNE, group_by=(DAY, "user"))
    with django_assert_num_queries(2):
        every = list(reports.every_group(organization_id=acme.pk, query=query))
    assert [group.labels[1] for group in every] == [admin_user.email] * 7


def test_users_are_looked_up_again_after_cache_is_cleared(
    acme: Organization, admin_user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names, "NAMES_KEPT_MAX", 2)
    found, person = DimensionNames(acme.pk), str(admin_user.pk)
    for value in ("alice", "bob", "carol", person):
        known = found.of("user", [value])
        assert len(known) <= 2
    assert known[person] == admin_user.email
    assert found.of("user", [person, "dave", "erin"])[person] == admin_user.email


def test_key_name_is_shown_only_to_its_organization(
    acme: Organization, globex: Organization
) -> None:
    ours, theirs = ApiKeyFactory.create(org=acme), ApiKeyFactory.create(org=globex)
    charge(acme, 3, key_id=ours.pk)
    charge(acme, 2, key_id=theirs.pk)
    charge(acme, 1)
    labels = [group.labels for group in explored(acme, "key").groups]
    assert labels == [(ours.name,), (str(theirs.pk),), ("(none)",)]
    query = CostQuery(date_range=JUNE, group_by=("model",), wanted={"key_id": ours.pk})
    assert reports.totals(organization_id=acme.pk, query=query)[0].amount_nanoeur == 3
    query = replace(query, wanted={"key_id": None})
    assert reports.totals(organization_id=acme.pk, query=query)[0].amount_nanoeur == 1

"""The list of models: what each costs, what policies refuse, what was used."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from http import HTTPStatus

import pytest
from django.test import Client
from django.utils.timezone import now
from pytest_django import DjangoAssertNumQueries, Settings

from costs.core.pricing import cost_nanoeur
from costs.core.usage import Usage
from costs.models import Rate
from costs.prices.book import load_price_book
from gateway.price_pages.forms import PER_PAGE
from orgs.models import Organization, User
from tests.cast import CLIENTS
from tests.costs.charges import charge
from tests.factories import PolicyFactory, RateFactory

pytestmark = pytest.mark.django_db

MODELS = "/models"


@pytest.fixture
def member(client_for: CLIENTS, member_user: User, prices: object) -> Client:
    return client_for(member_user)


def exported(client: Client, query: str = "") -> dict[str, dict[str, object]]:
    response = client.get(f"{MODELS}.json{query}")
    body = b"".join(response.streaming_content)  # type: ignore[attr-defined]
    return {f"{row['provider']}/{row['model']}": row for row in json.loads(body)}


def used(org: Organization, model: str, *, nanoeur: int = 1, days: int = 0) -> None:
    moment = now() - timedelta(days=days)
    charge(org, nanoeur, model=model, provider="openai", occurred_at=moment)


def test_member_sees_price_in_euros_and_dollars(member: Client) -> None:
    page = member.get(f"{MODELS}?q=gpt-4o-mini").content.decode()
    rates = load_price_book().rates_for(["gpt-4o-mini"], "openai", now())
    assert rates is not None
    charged = cost_nanoeur(Usage(input_uncached=1_000_000), rates)
    assert f'<data value="{charged}"' in page
    assert "0.15 USD" in page
    assert "0.6 USD" in page
    assert "gpt-4o-mini" in page


def test_models_that_are_listed_are_those_that_can_be_called(member: Client) -> None:
    RateFactory.create(provider="openai", model="gpt-4o-2024-05-13")
    found = exported(member)
    assert {"openai/gpt-4o", "openai/gpt-4o-2024-05-13", "sandbox/sandbox-small"} <= found.keys()
    unpriced = found["openai/gpt-5"]
    assert (unpriced["inputUsdPerMtok"], unpriced["since"]) == (None, None)
    assert unpriced["bands"] == []


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("?q=CLAUDE-3-5-sonnet-2024", "anthropic/claude-3-5-sonnet-20241022"),
        ("?provider=mistral&q=mistral-large-latest", "mistral/mistral-large-latest"),
        ("?sort=input&provider=google", "google/gemini-2.0-flash"),
        ("?sort=cost", "openai/gpt-4"),
        ("?sort=requests", "openai/gpt-4"),
    ],
)
def test_list_is_searched_filtered_and_sorted(
    acme: Organization, member: Client, query: str, first: str
) -> None:
    used(acme, "gpt-4")
    assert next(iter(exported(member, query))) == first


def test_use_of_thirty_days_is_shown(acme: Organization, member: Client) -> None:
    used(acme, "gpt-4o", nanoeur=1_500_000_000)
    used(acme, "gpt-4o-2099-01-01", nanoeur=1_500_000_000)
    used(acme, "gpt-4o", nanoeur=1_000, days=31)
    row = exported(member)["openai/gpt-4o"]
    assert (row["requests30d"], row["cost30dEur"]) == (2, "3.000000000")


def test_policies_that_refuse_model_are_named(acme: Organization, member: Client) -> None:
    PolicyFactory.create(org=acme, name="No GPT-4", blocked_models=["gpt-4"])
    PolicyFactory.create(org=acme, name="Watched", blocked_models=["gpt-4"], mode="watch")
    PolicyFactory.create(
        org=acme, name="Interns", blocked_models=["gpt-4o"], applies_to={"team_id": ["interns"]}
    )
    PolicyFactory.create(
        org=acme, name="Elsewhere", blocked_models=["gpt-4o"], applies_to={"provider": ["google"]}
    )
    found = exported(member)
    assert found["openai/gpt-4"]["refusedBy"] == ["No GPT-4"]
    assert found["openai/gpt-4o"]["refusedBy"] == []
    assert found["openai/gpt-4o"]["refusedForSomeCallsBy"] == ["Interns"]
    page = member.get(f"{MODELS}?q=gpt-4").content.decode()
    assert "by No GPT-4 (model_blocked)" in page


def test_next_change_is_shown(member: Client) -> None:
    later = now() + timedelta(days=3)
    RateFactory.create(
        provider="openai", model="gpt-4o", starts_at=later, input_usd_per_mtok=Decimal(1)
    )
    assert exported(member)["openai/gpt-4o"]["nextChangeAt"] == later.isoformat()
    assert exported(member)["openai/gpt-4"]["nextChangeAt"] is None


def test_provider_without_key_is_not_configured(member: Client, settings: Settings) -> None:
    found = exported(member)
    assert found["openai/gpt-4"]["providerState"] == "not configured"
    settings.PROVIDERS = settings.PROVIDERS | {"openai": ("sk-test", "")}
    assert exported(member)["openai/gpt-4"]["providerState"] == "configured"


def test_list_has_pages(member: Client) -> None:
    for number in range(60):
        RateFactory.create(provider="openai", model=f"gpt-{number}-long")
    pages = [member.get(f"{MODELS}?provider=openai&page={page}") for page in (1, 2)]
    assert len(pages[0].context["lines"]) == 50
    shown = {line.priced.model.id for page in pages for line in page.context["lines"]}
    assert len(shown) > 50
    assert 'rel="next"' in pages[0].content.decode()
    assert 'rel="prev"' in pages[1].content.decode()


@pytest.mark.parametrize("query", ["provider=unknown", "sort=luck", "page=0", "q=" + "x" * 201])
def test_bad_filter_is_refused(member: Client, query: str) -> None:
    assert member.get(f"{MODELS}?{query}").status_code == HTTPStatus.BAD_REQUEST


def test_operator_without_organization_sees_every_model(operator: Client, prices: object) -> None:
    page = operator.get(f"{MODELS}?q=gpt-4o-mini").content.decode()
    assert "What can be called" in page


def test_navigation_leads_to_list_and_list_to_model(member: Client) -> None:
    page = member.get("/admin/ai").content.decode()
    assert 'href="/models"' in page
    assert 'href="/models/openai/gpt-4o"' in member.get(f"{MODELS}?q=gpt-4o").content.decode()


def test_queries_do_not_grow_with_models(
    member: Client, acme: Organization, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    long_ago = datetime(2024, 1, 1, tzinfo=UTC)
    Rate.objects.bulk_create(
        Rate(
            provider="openai",
            model=f"gpt-{number}-many",
            starts_at=long_ago,
            input_usd_per_mtok=1,
            output_usd_per_mtok=number,
            source="test",
        )
        for number in range(3_000)
    )
    PolicyFactory.create_batch(5, org=acme, blocked_models=["gpt-1*"])
    with django_assert_max_num_queries(14):
        page = member.get(f"{MODELS}?sort=output")
    assert len(page.context["lines"]) == PER_PAGE
    with django_assert_max_num_queries(19):
        member.get(f"{MODELS}/openai/gpt-7-many")

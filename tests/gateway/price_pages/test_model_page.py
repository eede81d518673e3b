"""The page of a model: every price, and the history. What was requested without a price."""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal
from http import HTTPStatus

import pytest
from django.db import connection, transaction
from django.test import Client
from django.utils.timezone import now

from costs.core.pricing import band_prices, cost_nanoeur
from costs.core.usage import Usage
from costs.prices.book import load_price_book
from costs.prices.undo import undo
from gateway.price_pages import reports
from gateway.price_pages.reports import unpriced_rows
from orgs.models import Organization, User
from tests.cast import CLIENTS
from tests.costs.price_list import priced, set_price
from tests.factories import (
    AiRequestLogFactory,
    PriceFactorFactory,
    ProviderFactory,
    RateFactory,
)

pytestmark = pytest.mark.django_db

PAGE = "/models/openai/gpt-4o"
UNPRICED = "/models/unpriced"


@pytest.fixture
def member(client_for: CLIENTS, member_user: User, prices: object) -> Client:
    return client_for(member_user)


def amounts(page: str) -> list[int]:
    """Return the nano-euro that a page shows, in its order."""
    return [int(found) for found in re.findall(r'<data value="(\d+)"', page)]


def test_page_shows_every_price_as_charged(member: Client) -> None:
    for tier, above, usd in (("standard", 200_000, "5"), ("flex", 0, "1.25"), ("flex", 500, "7")):
        RateFactory.create(
            model="gpt-4o",
            service_tier=tier,
            above_input_tokens=above,
            input_usd_per_mtok=Decimal(usd),
            output_usd_per_mtok=Decimal(usd) * 3,
            cache_read_audio_usd_per_mtok=Decimal("0.000000001"),
        )
    PriceFactorFactory.create(model="gpt-4o", factor=Decimal("0.7"))
    rates = load_price_book().rates_for(["gpt-4o"], "openai", now())
    assert rates is not None
    page = member.get(PAGE).content.decode()
    shown = amounts(page)
    charged = {
        cost for band in band_prices(rates) for cost in band.nanoeur.values() if cost is not None
    }
    assert charged <= set(shown)
    flex = Usage(output_text=1_000_000, service_tier="flex")
    assert cost_nanoeur(flex, rates) in shown
    for words in ("Flex, above 500 input tokens", "Standard, above 200,000", "30 % off"):
        assert words in page


def test_history_shows_prices_newest_first_with_source(member: Client) -> None:
    at = now()
    set_price(priced("3", "9"), model="gpt-4o", now=at - timedelta(days=2), source="contract 7")
    set_price(
        priced("2", "6"),
        model="gpt-4o",
        now=at,
        starts_at=at + timedelta(days=9),
        source="a letter",
    )
    page = member.get(PAGE).content.decode().partition("History")[2]
    places = [page.index(words) for words in ("a letter", "contract 7", "announced")]
    assert places[0] < places[1]
    assert places[2] < places[0]
    assert "input 3, output 9" in page


def test_history_names_who_set_price_to_operators_only(
    member: Client, operator: Client, prices: object
) -> None:
    set_price(priced("3", "9"), model="gpt-4o", now=now())
    own = operator.get(PAGE).content.decode()
    assert re.search(r"recorded <time[^>]*>[^<]*</time> by \S", own)
    theirs = member.get(PAGE).content.decode()
    assert not re.search(r"recorded <time[^>]*>[^<]*</time> by \S", theirs)


def test_history_keeps_what_was_taken_back(member: Client) -> None:
    at = now()
    set_price(priced("3", "9"), model="gpt-4o", now=at - timedelta(days=2), source="contract 7")
    undo(provider="openai", model="gpt-4o", now=at)
    page = member.get(PAGE).content.decode()
    assert "contract 7" in page
    assert "undone by hand" in page


def test_factors_of_model_and_of_provider_are_in_history(member: Client) -> None:
    for model in ("", "gpt-4o", "gpt-4*", "gpt-5"):
        source = f"of {model or 'all'} models"
        PriceFactorFactory.create(model=model, factor=Decimal("0.9"), source=source)
    page = member.get(PAGE).content.decode()
    assert "Every model: 10 % off" in page
    assert [f"of {name} models" in page for name in ("all", "gpt-4o", "gpt-4*", "gpt-5")] == [
        *(True, True, True, False)
    ]


@pytest.mark.parametrize("path", ["openai/no%20model", "unknown/gpt-4o", "openai/claude-3-opus"])
def test_unknown_model_is_not_found(member: Client, path: str) -> None:
    assert member.get(f"/models/{path}").status_code == HTTPStatus.NOT_FOUND


def test_model_of_other_organizations_provider_is_not_found(
    member: Client, acme: Organization, globex: Organization
) -> None:
    ProviderFactory.create(org=globex, name="theirs", models=["org/Llama-3"])
    ProviderFactory.create(org=acme, name="ours", models=["org/Llama-3"])
    assert member.get("/models/theirs/org/llama-3").status_code == HTTPStatus.NOT_FOUND
    page = member.get("/models/ours/org/llama-3").content.decode()
    assert "ours/org/Llama-3" in page
    assert "No price" in page
    assert "theirs" not in member.get("/models").content.decode()


def refused(org: Organization, model: str, **fields: object) -> None:
    values = {"status": "blocked", "code": "model_unpriced", "occurred_at": now()}
    named = {"provider": "openai", "model": model, "requested_model": model}
    AiRequestLogFactory.create(org=org, **named | values | fields)


def test_requested_models_without_price_are_listed(
    member: Client, acme: Organization, globex: Organization
) -> None:
    refused(acme, "gpt-5", occurred_at=now() - timedelta(days=3))
    refused(acme, "gpt-5")
    refused(acme, "gpt-5.1", occurred_at=now() - timedelta(hours=3))
    refused(acme, "gpt-4o")  # it has a price by now
    refused(acme, "gpt-5-mini", occurred_at=now() - timedelta(days=31))
    refused(acme, "gpt-5-nano", code="model_blocked")
    refused(globex, "gpt-5-pro")
    found = member.get(UNPRICED).context["found"]
    assert [(each.model.id, each.requests) for each in found.models] == [
        ("gpt-5", 2),
        ("gpt-5.1", 1),
    ]
    assert not found.is_cut


def test_operator_sees_what_any_organization_requested(
    operator: Client, acme: Organization, globex: Organization, prices: object
) -> None:
    refused(acme, "gpt-5")
    refused(globex, "gpt-5-pro")
    names = {each.model.id for each in operator.get(UNPRICED).context["found"].models}
    assert names == {"gpt-5", "gpt-5-pro"}


def test_only_last_refusals_are_read(
    member: Client, acme: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports, "REFUSALS_READ_MAX", 2)
    for _ in range(3):
        refused(acme, "gpt-5")
    response = member.get(UNPRICED)
    assert response.context["found"].models[0].requests == 2
    assert "there are more" in response.content.decode()


@pytest.mark.parametrize("is_of_all", [True, False])
def test_unpriced_requests_are_found_by_their_index(acme: Organization, is_of_all: bool) -> None:
    refused(acme, "gpt-5")
    rows = unpriced_rows(None if is_of_all else acme.pk, since=now() - timedelta(days=30))
    with transaction.atomic(), connection.cursor() as cursor:
        if connection.vendor == "postgresql":  # a table of one row needs no index
            cursor.execute("SET LOCAL enable_seqscan = off")
        plan = rows[:51].explain()
    assert "ai_request_log_unpriced" in plan
    if connection.vendor == "sqlite":  # of one row, PostgreSQL reads either
        assert ("ai_request_log_unpriced_all" in plan) is is_of_all

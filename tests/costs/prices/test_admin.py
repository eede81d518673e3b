"""Django admin adds prices and factors by the same checks as the command."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from costs.models import PriceFactor, Rate
from tests.costs.price_list import load, priced, rates_of, seeded_price

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]

PRICE = {
    "provider": "openai",
    "model": "m-1",
    "service_tier": "standard",
    "above_input_tokens": "0",
    "starts_at_0": "2026-01-01",
    "starts_at_1": "00:00:00",
    "source": "a letter",
    "input_usd_per_mtok": "1",
    "output_usd_per_mtok": "2",
}
FACTOR = {
    "provider": "openai",
    "model": "m-1",
    "kind": "discount",
    "factor": "0.8",
    "starts_at_0": "2026-01-01",
    "starts_at_1": "00:00:00",
    "source": "a letter",
}


def add(operator: Client, what: str, typed: Mapping[str, str]) -> Any:
    return operator.post(reverse(f"admin:costs_{what}_add"), typed)


@pytest.mark.parametrize(
    "change",
    [
        {"input_usd_per_mtok": "-5"},
        {"cache_read_usd_per_mtok": "-5"},
        {"output_usd_per_mtok": "200000"},
        {"output_usd_per_mtok": "NaN"},
        {"output_usd_per_mtok": ""},
        {"provider": "acme"},
        {"model": "my model"},
        {"service_tier": "default"},
        {"above_input_tokens": "-1"},
        {"above_input_tokens": "5"},
        {"source": "genai-prices 1: x"},
        {"source": "undone by hand: x"},
        {"starts_at_0": "1970-01-01"},
    ],
)
def test_price_that_command_refuses_is_refused(operator: Client, change: dict[str, str]) -> None:
    assert add(operator, "rate", PRICE | change).status_code == 200
    assert not Rate.objects.exists()


def test_capitals_are_written_in_lower_case(operator: Client) -> None:
    load()
    named = {"provider": "OpenAI", "model": " OpenAI/M-1 "}
    typed = PRICE | named | {"service_tier": "Standard"}
    assert add(operator, "rate", typed).status_code == 302
    row = Rate.objects.get()
    assert (row.model, row.service_tier) == ("m-1", "standard")
    assert add(operator, "rate", typed).status_code == 200
    of_place = FACTOR | named | {"kind": "place", "place": "EU"}
    assert add(operator, "pricefactor", of_place).status_code == 302
    assert PriceFactor.objects.get().place == "eu"


def test_empty_prices_are_kept(operator: Client) -> None:
    load(seeded_price(priced("2", "9"), priced("4", above_input_tokens=1000)))
    response = add(operator, "rate", PRICE | {"output_usd_per_mtok": ""})
    assert response.status_code == 302
    found = rates_of("m-1")
    assert found is not None
    assert [b.output_usd_per_mtok for b in found.bands] == [9, 8]
    assert [b.input_usd_per_mtok for b in found.bands] == [1, 4]


@pytest.mark.parametrize(
    "change",
    [{"factor": "-0.5"}, {"factor": "1.5"}, {"provider": "acme"}, {"place": "eu"},
     {"kind": "place"}, {"kind": "place", "place": "eu", "factor": "0"}],
)  # fmt: skip
def test_factor_that_command_refuses_is_refused(operator: Client, change: dict[str, str]) -> None:
    assert add(operator, "pricefactor", FACTOR | change).status_code == 200
    assert not PriceFactor.objects.exists()


def test_discount_is_added_and_never_edited(operator: Client) -> None:
    assert add(operator, "pricefactor", FACTOR | {"model": "M-1"}).status_code == 302
    row = PriceFactor.objects.get()
    assert row.model == "m-1"
    for action in ("change", "delete"):
        address = reverse(f"admin:costs_pricefactor_{action}", args=[row.pk])
        assert operator.post(address, FACTOR).status_code == 403

"""Prices of rows' models: what is set for a name is what a call to that name is charged."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from costs.core.model_names import VENDORS, means
from costs.explorer.names import models_matching, models_used
from costs.models import Rate
from costs.prices.checks import check_price
from gateway.call.runtime import Gateway
from gateway.models import AiRequestLog, Provider
from gateway.providers import vendors as providers_of_environment
from gateway.providers.catalog import load_catalog
from gateway.providers.rows import config_of
from gateway.providers.served import served_model
from orgs.models import Organization
from tests.factories import PolicyFactory, RateFactory
from tests.fake_provider.thread import FakeProvider
from tests.gateway.attempts import CHAT
from tests.gateway.conftest import Asking
from tests.gateway.local_rows import make_row
from tests.gateway.wire import Reply

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]

COMPLETIONS = "/v1/chat/completions"
LLAMA = "meta-llama/Llama-3.3-70B"
NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:@/+-]{0,60}", fullmatch=True)

MakeRow = Callable[..., Provider]


@pytest.fixture
def row(vendors: FakeProvider) -> MakeRow:
    """Return a function that adds a row at the fake provider."""

    def made(name: str, **fields: Any) -> Provider:
        return make_row(name, base_url=vendors.base_url("openai"), **fields)

    return made


def prices(*words: str) -> str:
    out = StringIO()
    call_command("prices", *words, stdout=out, stderr=out)
    return out.getvalue()


def go(ask: Asking, model: str) -> Reply:
    return ask(CHAT | {"model": model}, path=COMPLETIONS)


def cost(reply: Reply) -> int:
    assert reply.status == 200, reply.json
    charged = AiRequestLog.objects.get(id=reply.headers["x-pulse-request-id"]).cost_nanoeur
    assert charged is not None
    return charged


def set_price(model: str, provider: str, usd: str) -> str:
    return prices("set", model, "--provider", provider, "--input", usd, "--output", usd)


@pytest.mark.parametrize(
    ("name", "typed"),
    [
        (LLAMA, LLAMA),
        (LLAMA, f"local/{LLAMA}"),
        ("llama3.3:70b", "llama3.3:70b"),
        ("vertex_ai/gemini-pro", "vertex_ai/gemini-pro"),
        ("models/x", "models/x"),
        ("local/x", "local/local/x"),
    ],
)
def test_call_costs_what_was_set_for_its_name(
    name: str, typed: str, ask: Asking, row: MakeRow, vendors: FakeProvider
) -> None:
    row("local")
    vendors.answers(times=2, input_tokens=1_000_000, output_tokens=1_000_000)
    refused = go(ask, f"local/{name}")
    assert (refused.status, refused.json["error"]["message"]) == (
        400,
        f"Model local/{name} has no price; an administrator must set one",
    )
    set_price(typed, "local", "1.1")
    # At 1.10 USD per EUR.
    assert cost(go(ask, f"local/{name}")) == cost(go(ask, f" LOCAL/{name} ")) == 2 * 10**9
    assert f"local {name.casefold()}" in prices("show", f"local/{name}")
    assert "local" in prices("list", "--provider", "local")


def test_zero_price_is_charged_as_zero(ask: Asking, row: MakeRow) -> None:
    row("local")
    set_price(LLAMA, "local", "0")
    assert cost(go(ask, f"local/{LLAMA}")) == 0


@pytest.mark.parametrize("name", ["r1-0528", "r1:free", "r1-latest", "r1@20250101", "ft:r1:a::b"])
def test_price_of_another_model_is_not_taken(name: str, ask: Asking, row: MakeRow) -> None:
    row("local")
    set_price("r1", "local", "1")
    set_price("ft:r1", "local", "1")
    assert go(ask, f"local/{name}").status == 400


def test_answered_name_does_not_change_what_is_charged(
    ask: Asking, row: MakeRow, vendors: FakeProvider
) -> None:
    row("local", names={"r1:free": "r1"})  # as the fake answers with the name that it is sent
    set_price("r1", "local", "5")
    set_price("r1:free", "local", "0")
    assert cost(go(ask, "local/r1:free")) == 0
    assert cost(go(ask, "local/r1")) > 0


def test_prices_need_row_of_that_name(row: MakeRow, gateway: Gateway) -> None:
    """Names are looked up each time: nothing is cached across changes."""
    for _ in range(2):
        with pytest.raises(Exception, match="Unknown provider 'local'; must be one of anthropic"):
            set_price("m", "local", "1")
        made = row("local")
        set_price("m", "LOCAL", "1")
        made.delete()


def test_discount_of_row_lowers_its_prices(
    ask: Asking, row: MakeRow, vendors: FakeProvider
) -> None:
    row("local")
    set_price(LLAMA, "local", "1.1")
    prices("set", "*", "--provider", "local", "--discount", "50")
    vendors.answers(input_tokens=1_000_000, output_tokens=1_000_000)
    assert cost(go(ask, f"local/{LLAMA}")) == 10**9


def test_change_of_installations_regions_counts_at_next_request(
    ask: Asking, row: MakeRow, acme: Organization
) -> None:
    made = row("local", regions=["US"])
    set_price("m", "local", "1")
    PolicyFactory.create(org=acme, name="EU", allowed_models=["region:eu"])
    assert go(ask, "local/m").headers["x-pulse-error-code"] == "model_not_allowed"
    made.regions = ["EU"]
    made.save()
    assert go(ask, "local/m").status == 200


def test_explorer_finds_row_by_its_prefix(ask: Asking, row: MakeRow, acme: Organization) -> None:
    row("local")
    set_price(LLAMA, "local", "1")
    go(ask, f"local/{LLAMA}")
    used = models_used(organization_id=acme.pk)
    assert [provider for provider, _ in used] == ["local"]
    assert models_matching(f"LOCAL/{LLAMA}", used) == models_matching(LLAMA, used) != ()
    assert models_matching(f"openai/{LLAMA}", used) == ()


@given(name=NAMES)
@settings(
    max_examples=200,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_name_folds_alike_in_price_list_calls_and_filters(name: str, row: MakeRow) -> None:
    config = config_of(Provider(name="local", title="Local", dialects=["chat"]))
    model = served_model(f"local/{name}", {"local": config}, catalog=load_catalog(sandbox=True))
    assert model is not None
    price = Rate(**_rate_fields(f"local/{name}"))
    Provider.objects.get_or_create(name="local", defaults={"title": "Local", "base_url": "x"})
    check_price(price)
    assert (price.model,) == model.price_names
    assert means(f"local/{name}", model=model.id, provider="local")


def _rate_fields(name: str) -> dict[str, Any]:
    built = RateFactory.build(provider="local", model=name, input_usd_per_mtok=Decimal(1))
    return {field.attname: getattr(built, field.attname) for field in Rate._meta.fields}


def test_common_prefixes_are_of_vendors_of_environment() -> None:
    assert {*providers_of_environment.vendors()} == VENDORS

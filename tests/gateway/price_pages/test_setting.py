"""Operators set prices, discounts and factors on pages, after a preview, and take them back."""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal
from http import HTTPStatus
from math import ceil

import pytest
from django.test import Client
from django.utils.timezone import now

from costs.core.rates import Rates
from costs.models import PriceFactor, Rate
from costs.prices.book import load_price_book
from orgs.models import HistoryEvent, Organization
from tests.cast import CLIENTS
from tests.costs.price_list import priced, set_price
from tests.factories import AiRequestLogFactory, MembershipFactory, RateFactory, UserFactory

pytestmark = pytest.mark.django_db

UNPRICED = "/models/set?provider=openai&name=gpt-5"
PRICED = "/models/set?provider=openai&name=gpt-4o"
FACTOR = "/models/factor?provider=openai&name=gpt-4o"
TYPED = {
    "form-TOTAL_FORMS": "2",
    "form-INITIAL_FORMS": "0",
    "form-0-service_tier": "standard",
    "form-0-above_input_tokens": "0",
    "form-0-input_usd_per_mtok": "1.25",
    "form-0-output_usd_per_mtok": "10",
    "form-0-cache_read_usd_per_mtok": "0.125",
    "form-1-service_tier": "standard",
    "form-1-above_input_tokens": "0",
    "source": "contract 12",
    "starts_at": "",
}
DISCOUNT = {"kind": "discount", "amount": "20", "place": "", "scope": "model", "source": "contract"}


@pytest.fixture
def both(client_for: CLIENTS, acme: Organization, prices: object) -> Client:
    """An operator who is a member of Acme."""
    user = UserFactory.create(is_staff=True, is_superuser=True, email="op@acme.example")
    MembershipFactory.create(org=acme, user=user, role="member")
    return client_for(user)


def rates_of(model: str, *, days: int = 0) -> Rates | None:
    return load_price_book().rates_for([model], "openai", now() + timedelta(days=days))


def previewed(client: Client, path: str, typed: dict[str, str]) -> tuple[str, str]:
    """Return the page with the preview, and the version of the list that it is of."""
    page = client.post(path, typed | {"action": "preview"}).content.decode()
    found = re.search(r'name="version" value="(\d+)"', page)
    assert found, page
    return page, found[1]


def confirmed(client: Client, path: str, typed: dict[str, str]) -> str:
    """Preview a change, confirm it, and return the page that follows."""
    _, version = previewed(client, path, typed)
    response = client.post(path, typed | {"action": "set", "version": version}, follow=True)
    assert response.redirect_chain, response.content.decode()
    return response.content.decode()


def filled(client: Client, path: str, **changes: str) -> dict[str, str]:
    """Return what the form of a page would send, with changes."""
    formset = client.get(path).context["bands"]
    sent = {f"form-{name}": str(value) for name, value in formset.management_form.initial.items()}
    for form in formset.forms:
        for field in form:
            value = field.value()
            sent[field.html_name] = "" if value is None else str(value)
    return sent | {"source": "contract 12", "starts_at": ""} | changes


def test_unpriced_model_gets_price_after_preview(both: Client) -> None:
    page, _ = previewed(both, UNPRICED, TYPED)
    assert "no price" in page
    assert "0.01023 €" in page.replace("\N{NO-BREAK SPACE}", " ")  # 11.25 USD per million at 1.10
    assert not Rate.objects.filter(model="gpt-5").exists()
    page = confirmed(both, UNPRICED, TYPED)
    assert "Price of gpt-5 set." in page
    rates = rates_of("gpt-5")
    assert rates is not None
    [band] = rates.bands
    assert band.cache_read_usd_per_mtok == Decimal("0.125")
    assert (band.cache_write_5m_usd_per_mtok, rates.source) == (None, "contract 12")
    assert HistoryEvent.objects.get(event="price_set").actor_name == "op@acme.example"
    assert "by op@acme.example" in page


def test_prices_can_be_zero(both: Client) -> None:
    free = TYPED | {"form-0-input_usd_per_mtok": "0", "form-0-output_usd_per_mtok": "0"}
    confirmed(both, UNPRICED, free)
    rates = rates_of("gpt-5")
    assert rates is not None
    assert rates.bands[0].input_usd_per_mtok == 0


def test_all_tiers_and_bands_are_set_at_once(both: Client) -> None:
    RateFactory.create(model="gpt-4o", service_tier="flex")
    changes = {
        "form-0-input_usd_per_mtok": "2",
        "form-2-service_tier": "Flex",
        "form-2-above_input_tokens": "200000",
        "form-2-input_usd_per_mtok": "3",
        "form-2-output_usd_per_mtok": "4",
        "form-3-service_tier": "priority",
        "form-3-input_usd_per_mtok": "8",
        "form-3-output_usd_per_mtok": "9",
    }
    confirmed(both, PRICED, filled(both, PRICED, **changes))
    rates = rates_of("gpt-4o")
    assert rates is not None
    found = {
        (band.service_tier, band.above_input_tokens): band.input_usd_per_mtok
        for band in rates.bands
    }
    assert found == {
        ("standard", 0): 2,
        ("flex", 0): Decimal("0.15"),
        ("flex", 200_000): 3,
        ("priority", 0): 8,
    }


def test_only_tiers_that_change_are_set(both: Client) -> None:
    RateFactory.create(model="gpt-4o", service_tier="flex")
    typed = filled(both, PRICED)
    page = both.post(PRICED, typed | {"action": "preview"}).content.decode()
    assert "Nothing changes" in page
    confirmed(both, PRICED, typed | {"form-1-input_usd_per_mtok": "0.2"})
    tiers = Rate.objects.filter(source="contract 12").values_list("service_tier", flat=True)
    assert [*tiers] == ["flex"]


def test_emptied_price_becomes_unknown_and_emptied_band_is_dropped(both: Client) -> None:
    RateFactory.create(model="gpt-4o", above_input_tokens=1_000)
    typed = filled(both, PRICED, **{"form-0-cache_read_usd_per_mtok": ""})
    names = [name for name in typed if name.startswith("form-1-") and "_usd_per_" in name]
    confirmed(both, PRICED, typed | dict.fromkeys(names, ""))
    rates = rates_of("gpt-4o")
    assert rates is not None
    assert [(band.above_input_tokens, band.cache_read_usd_per_mtok) for band in rates.bands] == [
        (0, None)
    ]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"source": ""}, "This field is required"),
        ({"source": "genai-prices 9"}, "is reserved for"),
        ({"form-0-output_usd_per_mtok": ""}, "Enter a price, or 0."),
        ({"form-0-input_usd_per_mtok": "-1"}, "greater than or equal to 0"),
        ({"form-0-input_usd_per_mtok": "100001"}, "less than or equal to 100000"),
        ({"form-0-input_usd_per_mtok": "", "form-0-output_usd_per_mtok": "",
          "form-0-cache_read_usd_per_mtok": ""}, "at least one service tier"),
        ({"form-1-input_usd_per_mtok": "1", "form-1-output_usd_per_mtok": "1"}, "only once"),
        ({"form-0-above_input_tokens": "5"}, "requires a price from 0 tokens"),
        ({"form-0-service_tier": "a b"}, "service_tier: must be a name"),
        ({"form-TOTAL_FORMS": "41"}, "at most 40 forms"),
    ],
)  # fmt: skip
def test_invalid_price_is_refused_with_sentence(
    both: Client, changes: dict[str, str], sentence: str
) -> None:
    page = both.post(UNPRICED, TYPED | changes | {"action": "preview"}).content.decode()
    assert sentence in page
    assert "contract 12" in page or "source" in changes
    assert not Rate.objects.filter(model="gpt-5").exists()


def test_preview_prices_last_week_at_both_prices(both: Client, acme: Organization) -> None:
    usage = {"input_uncached": 1_000_000, "output_text": 500_000}
    row = {"org": acme, "model": "gpt-4o", "provider": "openai", "usage": usage}
    AiRequestLogFactory.create(**row, cost_nanoeur=7, occurred_at=now() - timedelta(days=2))
    AiRequestLogFactory.create(**row, cost_nanoeur=7, occurred_at=now() - timedelta(days=8))
    AiRequestLogFactory.create(**row | {"model": "gpt-4"}, cost_nanoeur=7, occurred_at=now())
    typed = filled(both, PRICED, **{"form-0-input_usd_per_mtok": "5"})
    response = both.post(PRICED, typed | {"action": "preview"})
    traffic = response.context["preview"].traffic
    assert (traffic.requests, traffic.charged_nanoeur) == (1, 7)
    per_usd = Decimal(10**9) / Decimal("1.1")
    assert traffic.before_nanoeur == ceil(Decimal("7.5") * per_usd)
    assert traffic.after_nanoeur == ceil(10 * per_usd)


def test_price_list_that_changed_since_preview_is_shown_again(both: Client) -> None:
    _, version = previewed(both, UNPRICED, TYPED)
    set_price(priced("3"), model="gpt-4", now=now())
    page = both.post(UNPRICED, TYPED | {"action": "set", "version": version}).content.decode()
    assert "has changed since the preview" in page
    assert not Rate.objects.filter(model="gpt-5").exists()


def test_nothing_is_set_without_preview(both: Client) -> None:
    both.post(UNPRICED, TYPED | {"action": "set"})
    assert not Rate.objects.filter(model="gpt-5").exists()


def test_discount_with_start_date_counts_from_then(both: Client) -> None:
    day = (now() + timedelta(days=5)).date()
    page = confirmed(both, FACTOR, DISCOUNT | {"starts_at": f"{day}"})
    today, then = rates_of("gpt-4o"), rates_of("gpt-4o", days=7)
    assert today is not None
    assert then is not None
    assert (today.discount, then.discount) == (Decimal(1), Decimal("0.8"))
    assert "20 % off" in page
    assert "announced" in page


def test_factor_of_place_for_all_models_of_provider(both: Client) -> None:
    typed = {"kind": "place", "amount": "1.1", "place": "EU", "scope": "provider"}
    confirmed(both, FACTOR, typed | {"source": "a page", "starts_at": ""})
    [row] = PriceFactor.objects.all()
    assert (row.model, row.place, row.factor) == ("", "eu", Decimal("1.1"))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"amount": "101"}, "less than or equal to 100"),
        ({"place": "eu"}, "applies to every place"),
        ({"kind": "place", "place": ""}, "place: must be a name"),
        ({"kind": "luck"}, "Select a valid choice"),
    ],
)
def test_invalid_factor_is_refused(both: Client, changes: dict[str, str], sentence: str) -> None:
    page = both.post(FACTOR, DISCOUNT | {"starts_at": "", "action": "preview"} | changes)
    assert sentence in page.content.decode()
    assert not PriceFactor.objects.exists()


def test_undo_restores_price_before(both: Client) -> None:
    confirmed(both, PRICED, filled(both, PRICED, **{"form-0-input_usd_per_mtok": "5"}))
    page = both.get("/models/openai/gpt-4o").content.decode()
    [row_id] = re.findall(r'name="id" value="([^"]+)"', page)
    path = f"/models/undo?id={row_id}"
    assert "Undo what was set for openai gpt-4o?" in both.get(path).content.decode()
    rates = rates_of("gpt-4o")
    assert rates is not None
    assert rates.bands[0].input_usd_per_mtok == 5
    page = both.post(path, follow=True).content.decode()
    assert "Taken back" in page
    rates = rates_of("gpt-4o")
    assert rates is not None
    assert rates.bands[0].input_usd_per_mtok == Decimal("2.5")
    assert "has no price or factor set by hand" in both.post(path, follow=True).content.decode()
    assert HistoryEvent.objects.filter(event="price_undone").count() == 1


@pytest.mark.parametrize("path", [UNPRICED, FACTOR, "/models/undo?id=x"])
def test_only_operators_set_prices(admin: Client, prices: object, path: str) -> None:
    for response in (admin.get(path), admin.post(path, TYPED)):
        assert response.status_code == HTTPStatus.FORBIDDEN
    page = admin.get("/models/openai/gpt-4o").content.decode()
    assert "Set a price" not in page
    assert not Rate.objects.filter(model="gpt-5").exists()


@pytest.mark.parametrize("path", ["set?provider=x&name=y", "set", "factor", "undo", "undo?id=x"])
def test_setting_of_unknown_model_is_not_found(both: Client, path: str) -> None:
    assert both.get(f"/models/{path}").status_code == HTTPStatus.NOT_FOUND


@pytest.mark.parametrize("version", ["x", "", "9" * 400, "\x00", "購買協議"])
def test_invalid_version_shows_preview_again(both: Client, version: str) -> None:
    page = both.post(UNPRICED, TYPED | {"action": "set", "version": version}).content.decode()
    assert "has changed since the preview" in page
    assert re.search(r'name="version" value="\d+"', page)
    assert "contract 12" in page
    assert not Rate.objects.filter(model="gpt-5").exists()

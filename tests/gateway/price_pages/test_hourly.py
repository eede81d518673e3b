"""Operators set a price by the hour on a page, after a preview, and take it back."""

from __future__ import annotations

import re

import pytest
from django.test import Client
from django.utils.timezone import now

from costs.core.rates import Rates
from costs.models import HourlyPrice
from costs.prices.book import load_price_book
from orgs.models import HistoryEvent, Organization, User
from tests.cast import CLIENTS
from tests.costs.charges import charge
from tests.factories import MembershipFactory, UserFactory
from tests.gateway.price_pages.test_list_page import exported
from tests.gateway.price_pages.test_setting import confirmed, previewed

pytestmark = pytest.mark.django_db

HOURLY = "/models/hourly?provider=openai&name=gpt-4o"
MODEL = "/models/openai/gpt-4o"
TYPED = {
    "kind": "hour",
    "eur_per_hour": "2.40",
    "scope": "model",
    "source": "lease 7",
    "starts_at": "",
}


@pytest.fixture
def both(client_for: CLIENTS, acme: Organization, prices: object) -> Client:
    """An operator who is a member of Acme."""
    user = UserFactory.create(is_staff=True, is_superuser=True, email="op@acme.example")
    MembershipFactory.create(org=acme, user=user, role="member")
    return client_for(user)


def rates_of(model: str) -> Rates:
    found = load_price_book().rates_for([model], "openai", now())
    assert found is not None
    return found


def test_price_by_hour_is_set_shown_ended_and_taken_back(both: Client) -> None:
    page = confirmed(both, HOURLY, TYPED)
    assert "2.4 EUR an hour" in page
    assert "The prices below are an estimate" in page
    assert "lease 7" in page
    found = rates_of("gpt-4o").by_hour
    assert found is not None
    assert found.model == "gpt-4o"
    assert rates_of("gpt-4o-mini").by_hour is None
    assert "2.4 EUR an hour" in both.get("/models?q=gpt-4o").content.decode()
    files = exported(both)
    assert files["openai/gpt-4o"]["byHour"] == {
        "eurPerHour": "2.4",
        "model": "gpt-4o",
        "since": found.starts_at.isoformat(),
        "source": "lease 7",
    }
    assert files["openai/gpt-4o-mini"]["byHour"] is None

    confirmed(both, HOURLY, TYPED | {"kind": "end", "eur_per_hour": ""})
    assert rates_of("gpt-4o").by_hour is None
    page = both.get(MODEL).content.decode()
    assert "priced by tokens" in page
    [end, *_] = re.findall(r'name="id" value="([^"]+)"', page)
    assert "Taken back" in both.post(f"/models/undo?id={end}", follow=True).content.decode()
    assert rates_of("gpt-4o").by_hour is not None
    assert HistoryEvent.objects.filter(event="hourly_price_set").count() == 2


def test_preview_shows_what_last_weeks_tokens_would_have_cost(
    both: Client, acme: Organization
) -> None:
    used = ("gpt-4o-2024-08-06", 3_000_000, 1_000_000), ("gpt-4o-mini", 9, 9)
    for model, given, answered in used:
        tokens = {"input_tokens": given, "output_tokens": answered}
        charge(acme, 5, model=model, provider="openai", occurred_at=now(), **tokens)
    page, _ = previewed(both, HOURLY, TYPED)
    # 168 hours of 2.40 EUR, and a quarter of that for each of four million tokens.
    assert '<data value="403200000000"' in page
    assert '<data value="100800000000"' in page
    assert "4,000,000" in page
    assert not HourlyPrice.objects.exists()


def test_price_of_all_models_is_that_of_provider(both: Client) -> None:
    page = confirmed(both, HOURLY, TYPED | {"scope": "provider", "eur_per_hour": "0"})
    assert "0 EUR an hour for all models of openai" in page
    assert HourlyPrice.objects.get().model == ""
    refused = both.post(HOURLY, TYPED | {"action": "preview"}).content.decode()
    assert "of its own at the same time" in refused


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"eur_per_hour": ""}, "Enter a price, or 0."),
        ({"eur_per_hour": "100001"}, "less than or equal to 100000"),
        ({"eur_per_hour": "-1"}, "greater than or equal to 0"),
        ({"starts_at": "2020-01-01T00:00"}, "must begin now or later"),
        ({"source": ""}, "required"),
    ],
)
def test_invalid_price_is_refused(both: Client, changes: dict[str, str], sentence: str) -> None:
    page = both.post(HOURLY, TYPED | {"action": "preview"} | changes).content.decode()
    assert sentence in page
    assert not HourlyPrice.objects.exists()


def test_member_sees_price_and_cannot_set_it(
    both: Client, client_for: CLIENTS, member_user: User
) -> None:
    confirmed(both, HOURLY, TYPED)
    member = client_for(member_user)
    page = member.get(MODEL).content.decode()
    assert "2.4 EUR an hour" in page
    assert "Price by the hour</a>" not in page
    assert member.get(HOURLY).status_code == 403

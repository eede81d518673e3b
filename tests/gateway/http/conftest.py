"""A vendor in the place of two, policies, and prices of what the Responses API keeps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest

from gateway.call.runtime import Gateway
from gateway.providers.registry import Providers
from orgs.models import Organization
from tests.factories import OrganizationFactory, PolicyFactory, RateFactory
from tests.fake_provider.thread import FakeProvider
from tests.fake_provider.vendors import settings_at
from tests.gateway.small_vendor import SmallVendor


@pytest.fixture
def small(gateway: Gateway) -> Iterator[SmallVendor]:
    """A fake vendor that returns configured answers, in place of both."""
    with SmallVendor() as running:
        base_urls = {"anthropic": running.url, "google": running.url}
        gateway.providers = Providers(settings_at(base_urls), sandbox=True)
        yield running


@pytest.fixture
def limited(acme: Organization) -> Callable[..., None]:
    """Give Acme a policy."""

    def made(**limits: Any) -> None:
        PolicyFactory.create(org=acme, name="P", **limits)

    return made


@pytest.fixture
def kept_prices(prices: object) -> None:
    """Price two models, one of them twice as high for a context above 272,000 tokens."""
    for model, above, factor in (("gpt-5.4", 0, 1), ("gpt-5.4", 272_000, 2), ("gpt-5", 0, 1)):
        RateFactory.create(
            model=model,
            above_input_tokens=above,
            input_usd_per_mtok=Decimal("2.5") * factor,
            output_usd_per_mtok=15 * factor,
            cache_read_usd_per_mtok=Decimal("0.25") * factor,
            cache_write_30m_usd_per_mtok=Decimal("2.5") * factor,
            web_search_usd_per_k=10,
        )


@pytest.fixture
def globex_key(make_key: Callable[..., str], vendors: FakeProvider) -> str:
    """A key of another organization."""
    return make_key(OrganizationFactory.create(name="Globex", ai_gateway_enabled=True))

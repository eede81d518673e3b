"""A vendor in the place of two, and policies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from gateway.call.runtime import Gateway
from gateway.providers.registry import Providers
from orgs.models import Organization
from tests.factories import PolicyFactory
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

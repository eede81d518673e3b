"""The fixed cast: Acme with its admin, member and auditor, a stranger, and model prices."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest
from django.test import Client

from costs.prices import book
from orgs.models import Membership, Organization, User
from tests.factories import (
    ExchangeRateFactory,
    MembershipFactory,
    OrganizationFactory,
    RateFactory,
    UserFactory,
)

CLIENTS = Callable[[User], Client]

# provider, model, USD per million tokens in and out
PRICES = (
    ("openai", "gpt-4o-mini", "0.15", "0.60"),
    ("openai", "gpt-4o", "2.50", "10"),
    ("openai", "gpt-4", "30", "60"),
    ("anthropic", "claude-3-5-sonnet-20241022", "3", "15"),
    ("google", "gemini-2.0-flash", "0.10", "0.40"),
    ("mistral", "mistral-large-latest", "2", "6"),
    ("sandbox", "sandbox-small", "0.15", "0.60"),
    ("sandbox", "sandbox-large", "2.50", "10"),
)


@pytest.fixture(autouse=True)
def _no_price_list_is_kept() -> None:
    """Another test's list may have had the same version."""
    book._kept.cache_clear()


@pytest.fixture
def acme(db: None) -> Organization:
    """The default organization of tests: its gateway is on, its time zone is Paris."""
    return OrganizationFactory.create(name="Acme", slug="acme", timezone="Europe/Paris")


@pytest.fixture
def globex(db: None) -> Organization:
    """Another organization, which must be invisible to Acme's users."""
    return OrganizationFactory.create(name="Globex", slug="globex")


def _person(name: str, org: Organization, role: Membership.Role) -> User:
    user = UserFactory.create(email=f"{name}@{org.slug}.example", name=name.title())
    MembershipFactory.create(org=org, user=user, role=role)
    return user


@pytest.fixture
def admin_user(acme: Organization) -> User:
    return _person("admin", acme, Membership.Role.ADMIN)


@pytest.fixture
def member_user(acme: Organization) -> User:
    return _person("member", acme, Membership.Role.MEMBER)


@pytest.fixture
def auditor_user(acme: Organization) -> User:
    return _person("auditor", acme, Membership.Role.AUDITOR)


@pytest.fixture
def stranger(globex: Organization) -> User:
    """An admin of Globex."""
    return _person("stranger", globex, Membership.Role.ADMIN)


@pytest.fixture
def client_for() -> CLIENTS:
    """Return a test client signed in as the user."""

    def signed_in(user: User) -> Client:
        client = Client()
        client.force_login(user)
        return client

    return signed_in


@pytest.fixture
def admin(client_for: CLIENTS, admin_user: User) -> Client:
    """A test client signed in as Acme's admin."""
    return client_for(admin_user)


@pytest.fixture
def operator(client_for: CLIENTS, db: None) -> Client:
    """A test client signed in as an operator of the installation."""
    return client_for(UserFactory.create(is_staff=True, is_superuser=True))


@pytest.fixture
def prices(db: None) -> dict[str, tuple[Decimal, Decimal]]:
    """Price the models of PRICES, 1.10 USD per EUR; return USD per million tokens by model.

    The cache costs what other input does, and a thousand searches 50 USD.
    """
    ExchangeRateFactory.create()
    for provider, model, input_usd, output_usd in PRICES:
        RateFactory.create(
            provider=provider,
            model=model,
            input_usd_per_mtok=Decimal(input_usd),
            output_usd_per_mtok=Decimal(output_usd),
            cache_read_usd_per_mtok=Decimal(input_usd),
            cache_write_5m_usd_per_mtok=Decimal(input_usd),
            cache_write_30m_usd_per_mtok=Decimal(input_usd),
            web_search_usd_per_k=50,
        )
    return {model: (Decimal(paid_in), Decimal(paid_out)) for _, model, paid_in, paid_out in PRICES}

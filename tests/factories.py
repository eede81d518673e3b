"""Factories of rows, directly through the ORM without the code under test."""

from __future__ import annotations

import hashlib
import secrets
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import cache
from typing import Any

import factory
from django.conf import settings
from django.contrib.auth.hashers import Argon2PasswordHasher, make_password
from django.utils.timezone import now
from factory.django import DjangoModelFactory

from costs.models import (
    CostEvent,
    DailyCost,
    ExchangeRate,
    HourlyPrice,
    Period,
    PriceFactor,
    Rate,
    RateCard,
)
from gateway.models import (
    AiRequestLog,
    Alert,
    AlertAddress,
    AlertChannel,
    AlertDelivery,
    Budget,
    ModelAlias,
    Policy,
    Provider,
)
from gateway.providers.secrets import seal
from orgs.fields import new_id
from orgs.models import ApiKey, Membership, Organization, User

PASSWORD = "correct horse battery staple"
LONG_AGO = datetime(2024, 1, 1, tzinfo=UTC)
SOURCE = "made up for a test"


class CheapArgon2(Argon2PasswordHasher):
    """The hash that passwords have, at its least price: Argon2 is slow on purpose."""

    time_cost = 1
    memory_cost = 8
    parallelism = 1


@cache
def hashed_password() -> str:
    """Return PASSWORD hashed once: every test makes people."""
    return make_password(PASSWORD)


class OrganizationFactory(DjangoModelFactory[Organization]):
    class Meta:
        model = Organization

    name = factory.Sequence(lambda n: f"Organization {n}")
    slug = factory.Sequence(lambda n: f"organization-{n}")
    ai_gateway_enabled = True


class UserFactory(DjangoModelFactory[User]):
    class Meta:
        model = User

    email = factory.Sequence(lambda n: f"person{n}@example.org")
    password = factory.LazyFunction(hashed_password)


class MembershipFactory(DjangoModelFactory[Membership]):
    class Meta:
        model = Membership

    org = factory.SubFactory(OrganizationFactory)
    user = factory.SubFactory(UserFactory)
    role = Membership.Role.MEMBER


class ApiKeyFactory(DjangoModelFactory[ApiKey]):
    """A key as a row, for lists and pages. It cannot be used: no secret matches it."""

    class Meta:
        model = ApiKey

    org = factory.SubFactory(OrganizationFactory)
    name = factory.Sequence(lambda n: f"key {n}")
    public = factory.Sequence(lambda n: f"{n:012d}")
    digest = factory.LazyFunction(lambda: secrets.token_bytes(32))
    last_four = "abcd"


class PolicyFactory(DjangoModelFactory[Policy]):
    class Meta:
        model = Policy

    org = factory.SubFactory(OrganizationFactory)
    name = factory.Sequence(lambda n: f"Policy {n}")


class AliasFactory(DjangoModelFactory[ModelAlias]):
    class Meta:
        model = ModelAlias

    org = factory.SubFactory(OrganizationFactory)
    name = factory.Sequence(lambda n: f"alias-{n}")
    models = factory.LazyFunction(lambda: ["gpt-4o-mini"])


class ProviderFactory(DjangoModelFactory[Provider]):
    """A compatible server on the public internet, of the installation. Its secret is sealed."""

    class Meta:
        model = Provider

    name = factory.Sequence(lambda n: f"row-{n}")
    title = factory.LazyAttribute(lambda row: row.name.title())
    base_url = "https://models.example.org/v1"
    dialects = factory.LazyFunction(lambda: ["chat"])
    auth = "none"

    @classmethod
    def _create(cls, model_class: type[Provider], *args: Any, **fields: Any) -> Provider:
        row = model_class(**fields)
        if row.secret and not row.secret.startswith(("env:", "file:", "sealed:")):
            row.secret = seal(row.secret, row=row.pk, keys=settings.SECRETS_KEYS)
        row.save()
        return row


class BudgetFactory(DjangoModelFactory[Budget]):
    """A monthly budget of all calls. What it has counted is a period of its scope."""

    class Meta:
        model = Budget

    org = factory.SubFactory(OrganizationFactory)
    name = factory.Sequence(lambda n: f"Budget {n}")
    span = "month"
    limit_nanoeur = 100 * 10**9


class AlertFactory(DjangoModelFactory[Alert]):
    """A budget's alert that is open."""

    class Meta:
        model = Alert

    org = factory.SubFactory(OrganizationFactory)
    key = factory.Sequence(lambda n: f"budget:{n}:80")
    kind = Alert.Kind.BUDGET
    percent = 80
    sentence = 'Budget "Team 1" is 82 % spent.'
    figures = factory.LazyFunction(dict)
    raised_at = factory.LazyFunction(now)


class AlertChannelFactory(DjangoModelFactory[AlertChannel]):
    """A webhook on the public internet."""

    class Meta:
        model = AlertChannel

    org = factory.SubFactory(OrganizationFactory)
    kind = AlertChannel.Kind.WEBHOOK
    name = factory.Sequence(lambda n: f"Channel {n}")
    url = "https://hooks.example.org/T0/B0/secret-path"


class EmailChannelFactory(AlertChannelFactory):
    """A channel of email addresses, which are confirmed."""

    class Meta:
        skip_postgeneration_save = True

    kind = AlertChannel.Kind.EMAIL
    url = ""
    emails = factory.LazyFunction(lambda: ["ada@example.org"])

    @factory.post_generation  # type: ignore[untyped-decorator]
    def confirmed(self: Any, create: bool, extracted: bool | None, **_: Any) -> None:
        """Confirm its addresses, unless `confirmed` is False."""
        if create and extracted is not False:
            for email in self.emails:
                AlertAddress.objects.create(org=self.org, email=email, confirmed_at=now())


class AlertDeliveryFactory(DjangoModelFactory[AlertDelivery]):
    """An alert with a pending delivery."""

    class Meta:
        model = AlertDelivery

    channel = factory.SubFactory(AlertChannelFactory)
    alert = factory.SubFactory(AlertFactory, org=factory.SelfAttribute("..channel.org"))
    next_try_at = factory.LazyFunction(now)


class RateFactory(DjangoModelFactory[Rate]):
    class Meta:
        model = Rate

    provider = "openai"
    model = "gpt-4o-mini"
    starts_at = LONG_AGO
    input_usd_per_mtok = Decimal("0.15")
    output_usd_per_mtok = Decimal("0.60")
    source = SOURCE


class ExchangeRateFactory(DjangoModelFactory[ExchangeRate]):
    class Meta:
        model = ExchangeRate

    on_date = date(2024, 1, 1)
    usd_per_eur = Decimal("1.10")
    source = SOURCE


class PriceFactorFactory(DjangoModelFactory[PriceFactor]):
    class Meta:
        model = PriceFactor

    provider = "openai"
    kind = "discount"
    factor = Decimal("0.8")
    starts_at = LONG_AGO
    source = SOURCE


class HourlyPriceFactory(DjangoModelFactory[HourlyPrice]):
    """2.40 EUR an hour for all models of a provider."""

    class Meta:
        model = HourlyPrice

    provider = "own"
    nanoeur_per_hour = 2_400_000_000
    starts_at = LONG_AGO
    source = SOURCE


class PeriodFactory(DjangoModelFactory[Period]):
    """A day of the whole organization, in UTC and without a limit."""

    class Meta:
        model = Period

    org = factory.SubFactory(OrganizationFactory)
    scope = "org"
    starts_on = factory.LazyAttribute(lambda period: period.starts_at.date())
    starts_at = datetime(2025, 6, 1, tzinfo=UTC)
    ends_at = datetime(2025, 6, 2, tzinfo=UTC)


class DailyCostFactory(DjangoModelFactory[DailyCost]):
    """The cost of one day's calls with the same attributes."""

    class Meta:
        model = DailyCost

    org = factory.SubFactory(OrganizationFactory)
    period = factory.LazyAttribute(
        lambda line: (
            Period.objects.filter(org=line.org, starts_on=line.day, scope="org").first()
            or PeriodFactory.create(
                org=line.org,
                starts_at=datetime.combine(line.day, time.min, tzinfo=UTC),
                ends_at=datetime.combine(line.day + timedelta(days=1), time.min, tzinfo=UTC),
            )
        )
    )
    day = date(2025, 6, 1)
    source = "AI"
    model = "gpt-4o-mini"
    provider = "openai"
    amount_nanoeur = 2_328
    events = 1
    requests = 1
    input_tokens = 9
    output_tokens = 2


class AiRequestLogFactory(DjangoModelFactory[AiRequestLog]):
    """A request that was answered and charged."""

    class Meta:
        model = AiRequestLog

    org = factory.SubFactory(OrganizationFactory)
    occurred_at = factory.LazyFunction(now)
    completed_at = factory.SelfAttribute("occurred_at")
    channel = "api"
    requested_model = factory.SelfAttribute("model")
    model = "gpt-4o-mini"
    provider = "openai"
    status = AiRequestLog.Status.OK
    finish_reason = "stop"
    prompt_hash = factory.Sequence(lambda n: hashlib.sha256(str(n).encode()).hexdigest())
    input_tokens = 9
    output_tokens = 2
    hold_nanoeur = 10_000
    cost_nanoeur = 2_328
    latency_ms = 412
    decision = factory.LazyFunction(dict)


class RateCardFactory(DjangoModelFactory[RateCard]):
    """Rates as a charge names them."""

    class Meta:
        model = RateCard

    rates = factory.LazyFunction(dict)


class CostEventFactory(DjangoModelFactory[CostEvent]):
    """A charge for a request that was answered."""

    class Meta:
        model = CostEvent

    org = factory.SubFactory(OrganizationFactory)
    kind = CostEvent.Kind.USAGE
    occurred_at = factory.LazyFunction(now)
    recorded_at = factory.SelfAttribute("occurred_at")
    amount_nanoeur = 2_328
    request_id = factory.LazyFunction(new_id)
    hold_id = factory.LazyFunction(new_id)
    model = "gpt-4o-mini"
    provider = "openai"
    input_tokens = 9
    output_tokens = 2
    rate_card = factory.SubFactory(RateCardFactory)

"""Dated prices, factors and exchange rates."""

from __future__ import annotations

from typing import ClassVar, Final

from django.db import models
from django.db.models.functions import Lower, Trim
from django.utils.timezone import now

from costs.core.exchange_rates import USD_PER_EUR_MAX
from costs.core.rates import PRICE_COLUMNS, REQUIRED_COLUMNS
from orgs.fields import IdPrimaryKey

# The highest price in USD, for a million tokens or a thousand searches, that is taken for one:
# above it, a call could cost more than a row holds. The highest published one is 600 (o1-pro).
USD_MAX: Final = 100_000
FACTOR_MAX: Final = 100
# A large cluster costs some 10,000 EUR an hour.
NANOEUR_PER_HOUR_MAX: Final = 100_000 * 10**9
SOURCE_MAX_CHARS: Final = 300


def _is_amount(column: str) -> models.Q:
    # A range from both sides: not-a-number is above every number on PostgreSQL, text on SQLite.
    return models.Q(**{f"{column}__gte": 0, f"{column}__lte": USD_MAX})


def _is_folded(column: str) -> models.Q:
    return models.Q(**{column: Lower(Trim(column))})


def _usable_rate() -> models.Q:
    usable = models.Q(above_input_tokens__gte=0) & ~models.Q(model="")
    for column in ("provider", "model", "service_tier"):
        usable &= _is_folded(column)
    for column in PRICE_COLUMNS:
        is_unknown = models.Q(**{f"{column}__isnull": True})
        is_required = column in REQUIRED_COLUMNS
        usable &= _is_amount(column) if is_required else is_unknown | _is_amount(column)
    return usable


# What the price book takes. Of prices and factors the database lets in nothing else, but has what
# was there before.
USABLE_RATE: Final = _usable_rate()
USABLE_FACTOR: Final = (
    _is_folded("provider")
    & _is_folded("model")
    & _is_folded("place")
    & (
        models.Q(kind="place", factor__gt=0, factor__lte=FACTOR_MAX) & ~models.Q(place="")
        | models.Q(kind="discount", factor__gte=0, factor__lte=1, place="")
    )
)
USABLE_HOURLY_PRICE: Final = (
    _is_folded("provider")
    & _is_folded("model")
    & models.Q(nanoeur_per_hour__gte=0, nanoeur_per_hour__lte=NANOEUR_PER_HOUR_MAX)
)
USABLE_EXCHANGE_RATE: Final = models.Q(usd_per_eur__gt=0, usd_per_eur__lt=USD_PER_EUR_MAX)


def _rate(*, null: bool = False) -> models.DecimalField:  # type: ignore[type-arg]  # one field, two nullabilities
    return models.DecimalField(max_digits=18, decimal_places=9, null=null, blank=null)


class Rate(models.Model):
    """A dated price: what one model costs from `starts_at` until its next row.

    USD per million tokens. A row with `above_input_tokens` > 0 is a band: it prices a request
    whose input is longer than that. From an `is_end` row on there is no price, whatever its
    amounts.
    """

    id = IdPrimaryKey()
    provider = models.CharField(max_length=32)
    model = models.CharField(max_length=200)
    service_tier = models.CharField(max_length=16, default="standard")
    above_input_tokens = models.BigIntegerField(default=0)
    starts_at = models.DateTimeField()
    input_usd_per_mtok = _rate()
    output_usd_per_mtok = _rate()
    cache_read_usd_per_mtok = _rate(null=True)
    cache_read_audio_usd_per_mtok = _rate(null=True)
    cache_write_5m_usd_per_mtok = _rate(null=True)
    cache_write_30m_usd_per_mtok = _rate(null=True)
    cache_write_1h_usd_per_mtok = _rate(null=True)
    cache_write_12h_usd_per_mtok = _rate(null=True)
    input_audio_usd_per_mtok = _rate(null=True)
    output_audio_usd_per_mtok = _rate(null=True)
    web_search_usd_per_k = _rate(null=True)
    web_search_preview_usd_per_k = _rate(null=True)
    is_end = models.BooleanField(default=False, editable=False)
    source = models.CharField(max_length=SOURCE_MAX_CHARS)
    recorded_at = models.DateTimeField(default=now, editable=False)

    class Meta:
        db_table = "rate"
        ordering = ("provider", "model", "starts_at", "service_tier", "above_input_tokens")
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=("provider", "model", "service_tier", "above_input_tokens", "starts_at"),
                name="rate_once",
            ),
            models.CheckConstraint(
                condition=models.Q(input_usd_per_mtok__gte=0, output_usd_per_mtok__gte=0),
                name="rate_not_negative",
            ),
            models.CheckConstraint(condition=USABLE_RATE, name="rate_usable"),
        ]

    def __str__(self) -> str:
        return f"{self.provider} {self.model} from {self.starts_at:%Y-%m-%d}"


class PriceFactor(models.Model):
    """A dated factor on the prices of one model, or of all models of a provider (`model` empty).

    `model` is a name with its dated snapshots, or has `*` as a wildcard.
    A place's factor applies to token prices of requests that are processed there, a discount to
    every price. The model's row counts before one with a wildcard, and that before the provider's;
    then the latest one.
    From an `is_end` row on, its model and place have no factor.
    """

    class Kind(models.TextChoices):
        PLACE = "place", "place"
        DISCOUNT = "discount", "discount"

    id = IdPrimaryKey()
    provider = models.CharField(max_length=32)
    model = models.CharField(max_length=200, blank=True, default="")
    kind = models.CharField(max_length=8, choices=Kind)
    place = models.CharField(max_length=16, blank=True, default="")
    factor = models.DecimalField(max_digits=9, decimal_places=6)
    starts_at = models.DateTimeField()
    is_end = models.BooleanField(default=False, editable=False)
    source = models.CharField(max_length=SOURCE_MAX_CHARS)
    recorded_at = models.DateTimeField(default=now, editable=False)

    class Meta:
        db_table = "price_factor"
        ordering = ("provider", "model", "kind", "place", "starts_at")
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=("provider", "model", "kind", "place", "starts_at"),
                name="price_factor_once",
            ),
            models.CheckConstraint(
                condition=models.Q(factor__gte=0, factor__lte=FACTOR_MAX), name="price_factor_range"
            ),
            models.CheckConstraint(condition=USABLE_FACTOR, name="price_factor_usable"),
        ]

    def __str__(self) -> str:
        return f"{self.provider} {self.model or '*'} x {self.factor} from {self.starts_at:%Y-%m-%d}"


class HourlyPrice(models.Model):
    """A dated price by the hour of one model, or of all models of a provider (`model` empty).

    What the server costs in an hour of UTC, divided over the tokens of the calls that it admitted.
    From an `is_end` row on there is none, whatever its amount.
    """

    id = IdPrimaryKey()
    provider = models.CharField(max_length=32)
    model = models.CharField(max_length=200, blank=True, default="")
    nanoeur_per_hour = models.BigIntegerField()
    starts_at = models.DateTimeField()
    is_end = models.BooleanField(default=False, editable=False)
    source = models.CharField(max_length=SOURCE_MAX_CHARS)
    recorded_at = models.DateTimeField(default=now, editable=False)

    class Meta:
        db_table = "hourly_price"
        ordering = ("provider", "model", "starts_at")
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=("provider", "model", "starts_at"), name="hourly_price_once"
            ),
            models.CheckConstraint(condition=USABLE_HOURLY_PRICE, name="hourly_price_usable"),
        ]

    def __str__(self) -> str:
        return f"{self.provider} {self.model or '*'} by the hour from {self.starts_at:%Y-%m-%d}"


class ExchangeRate(models.Model):
    """How many USD one EUR is from a day on: by the European Central Bank, or set by hand."""

    id = IdPrimaryKey()
    on_date = models.DateField(unique=True)
    usd_per_eur = models.DecimalField(max_digits=12, decimal_places=6)
    source = models.CharField(max_length=SOURCE_MAX_CHARS)
    recorded_at = models.DateTimeField(default=now, editable=False)

    class Meta:
        db_table = "exchange_rate"
        ordering = ("-on_date",)
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=models.Q(usd_per_eur__gt=0), name="exchange_rate_positive"
            )
        ]

    def __str__(self) -> str:
        return f"{self.usd_per_eur} USD per EUR on {self.on_date}"


class PriceList(models.Model):
    """One row whose `version` grows with every change of a price, by trigger.

    `providers_version` grows with every change of an installation's provider.
    """

    id = models.SmallIntegerField(primary_key=True, default=1)
    version = models.BigIntegerField(default=1)
    providers_version = models.BigIntegerField(default=0, db_default=0)

    class Meta:
        db_table = "price_list"

    def __str__(self) -> str:
        return f"version {self.version}"

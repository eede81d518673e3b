"""The forms by which an operator sets prices, discounts and the factors of places."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

from django import forms

from costs.core.money import euros, nanoeur_from_euros
from costs.core.rates import PRICE_COLUMNS, REQUIRED_COLUMNS, Band, Rates
from costs.core.usage import STANDARD_TIER
from costs.models import (
    FACTOR_MAX,
    NANOEUR_PER_HOUR_MAX,
    SOURCE_MAX_CHARS,
    USD_MAX,
    HourlyPrice,
    PriceFactor,
)
from costs.prices.book import DISCOUNT, PLACE
from costs.prices.by_hand import GivenPrice
from gateway.console.buckets import BUCKET_WORDS
from gateway.console.fields import MomentField

BANDS_MAX: Final = 40
EMPTY_BANDS: Final = 2
TOKENS_MAX: Final = 10**9
# The prices that most models have; the form folds the others away.
USUAL: Final = (
    *("input_usd_per_mtok", "cache_read_usd_per_mtok"),
    *("cache_write_5m_usd_per_mtok", "cache_write_1h_usd_per_mtok", "output_usd_per_mtok"),
)
_BUCKETS: Final = {
    "input": "input_uncached",
    "output": "output_text",
    "web_search": "web_searches",
    "web_search_preview": "web_search_previews",
}
_PERCENT: Final = Decimal(100)


def _price_field(column: str) -> forms.DecimalField:
    short = column.partition("_usd_per_")[0]
    words = BUCKET_WORDS[_BUCKETS.get(short, short)].capitalize()
    return forms.DecimalField(
        label=f"{words} (per 1,000)" if column.endswith("_per_k") else words,
        required=False,
        min_value=0,
        max_value=USD_MAX,
        max_digits=18,
        decimal_places=9,
        widget=forms.NumberInput({"step": "any", "inputmode": "decimal"}),
    )


class BandForm(forms.Form):
    """The prices of a service tier and band in USD; one without any price is dropped."""

    service_tier = forms.CharField(label="Service tier", max_length=16, initial=STANDARD_TIER)
    above_input_tokens = forms.IntegerField(
        label="Above input tokens", min_value=0, max_value=TOKENS_MAX, initial=0
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.label_suffix = ""
        for column in PRICE_COLUMNS:
            self.fields[column] = _price_field(column)

    def clean(self) -> dict[str, Any]:
        values = self.cleaned_data
        for column in REQUIRED_COLUMNS:
            if self.prices and column in values and values[column] is None:
                self.add_error(column, "Enter a price, or 0.")
        return values

    @property
    def prices(self) -> dict[str, Decimal]:
        """The given prices by column."""
        values = self.cleaned_data
        return {name: usd for name in PRICE_COLUMNS if (usd := values.get(name)) is not None}

    def usual_fields(self) -> list[forms.BoundField]:
        """The prices that the form shows at once."""
        return [self[name] for name in USUAL]

    def more_fields(self) -> list[forms.BoundField]:
        """The prices that the form folds away."""
        return [self[name] for name in PRICE_COLUMNS if name not in USUAL]

    def unfolds(self) -> bool:
        """Whether one of the folded prices is given or in error."""
        return any(field.errors or field.value() not in (None, "") for field in self.more_fields())


class _Bands(forms.BaseFormSet):  # type: ignore[type-arg]  # not subscriptable at run time
    """All tiers and bands of a model."""

    def clean(self) -> None:
        if any(self.errors):
            return
        named = [
            (form.cleaned_data["service_tier"].strip().casefold(), above)
            for form in self.forms
            if (above := form.cleaned_data.get("above_input_tokens")) is not None and form.prices
        ]
        if not named:
            raise forms.ValidationError("Enter the prices of at least one service tier.")
        if len(named) > len(set(named)):
            raise forms.ValidationError("Enter each service tier and band only once.")


BandFormSet: Final = forms.formset_factory(
    BandForm,
    formset=_Bands,
    extra=EMPTY_BANDS,
    max_num=BANDS_MAX,
    absolute_max=BANDS_MAX,
    validate_max=True,
)


class DatedForm(forms.Form):
    """When something begins, and who says so."""

    source = forms.CharField(
        label="Source",
        max_length=SOURCE_MAX_CHARS,
        help_text="Who says so: a contract, or a page with prices.",
    )

    def __init__(self, data: Mapping[str, Any] | None = None, *, zone: ZoneInfo) -> None:
        super().__init__(data, label_suffix="")
        field = MomentField("starts_at", label="Starts at", zone=zone)
        field.help_text = f"Leave empty for now. In {zone}."
        self.fields["starts_at"] = field

    def start(self, now: datetime) -> datetime:
        """Return when what a valid form sets begins."""
        starts_at: datetime | None = self.cleaned_data["starts_at"]
        return starts_at or now


class ModelFactorForm(DatedForm):
    """A discount, or the factor of a place."""

    kind = forms.ChoiceField(
        label="What changes",
        choices=[
            (DISCOUNT, "A discount on every price, in percent"),
            (PLACE, "A factor on token prices where requests are processed"),
        ],
    )
    amount = forms.DecimalField(
        label="Percent off, or factor",
        min_value=0,
        max_value=FACTOR_MAX,
        max_digits=9,
        decimal_places=6,
        widget=forms.NumberInput({"step": "any", "inputmode": "decimal"}),
        help_text="A discount of 0 ends one.",
    )
    place = forms.CharField(
        label="Place", max_length=16, required=False, help_text="Of a factor, such as eu."
    )
    scope = forms.ChoiceField(
        label="For", choices=[("model", "This model and its snapshots"), ("provider", "")]
    )

    field_order = ("kind", "amount", "place", "scope", "starts_at", "source")

    def __init__(
        self, data: Mapping[str, Any] | None = None, *, zone: ZoneInfo, provider: str
    ) -> None:
        super().__init__(data, zone=zone)
        choices = [("model", "This model and its snapshots"), ("provider", f"All of {provider}")]
        self.fields["scope"].choices = choices  # type: ignore[attr-defined]  # a ChoiceField
        self.order_fields(self.field_order)

    def factor(self, *, provider: str, model: str, now: datetime) -> PriceFactor:
        """Return the row that a valid form asks for."""
        values = self.cleaned_data
        is_discount = values["kind"] == DISCOUNT
        return PriceFactor(
            provider=provider,
            model=model if values["scope"] == "model" else "",
            kind=values["kind"],
            place=values["place"],
            factor=1 - values["amount"] / _PERCENT if is_discount else values["amount"],
            starts_at=self.start(now),
            source=values["source"],
        )


class HourlyForm(DatedForm):
    """A price by the hour, or its end."""

    kind = forms.ChoiceField(
        label="What changes",
        choices=[("hour", "A price by the hour"), ("end", "End of the price by the hour")],
    )
    eur_per_hour = forms.DecimalField(
        label="EUR an hour",
        required=False,
        min_value=0,
        max_value=euros(NANOEUR_PER_HOUR_MAX),
        max_digits=15,
        decimal_places=9,
        widget=forms.NumberInput({"step": "any", "inputmode": "decimal"}),
        help_text="What the server costs; it can be 0.",
    )
    scope = forms.ChoiceField(label="For")

    field_order = ("kind", "eur_per_hour", "scope", "starts_at", "source")

    def __init__(
        self, data: Mapping[str, Any] | None = None, *, zone: ZoneInfo, provider: str
    ) -> None:
        super().__init__(data, zone=zone)
        choices = [("provider", f"All of {provider}"), ("model", "This model")]
        self.fields["scope"].choices = choices  # type: ignore[attr-defined]  # a ChoiceField
        self.order_fields(self.field_order)

    def clean(self) -> dict[str, Any]:
        values = self.cleaned_data
        if values.get("kind") == "hour" and values.get("eur_per_hour", 0) is None:
            self.add_error("eur_per_hour", "Enter a price, or 0.")
        return values

    def row(self, *, provider: str, model: str, now: datetime) -> HourlyPrice:
        """Return the row that a valid form asks for."""
        values = self.cleaned_data
        is_end = values["kind"] == "end"
        return HourlyPrice(
            provider=provider,
            model=model if values["scope"] == "model" else "",
            nanoeur_per_hour=0 if is_end else nanoeur_from_euros(values["eur_per_hour"]),
            is_end=is_end,
            starts_at=self.start(now),
            source=values["source"],
        )


def initial_bands(rates: Rates | None) -> list[dict[str, Any]]:
    """Return the bands in force as the values of their forms, the standard tier first."""
    bands = sorted(
        rates.bands if rates else (),
        key=lambda band: (
            band.service_tier != STANDARD_TIER,
            band.service_tier,
            band.above_input_tokens,
        ),
    )
    return [asdict(band) for band in bands]


def given_prices(
    bands: Iterable[BandForm], in_force: Rates | None, base: GivenPrice
) -> list[GivenPrice]:
    """Return the prices of the tiers that differ from those in force; all else is as in `base`.

    A tier is replaced as a whole: what is not given has no price then.
    """
    tiers: dict[str, list[tuple[int, dict[str, Decimal]]]] = {}
    for form in bands:
        if form.cleaned_data and form.prices:
            tier = form.cleaned_data["service_tier"].strip().casefold()
            above = form.cleaned_data["above_input_tokens"]
            tiers.setdefault(tier, []).append((above, form.prices))
    known = _known(in_force.bands if in_force else ())
    return [
        replace(base, prices=prices, service_tier=tier, above_input_tokens=above)
        for tier, found in tiers.items()
        if dict(found) != known.get(tier)
        for above, prices in found
    ]


def _known(bands: Sequence[Band]) -> dict[str, dict[int, dict[str, Decimal]]]:
    found: dict[str, dict[int, dict[str, Decimal]]] = {}
    for band in bands:
        prices = {
            column: usd for column in PRICE_COLUMNS if (usd := getattr(band, column)) is not None
        }
        found.setdefault(band.service_tier, {})[band.above_input_tokens] = prices
    return found

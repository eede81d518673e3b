"""Django admin of the ledger: operators can view it and add prices, but change no past rows."""

from __future__ import annotations

from typing import Any, Final

from django import forms
from django.contrib import admin
from django.db import transaction
from django.http import HttpRequest
from django.utils.timezone import now

from costs.core.exchange_rates import DatedRate
from costs.models import (
    CostEvent,
    ExchangeRate,
    Hold,
    HourCost,
    HourlyPrice,
    Instance,
    Period,
    PriceFactor,
    PriceList,
    Rate,
)
from costs.prices.by_hand import GivenPrice, set_factor, set_hourly, set_prices
from costs.prices.exchange_rates import check_new, utc_day
from costs.prices.seed import SHORT_NAMES
from costs.prices.series import DatedRow
from orgs.admin import KeptAdmin
from orgs.console.refusals import refusal_in

_NAMES: Final = frozenset({"provider", "model", "service_tier", "place"})


class DatedAdmin(KeptAdmin):
    """Dated rows: a correction is a new row, since charges were made by the old one."""

    show_full_result_count = False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class ReadOnlyAdmin(DatedAdmin):
    """Rows that only the ledger writes."""

    list_per_page = 50

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False


class ByHandForm(forms.ModelForm):  # type: ignore[type-arg]  # not subscriptable at run time
    """A row that is added as `prices set` adds it: tried out first, to show why it is refused."""

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or self.cleaned_data
        if not self.errors:
            with refusal_in(self), transaction.atomic():
                row = self.add_row()
                # Names as they are written: Django compares them with the table's constraints.
                values |= {name: getattr(row, name) for name in values.keys() & _NAMES}
                transaction.set_rollback(True)
        return values

    def add_row(self) -> DatedRow:
        """Add the row, with what belongs to it. Raises PriceRefused."""
        raise NotImplementedError


class RateForm(ByHandForm):
    """A price; what is left empty is kept from the price in force then."""

    class Meta:
        model = Rate
        fields = (
            *("provider", "model", "service_tier", "above_input_tokens", "starts_at"),
            *SHORT_NAMES.values(),
            "source",
        )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        for column in SHORT_NAMES.values():
            self.fields[column].required = False
            self.fields[column].help_text = "Leave empty to keep the price in force"

    def add_row(self) -> Rate:
        values = self.cleaned_data
        prices = {
            column: values[column] for column in SHORT_NAMES.values() if values[column] is not None
        }
        named = {name: value for name, value in values.items() if name not in SHORT_NAMES.values()}
        return set_prices([GivenPrice(**named, prices=prices)], now=now()).rows[0]


class FactorForm(ByHandForm):
    """A discount, or the factor of a place; without a model for all of the provider."""

    class Meta:
        model = PriceFactor
        fields = ("provider", "model", "kind", "place", "factor", "starts_at", "source")

    def add_row(self) -> PriceFactor:
        return set_factor(PriceFactor(**self.cleaned_data), now=now()).rows[0]


class HourlyPriceForm(ByHandForm):
    """A price by the hour; without a model for all of the provider."""

    class Meta:
        model = HourlyPrice
        fields = ("provider", "model", "nanoeur_per_hour", "starts_at", "source")

    def add_row(self) -> HourlyPrice:
        return set_hourly(HourlyPrice(**self.cleaned_data), now=now()).rows[0]


class ByHandAdmin(DatedAdmin):
    """Rows that an operator adds; `prices undo` takes them back."""

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        obj.pk = form.add_row().pk


@admin.register(Rate)
class RateAdmin(ByHandAdmin):
    """Prices of models."""

    form = RateForm
    list_display = (
        *("provider", "model", "service_tier", "above_input_tokens", "starts_at"),
        *("input_usd_per_mtok", "output_usd_per_mtok", "source"),
    )
    list_filter = ("provider", "service_tier")
    search_fields = ("model",)


@admin.register(PriceFactor)
class PriceFactorAdmin(ByHandAdmin):
    """Discounts and the factors of places."""

    form = FactorForm
    list_display = ("provider", "model", "kind", "place", "factor", "starts_at", "source")
    list_filter = ("provider", "kind")
    search_fields = ("model",)


@admin.register(HourlyPrice)
class HourlyPriceAdmin(ByHandAdmin):
    """Prices by the hour."""

    form = HourlyPriceForm
    list_display = ("provider", "model", "nanoeur_per_hour", "is_end", "starts_at", "source")
    list_filter = ("provider",)


@admin.register(HourCost)
class HourCostAdmin(ReadOnlyAdmin):
    """Hours that are over, and what of them was divided."""

    list_display = (
        *("provider", "model", "starts_at", "amount_nanoeur", "unknown_nanoeur"),
        *("divided_nanoeur", "tokens", "calls", "done_at"),
    )
    list_filter = ("provider",)
    ordering = ("-starts_at",)


class ExchangeRateForm(forms.ModelForm):  # type: ignore[type-arg]  # not subscriptable at run time
    """A rate, checked as `rates set` does."""

    class Meta:
        model = ExchangeRate
        fields = ("on_date", "usd_per_eur", "source")

    def clean(self) -> dict[str, Any]:
        values = self.cleaned_data
        if values.keys() >= {"on_date", "usd_per_eur", "source"}:
            rate = DatedRate(values["on_date"], values["usd_per_eur"])
            with refusal_in(self):
                check_new(rate, source=values["source"], today=utc_day(now()))
        return values


@admin.register(ExchangeRate)
class ExchangeRateAdmin(DatedAdmin):
    """USD per EUR: the European Central Bank's reference rates, and those set by hand."""

    form = ExchangeRateForm
    list_display = ("on_date", "usd_per_eur", "source")
    date_hierarchy = "on_date"


@admin.register(PriceList)
class PriceListAdmin(ReadOnlyAdmin):
    """The price list's version."""

    list_display = ("id", "version")


@admin.register(Instance)
class InstanceAdmin(ReadOnlyAdmin):
    """Processes and their heartbeats."""

    list_display = ("id", "host", "pid", "started_at", "seen_at", "stopped_at")
    ordering = ("-started_at",)


@admin.register(Period)
class PeriodAdmin(ReadOnlyAdmin):
    """Limits, held and settled amounts."""

    list_display = (
        *("org", "scope", "starts_at", "ends_at", "limit_nanoeur"),
        *("held_nanoeur", "settled_nanoeur", "overrun_nanoeur"),
    )
    list_filter = ("org",)
    list_select_related = ("org",)
    ordering = ("-starts_at",)


@admin.register(Hold)
class HoldAdmin(ReadOnlyAdmin):
    """Money reserved for calls."""

    list_display = ("id", "org", "state", "amount_nanoeur", "charged_nanoeur", "held_at")
    list_filter = ("state", "org")
    list_select_related = ("org",)
    search_fields = ("=id", "=request_id")
    ordering = ("-id",)


@admin.register(CostEvent)
class CostEventAdmin(ReadOnlyAdmin):
    """Charges."""

    list_display = ("id", "org", "kind", "occurred_at", "amount_nanoeur", "provider", "model")
    list_filter = ("kind", "provider", "org")
    list_select_related = ("org",)
    search_fields = ("=id", "=request_id", "=hold_id")
    ordering = ("-id",)

"""The filters of the list of models."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlencode

from django import forms

from costs.core.rates import Rates
from costs.core.usage import STANDARD_TIER
from gateway.core.model_names import NAME_MAX_CHARS
from gateway.price_pages.reports import PricedModel

PER_PAGE: Final = 50
PAGES_MAX: Final = 10_000
FILTERS: Final = ("q", "provider", "sort")
SORTS: Final = (
    ("", "Provider and name"),
    ("cost", "Cost, highest first"),
    ("requests", "Requests, most first"),
    ("input", "Input price, lowest first"),
    ("output", "Output price, lowest first"),
)


def _usd(column: str) -> Callable[[PricedModel], tuple[bool, Any]]:
    def key(each: PricedModel) -> tuple[bool, Any]:
        return each.rates is None, each.rates and getattr(standard_band(each.rates), column)

    return key


_KEYS: Final[Mapping[str, Callable[[PricedModel], Any]]] = {
    "cost": lambda each: -each.use.cost_nanoeur,
    "requests": lambda each: -each.use.requests,
    "input": _usd("input_usd_per_mtok"),
    "output": _usd("output_usd_per_mtok"),
}


class ModelFilterForm(forms.Form):
    """A search, a provider and an order; an empty URL is every model."""

    q = forms.CharField(
        label="Search", required=False, max_length=NAME_MAX_CHARS, widget=forms.SearchInput
    )
    provider = forms.ChoiceField(label="Provider", required=False)
    sort = forms.ChoiceField(label="Sort by", required=False, choices=SORTS)
    page = forms.IntegerField(
        required=False, min_value=1, max_value=PAGES_MAX, widget=forms.HiddenInput
    )

    def __init__(self, data: Mapping[str, Any], *, providers: Iterable[str]) -> None:
        super().__init__(data, label_suffix="")
        choices = [("", "All"), *((name, name) for name in sorted(providers))]
        self.fields["provider"].choices = choices  # type: ignore[attr-defined]  # a ChoiceField

    def chosen(self, models: Sequence[PricedModel]) -> list[PricedModel]:
        """Return the models that a valid form asks for, in its order."""
        values = self.cleaned_data
        wanted, provider = values["q"].strip().casefold(), values["provider"]
        found = [
            each
            for each in models
            if provider in ("", each.model.provider)
            and wanted in f"{each.model.provider}/{each.model.id}".casefold()
        ]
        return sorted(found, key=_KEYS[values["sort"]]) if values["sort"] else found

    @property
    def page_number(self) -> int:
        """The number of the page that a valid form asks for."""
        return self.cleaned_data["page"] or 1

    def address(self, page: int = 1) -> str:
        """Return a valid form as a query."""
        values = {name: value for name in FILTERS if (value := self.cleaned_data[name])}
        return urlencode(values | ({"page": page} if page > 1 else {}))


def standard_band(rates: Rates) -> Any:
    """Return the list prices of the standard tier for the shortest requests."""
    return next(
        band
        for band in rates.bands
        if band.service_tier == STANDARD_TIER and band.above_input_tokens == 0
    )

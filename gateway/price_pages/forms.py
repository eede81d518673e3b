"""The filters of the list of models."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final
from urllib.parse import urlencode

from django import forms

from costs.core.rates import Rates
from costs.core.usage import STANDARD_TIER
from gateway.core.model_names import NAME_MAX_CHARS
from gateway.price_pages.reports import ListedModel, ModelTable

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


def _usd(column: str) -> Callable[[ModelTable, ListedModel], tuple[bool, Any]]:
    def key(table: ModelTable, each: ListedModel) -> tuple[bool, Any]:
        rates = table.priced(each).rates
        return rates is None, rates and getattr(standard_band(rates), column)

    return key


_KEYS: Final[Mapping[str, Callable[[ModelTable, ListedModel], Any]]] = {
    "cost": lambda _, each: -each.use.cost_nanoeur,
    "requests": lambda _, each: -each.use.requests,
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

    def chosen(self, table: ModelTable) -> list[ListedModel]:
        """Return the models that a valid form asks for, in its order."""
        values = self.cleaned_data
        wanted, provider = values["q"].strip().casefold(), values["provider"]
        found = [
            each
            for each in table.models.values()
            if provider in ("", each.provider) and wanted in each.qualified_name
        ]
        sort = values["sort"]
        return sorted(found, key=partial(_KEYS[sort], table)) if sort else found

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

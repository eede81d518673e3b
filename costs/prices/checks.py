"""What a price set by hand must be: the same for the command, files and Django admin."""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from django.apps import apps
from django.core.exceptions import ValidationError

from costs.core.model_names import NAME, without_prefix
from costs.core.money import euros
from costs.core.usage import STANDARD_PLACE, STANDARD_TIER
from costs.models import FACTOR_MAX, NANOEUR_PER_HOUR_MAX, USD_MAX, HourlyPrice, PriceFactor, Rate
from costs.prices.book import DISCOUNT, PLACE
from costs.prices.seed import SHORT_NAMES, known_providers
from costs.prices.series import SEEDED_SOURCES, UNDONE, DatedRow
from orgs.core.errors import Invalid

HAND_SOURCE: Final = "set by hand"
STARTS_SINCE: Final = datetime(2000, 1, 1, tzinfo=UTC)
STARTS_UNTIL: Final = datetime(2100, 1, 1, tzinfo=UTC)

_TIER_OR_PLACE: Final = re.compile(r"[a-z0-9][a-z0-9._-]*")


class PriceRefused(Invalid):
    """A price cannot be added or taken back; the message says why."""


def check_price(row: Rate) -> None:
    """Write the names of a price in lower case, and check it. Raises PriceRefused."""
    row.provider, row.model = folded_provider(row.provider), folded_model(row.provider, row.model)
    row.service_tier = _folded(row.service_tier)
    _check_common(row)
    if row.service_tier == "default" or not _TIER_OR_PLACE.fullmatch(row.service_tier):
        raise PriceRefused(
            f"service_tier: must be a name such as {STANDARD_TIER} or priority, "
            f"not {row.service_tier!r}",
            field="service_tier",
        )
    if row.above_input_tokens < 0:
        raise PriceRefused(
            f"above_input_tokens must be at least 0, not {row.above_input_tokens}",
            field="above_input_tokens",
        )
    for column in SHORT_NAMES.values():
        usd: Decimal | None = getattr(row, column)
        if usd is not None and usd < 0:
            raise PriceRefused(f"{column} must be at least 0, not {usd}", field=column)
        if usd is not None and usd > USD_MAX:
            raise PriceRefused(f"{column} must be at most {USD_MAX}, not {usd}", field=column)


def check_factor(row: PriceFactor) -> None:
    """Write the names of a factor in lower case, and check it. Raises PriceRefused."""
    row.provider, row.model = folded_provider(row.provider), folded_model(row.provider, row.model)
    row.place = _folded(row.place)
    _check_common(row)
    if row.kind == DISCOUNT:
        if row.place:
            raise PriceRefused("A discount applies to every place", field="place")
        if not 0 <= row.factor <= 1:
            raise PriceRefused(
                f"The factor of a discount must be between 0 and 1, not {row.factor}",
                field="factor",
            )
    elif row.kind == PLACE:
        if row.place == STANDARD_PLACE or not _TIER_OR_PLACE.fullmatch(row.place):
            raise PriceRefused(
                f"place: must be a name such as eu or us, not {row.place!r}", field="place"
            )
        if not 0 < row.factor <= FACTOR_MAX:
            raise PriceRefused(
                f"The factor of a place must be above 0 and at most {FACTOR_MAX}, not {row.factor}",
                field="factor",
            )


def check_hourly(row: HourlyPrice, *, now: datetime) -> None:
    """Write the names of a price by the hour in lower case, and check it. Raises PriceRefused."""
    row.provider, row.model = folded_provider(row.provider), folded_model(row.provider, row.model)
    _check_common(row)
    if not 0 <= row.nanoeur_per_hour <= NANOEUR_PER_HOUR_MAX:
        most = euros(NANOEUR_PER_HOUR_MAX)
        raise PriceRefused(
            f"A price by the hour must be between 0 and {most:.0f} EUR", field="nanoeur_per_hour"
        )
    if row.starts_at < now:
        raise PriceRefused(
            "A price by the hour must begin now or later: earlier calls are charged already",
            field="starts_at",
        )


def folded_provider(provider: str) -> str:
    """Return a provider's name as the list has it."""
    return _folded(provider)


def folded_model(provider: str, model: str) -> str:
    """Return a model's name as the list has it: without its provider's prefix."""
    return without_prefix(_folded(model), folded_provider(provider))


def _folded(name: str) -> str:
    return name.strip().casefold()


def _other_providers() -> Collection[str]:
    found: Collection[str] = apps.get_app_config("costs").other_providers()  # type: ignore[attr-defined]
    return found


def _check_common(row: DatedRow) -> None:
    """Check what prices and factors have in common: provider, model, columns, start, source."""
    if row.provider not in known_providers() and row.provider not in _other_providers():
        known = ", ".join(sorted(known_providers()))
        raise PriceRefused(
            f"Unknown provider {row.provider!r}; must be one of {known}, or one that was added",
            field="provider",
        )
    row.source = row.source.strip()
    if row.source.startswith((*SEEDED_SOURCES, UNDONE)):
        raise PriceRefused(f"Source {row.source!r} is reserved for `prices load`", field="source")
    try:
        row.clean_fields()
    except ValidationError as exc:
        (name, (problem, *_)), *_ = exc.message_dict.items()
        raise PriceRefused(f"{name}: {problem}", field=name) from exc
    if not row.source.isprintable():
        raise PriceRefused("source: must be printable text", field="source")
    if row.model and not NAME.fullmatch(row.model):
        raise PriceRefused(f"model: {row.model!r} is not a valid model name", field="model")
    if not STARTS_SINCE <= row.starts_at < STARTS_UNTIL:
        raise PriceRefused(
            f"starts_at: must be between the years {STARTS_SINCE:%Y} and {STARTS_UNTIL:%Y}",
            field="starts_at",
        )

"""What a price by the hour would have made of last week's tokens."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.db.models import Sum

from costs.core.model_names import means
from costs.models import DailyCost, HourlyPrice
from orgs.models import Organization

DAYS: Final = 7
_HOURS: Final = DAYS * 24
_MTOK: Final = 10**6


@dataclass(frozen=True, slots=True, kw_only=True)
class HourlyWeek:
    """The hours of a week and the tokens that all organizations used in it."""

    cost_nanoeur: int
    tokens: int

    @property
    def nanoeur_per_mtok(self) -> int | None:
        """What a million tokens would have cost, rounded up; None if none were used."""
        return -(-self.cost_nanoeur * _MTOK // self.tokens) if self.tokens else None


def hourly_week(row: HourlyPrice, *, now: datetime) -> HourlyWeek:
    """Return last week at a price that is not set yet."""
    lines = DailyCost.objects.filter(
        org__in=Organization.objects.values("id"),
        day__gt=(now - timedelta(days=DAYS)).date(),
        provider=row.provider,
    )
    used = lines.values_list("model").annotate(
        input=Sum("input_tokens"), output=Sum("output_tokens")
    )
    tokens = sum(
        of_input + of_output
        for model, of_input, of_output in used
        if not row.model or means(row.model, model=model, provider=row.provider)
    )
    return HourlyWeek(cost_nanoeur=_HOURS * row.nanoeur_per_hour, tokens=int(tokens))

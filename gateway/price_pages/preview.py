"""What a change of a model's price would cost, before it is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from django.db import transaction

from costs.core.pricing import cost_nanoeur
from costs.core.rates import Rates
from costs.core.usage import FEES, TOKEN_BUCKETS, UnusableUsage, Usage
from costs.prices.book import load_price_book
from gateway.core.model_names import Model
from gateway.core.traces import integer, mapping, text
from gateway.models import AiRequestLog

DAYS: Final = 7
# The newest requests of the model that are priced again.
REQUESTS_MAX: Final = 2_000
_SAMPLE: Final = Usage(input_uncached=1_000, output_text=1_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class PastTraffic:
    """The last requests of a model, at the prices before and after; None where there is none.

    `charged_nanoeur` is what they did cost. `is_cut` if there were more.
    """

    requests: int
    charged_nanoeur: int
    before_nanoeur: int | None
    after_nanoeur: int | None
    is_cut: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """A model's rates at a moment before and after a change; None is unpriced.

    `version` is the price list's: the change can be confirmed while it is the same.
    """

    version: int
    at: datetime
    before: Rates | None
    after: Rates | None
    traffic: PastTraffic | None

    @property
    def sample_before(self) -> int | None:
        """What 1,000 tokens of input and 1,000 of output cost before, in nano-euro."""
        return cost_nanoeur(_SAMPLE, self.before) if self.before else None

    @property
    def sample_after(self) -> int | None:
        """What they cost after, in nano-euro."""
        return cost_nanoeur(_SAMPLE, self.after) if self.after else None


def preview(
    change: Callable[[], object],
    *,
    model: Model,
    starts_at: datetime,
    now: datetime,
    org_id: UUID | None,
) -> Preview:
    """Try a change out, and take it back. Raises what `change` raises."""
    names, provider = model.price_names, model.provider
    book = load_price_book(provider, names)
    before = book.rates_for(names, provider, starts_at)
    with transaction.atomic():
        change()
        after = load_price_book(provider, names).rates_for(names, provider, starts_at)
        transaction.set_rollback(True)
    traffic = None if org_id is None else _traffic(model, before, after, org_id=org_id, now=now)
    return Preview(version=book.version, at=starts_at, before=before, after=after, traffic=traffic)


def _traffic(
    model: Model, before: Rates | None, after: Rates | None, *, org_id: UUID, now: datetime
) -> PastTraffic:
    rows = AiRequestLog.objects.filter(
        org=org_id,
        model=model.id,
        provider=model.provider,
        occurred_at__gte=now - timedelta(days=DAYS),
        cost_nanoeur__isnull=False,
        usage__isnull=False,
    ).order_by("-occurred_at", "-id")
    read = list(rows.values_list("cost_nanoeur", "usage")[:REQUESTS_MAX])
    found = [
        (cost or 0, usage)
        for cost, column in read
        if (usage := _usage(mapping(column))) is not None
    ]
    usages = [usage for _, usage in found]
    return PastTraffic(
        requests=len(found),
        charged_nanoeur=sum(cost for cost, _ in found),
        before_nanoeur=_sum(usages, before),
        after_nanoeur=_sum(usages, after),
        is_cut=len(read) == REQUESTS_MAX,
    )


def _sum(usages: list[Usage], rates: Rates | None) -> int | None:
    return sum([cost_nanoeur(usage, rates) for usage in usages]) if rates else None


def _usage(column: Mapping[str, object]) -> Usage | None:
    """Return the usage that an audit row keeps, or None if it keeps none."""
    buckets = mapping(column.get("buckets")) or column
    counts = {
        name: count
        for name in (*TOKEN_BUCKETS, *FEES)
        if (count := integer(buckets.get(name))) is not None
    }
    named = {
        name: value for name in ("service_tier", "place") if (value := text(buckets.get(name)))
    }
    try:
        return Usage(**counts, **named) if counts else None  # type: ignore[arg-type]  # by name
    except UnusableUsage:
        return None

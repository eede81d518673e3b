"""A paid answer reaches its client, whatever its price is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection

from costs.core.usage import Usage
from costs.models import Hold, Rate
from gateway.call.runtime import Gateway
from gateway.models import AiRequestLog
from tests.costs.books import check_the_books
from tests.costs.unusable import walls_down
from tests.databases import by_hand
from tests.gateway.conftest import Asking
from tests.gateway.stand_ins import Only, StandIn

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]

HELLO = {"model": "sandbox-small", "prompt": "Say hello", "maxTokens": 50}
SNAPSHOT = "sandbox-small-0613"
CACHED = Usage(cache_read=1000, output_text=2)
WAYS = pytest.mark.parametrize("fields", [{}, {"stream": True}], ids=["whole", "streamed"])


def plant(gateway: Gateway, **prices: Any) -> None:
    """Add a price to the process's list that the database would refuse."""
    book = gateway.call_loop.call_sync(gateway.directory.prices())
    row = Rate(provider="sandbox", model=SNAPSHOT, starts_at=datetime(2020, 1, 1, tzinfo=UTC))
    row.input_usd_per_mtok, row.output_usd_per_mtok = Decimal(1), Decimal(1)
    for column, value in prices.items():
        setattr(row, column, value)
    book._rows["sandbox", SNAPSHOT] = [row]  # type: ignore[index]  # a mapping only by its type


@WAYS
@pytest.mark.parametrize("usd", [Decimal(-5), "no number"])
def test_answer_without_usable_price_is_charged_at_its_hold(
    ask: Asking, gateway: Gateway, fields: dict[str, Any], usd: Any
) -> None:
    plant(gateway, cache_read_usd_per_mtok=usd)
    gateway.providers = Only(StandIn(model=SNAPSHOT, usage=CACHED))
    reply = ask(HELLO | fields)
    assert reply.status == 200
    assert b"Hello" in reply.body
    assert b'"error"' not in reply.body
    hold, row = Hold.objects.get(), AiRequestLog.objects.get()
    assert (hold.state, hold.charged_nanoeur) == ("unknown", hold.amount_nanoeur)
    assert (row.status, row.cost_nanoeur) == ("unknown", hold.amount_nanoeur)
    assert row.input_tokens == 1000
    check_the_books()


@WAYS
def test_row_changed_in_sql_does_not_lose_answer(
    ask: Asking, gateway: Gateway, fields: dict[str, Any]
) -> None:
    with walls_down():
        Rate.objects.create(
            provider="sandbox",
            model=SNAPSHOT,
            starts_at=datetime(2020, 1, 1, tzinfo=UTC),
            input_usd_per_mtok=1,
            output_usd_per_mtok=1,
            cache_read_usd_per_mtok=-5,
            source="by SQL",
        )
    gateway.providers = Only(StandIn(model=SNAPSHOT, usage=CACHED))
    reply = ask(HELLO | fields)
    assert reply.status == 200
    assert b"Hello" in reply.body
    assert Hold.objects.get().charged_nanoeur > 0
    check_the_books()


def test_model_whose_price_cannot_be_used_is_unpriced(ask: Asking) -> None:
    with walls_down():
        Rate.objects.filter(model="sandbox-small").update(output_usd_per_mtok=-5)
    assert ask(HELLO).refusal[:2] == (403, "model_unpriced")
    assert not Hold.objects.exists()


@contextmanager
def events_refused() -> Iterator[None]:
    """Let the ledger fail to write a charge."""
    if connection.vendor == "postgresql":
        wall = "ALTER TABLE cost_event ADD CONSTRAINT refused CHECK (false) NOT VALID"
        gone = "ALTER TABLE cost_event DROP CONSTRAINT refused"
    else:
        wall = (
            "CREATE TRIGGER refused BEFORE INSERT ON cost_event "
            "BEGIN SELECT RAISE(ABORT, 'refused'); END"
        )
        gone = "DROP TRIGGER refused"
    by_hand(wall)
    try:
        yield
    finally:
        by_hand(gone)


@WAYS
def test_answer_whose_charge_cannot_be_written_is_delivered(
    ask: Asking, gateway: Gateway, fields: dict[str, Any]
) -> None:
    gateway.providers = Only(StandIn())
    with events_refused():
        reply = ask(HELLO | fields)
    assert reply.status == 200
    assert b"Hello" in reply.body
    assert Hold.objects.get().state == "held"

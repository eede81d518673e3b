"""The tables that the ledger writes: their columns with PostgreSQL's types, in order."""

from __future__ import annotations

from typing import Final

from costs.stores.base import Table

RATE_CARD: Final = Table("rate_card", {"id": "uuid", "rates": "jsonb"}, keeps_first=True)
HOLD: Final = Table(
    "hold",
    {
        "id": "uuid",
        "org_id": "uuid",
        "request_id": "uuid",
        "state": "text",
        "amount_nanoeur": "bigint",
        "charged_nanoeur": "bigint",
        "held_at": "timestamptz",
        "deadline_at": "timestamptz",
        "resolved_at": "timestamptz",
        "instance_id": "uuid",
        "charge_to": "jsonb",
        "rate_card_id": "uuid",
    },
)
HOLD_PERIOD: Final = Table("hold_period", {"hold_id": "uuid", "period_id": "uuid"})
PERIOD: Final = Table(
    "period",
    {
        "id": "uuid",
        "org_id": "uuid",
        "scope": "text",
        "starts_on": "date",
        "starts_at": "timestamptz",
        "ends_at": "timestamptz",
        "limit_nanoeur": "bigint",
        "held_nanoeur": "bigint",
        "settled_nanoeur": "bigint",
        "overrun_nanoeur": "bigint",
        "carried_nanoeur": "bigint",
    },
)
COST_EVENT: Final = Table(
    "cost_event",
    {
        "id": "uuid",
        "org_id": "uuid",
        "source": "text",
        "kind": "text",
        "occurred_at": "timestamptz",
        "recorded_at": "timestamptz",
        "amount_nanoeur": "bigint",
        "request_id": "uuid",
        "hold_id": "uuid",
        "model": "text",
        "provider": "text",
        "user_id": "text",
        "team_id": "text",
        "project_id": "text",
        "app_id": "text",
        "client_id": "text",
        "task_type": "text",
        "key_id": "uuid",
        "input_tokens": "bigint",
        "output_tokens": "bigint",
        "usage": "jsonb",
        "rate_card_id": "uuid",
    },
)
DAILY_COST: Final = Table(
    "daily_cost",
    {
        "id": "uuid",
        "org_id": "uuid",
        "period_id": "uuid",
        "day": "date",
        "source": "text",
        "model": "text",
        "provider": "text",
        "user_id": "text",
        "team_id": "text",
        "project_id": "text",
        "app_id": "text",
        "client_id": "text",
        "task_type": "text",
        "key_id": "uuid",
        "amount_nanoeur": "bigint",
        "events": "bigint",
        "requests": "bigint",
        "input_tokens": "bigint",
        "output_tokens": "bigint",
    },
    adds_up=("amount_nanoeur", "events", "requests", "input_tokens", "output_tokens"),
)
MONTHLY_COST: Final = Table(
    "monthly_cost",
    {"id": "uuid", "org_id": "uuid", "month": "date"}
    | {name: kind for name, kind in DAILY_COST.columns.items() if name not in ("period_id", "day")},
    adds_up=DAILY_COST.adds_up,
)
# The columns of a cost event that come from `charge_to`, in the table's order.
CHARGED_TO: Final = tuple(COST_EVENT.columns)[9:18]

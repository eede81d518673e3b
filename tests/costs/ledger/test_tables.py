"""The tables of the ledger: columns and types of the models, rows by name."""

from __future__ import annotations

import pytest
from django.db import connection

from costs.ledger.stores import tables
from costs.ledger.stores.tables import HOLD_PERIOD, PERIOD, Table, changed_values
from gateway.call.records.journal import AI_REQUEST_LOG

pytestmark = pytest.mark.both_databases

WRITTEN = [AI_REQUEST_LOG, *(each for each in vars(tables).values() if isinstance(each, Table))]


@pytest.mark.postgres_only
@pytest.mark.django_db
@pytest.mark.parametrize("table", WRITTEN, ids=lambda table: table.name)
def test_columns_have_types_of_database(table: Table) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = %s",
            [table.name],
        )
        found = dict(cursor.fetchall())
    same = {"character varying": "text", "timestamp with time zone": "timestamptz"}
    assert table.columns == {name: same.get(type_, type_) for name, type_ in found.items()}


def test_new_row_has_null_where_no_value_is_named() -> None:
    assert HOLD_PERIOD.new_values([{"period_id": 2, "hold_id": 1}, {"hold_id": 3}]) == [
        (1, 2),
        (3, None),
    ]


def test_new_row_with_unknown_column_is_rejected() -> None:
    with pytest.raises(ValueError, match="period has no columns \\['limit'\\]"):
        PERIOD.new_values([{"id": 1, "limit": 5}])


def test_changed_rows_have_their_id_first() -> None:
    rows = [{"state": "held", "id": 1, "amount": 2}, {"id": 3, "amount": 4, "state": "settled"}]
    assert changed_values(rows) == (("state", "amount"), [(1, "held", 2), (3, "settled", 4)])


def test_changed_rows_with_different_columns_are_rejected() -> None:
    with pytest.raises(ValueError, match="same columns"):
        changed_values([{"id": 1, "state": "held"}, {"id": 2, "amount": 4, "state": "held"}])


def test_charged_columns_have_order_of_line_ids() -> None:
    attributed = ("model", "provider", "user_id", "team_id", "project_id", "app_id", "client_id")
    assert (*attributed, "task_type", "key_id") == tables.CHARGED_TO

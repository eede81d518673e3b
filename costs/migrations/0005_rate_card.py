"""Rates are kept once, as a card that holds and cost events name: 0.5 to 1.8 KB less in each row.

In one transaction that keeps the ledger waiting. Processes of the version before this one must have
been stopped.
"""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import Any, Final
from uuid import UUID

import django.db.models.deletion
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

import orgs.fields
from orgs.database import run_sql

TABLES: Final = ("hold", "cost_event")
INSERT: Final = "INSERT INTO rate_card (id, rates) VALUES (%s, %s) ON CONFLICT (id) DO NOTHING"
IS_FINAL: Final = """
    CREATE TRIGGER cost_event_is_final BEFORE UPDATE ON cost_event
    BEGIN SELECT RAISE(ABORT, 'a cost event is never changed'); END
"""


def fill(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Make the cards of what holds and events have now, and name them there."""
    is_postgresql = schema_editor.connection.vendor == "postgresql"
    same = "rates = %s::jsonb" if is_postgresql else "rates = %s"
    with schema_editor.connection.cursor() as cursor:
        for table in TABLES:
            cursor.execute(f"SELECT DISTINCT rates FROM {table}")  # noqa: S608  our own name
            for (rates,) in cursor.fetchall():
                text = rates if isinstance(rates, str) else json.dumps(rates)
                card_id = str(UUID(bytes=blake2b(text.encode(), digest_size=16).digest()))
                cursor.execute(INSERT, [card_id, text])
                cursor.execute(
                    f"UPDATE {table} SET rate_card_id = %s WHERE {same}",  # noqa: S608
                    [card_id, text],
                )


def _card(*, null: bool = False) -> models.ForeignKey[Any, Any]:
    return models.ForeignKey(
        "costs.ratecard",
        django.db.models.deletion.PROTECT,
        db_constraint=False,
        db_index=False,
        null=null,
        related_name="+",
    )


class Migration(migrations.Migration):
    dependencies = [("costs", "0004_fewer_indexes")]

    operations = [
        migrations.CreateModel(
            name="RateCard",
            fields=[
                (
                    "id",
                    orgs.fields.IdPrimaryKey(
                        default=orgs.fields.new_id,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("rates", models.JSONField()),
            ],
            options={"db_table": "rate_card"},
        ),
        # By hand: to make the tables anew, as Django does on SQLite, would lose their triggers.
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.RemoveField("hold", "rates"),
                migrations.RemoveField("costevent", "rates"),
                migrations.AddField("hold", "rate_card", _card(), preserve_default=False),
                migrations.AddField("costevent", "rate_card", _card(), preserve_default=False),
            ],
            database_operations=[
                run_sql(
                    postgresql=(
                        "LOCK TABLE hold, cost_event IN EXCLUSIVE MODE",
                        *(f"ALTER TABLE {table} ADD COLUMN rate_card_id uuid" for table in TABLES),
                        "ALTER TABLE cost_event DISABLE TRIGGER cost_event_is_final",
                    ),
                    sqlite=(
                        *(
                            f"ALTER TABLE {table} ADD COLUMN rate_card_id char(36) "
                            "NOT NULL DEFAULT ''"
                            for table in TABLES
                        ),
                        "DROP TRIGGER cost_event_is_final",
                    ),
                ),
                migrations.RunPython(fill, migrations.RunPython.noop),
                run_sql(
                    postgresql=(
                        "ALTER TABLE cost_event ENABLE TRIGGER cost_event_is_final",
                        *(
                            f"ALTER TABLE {table} ALTER COLUMN rate_card_id SET NOT NULL, "
                            "DROP COLUMN rates"
                            for table in TABLES
                        ),
                    ),
                    sqlite=(
                        IS_FINAL,
                        *(f"ALTER TABLE {table} DROP COLUMN rates" for table in TABLES),
                    ),
                ),
            ],
        ),
    ]

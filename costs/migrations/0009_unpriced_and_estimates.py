"""Prices by cache lifetime, factors by place and discounts; how much of each charge is an estimate.

OpenAI's cache writes live for 30 minutes, and had the column of those that live for five. The
columns are added by hand: Django would rebuild the tables on SQLite, without their triggers.
Processes of the version before this one must have been stopped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from hashlib import blake2b
from uuid import UUID

from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps
from django.utils.timezone import now

import orgs.fields
from orgs.database import run_sql

NAMED = (
    *("source", "model", "provider", "user_id", "team_id", "project_id", "app_id", "client_id"),
    *("task_type", "key_id"),
)
RATES = (
    *("cache_read_audio_usd_per_mtok", "cache_write_30m_usd_per_mtok"),
    *("cache_write_12h_usd_per_mtok", "web_search_preview_usd_per_k"),
)
TABLES = ("cost_event", "daily_cost", "monthly_cost")
ADD = tuple(
    f"ALTER TABLE {table} ADD COLUMN estimated_nanoeur bigint NOT NULL DEFAULT 0"
    for table in TABLES
)
RAISE_VERSION = (
    "INSERT INTO price_list (id, version) VALUES (1, 1) "
    "ON CONFLICT (id) DO UPDATE SET version = price_list.version + 1"
)
FILL = (
    "UPDATE cost_event SET estimated_nanoeur = amount_nanoeur WHERE kind = 'bound'",
    """
    UPDATE cost_event SET estimated_nanoeur = -(
        SELECT b.amount_nanoeur FROM cost_event b
        WHERE b.hold_id = cost_event.hold_id AND b.kind = 'bound'
    ) WHERE kind = 'correction'
    """,
)


def rename_openai_writes(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Move OpenAI's prices of cache writes to the column of their lifetime."""
    apps.get_model("costs", "Rate").objects.filter(provider="openai").update(
        cache_write_30m_usd_per_mtok=models.F("cache_write_5m_usd_per_mtok"),
        cache_write_5m_usd_per_mtok=None,
    )


def fill_lines(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Add the estimates up by day and by month."""
    events = (
        apps.get_model("costs", "CostEvent")
        .objects.exclude(estimated_nanoeur=0)
        .values_list("hold_id", "org_id", "estimated_nanoeur", *NAMED)
    )
    placed = apps.get_model("costs", "HoldPeriod").objects.filter(period__scope="org")
    days: Counter[UUID] = Counter()
    months: Counter[UUID] = Counter()
    for hold_id, org_id, amount, *named in events.iterator():
        of_day = placed.values_list("period_id", "period__starts_on").get(hold_id=hold_id)
        days[_line_id(str(of_day[0]), named)] += amount
        months[_line_id(f"{org_id} {of_day[1].replace(day=1)}", named)] += amount
    for name, sums in (("DailyCost", days), ("MonthlyCost", months)):
        lines = apps.get_model("costs", name).objects
        for id_, amount in sums.items():
            lines.filter(id=id_).update(estimated_nanoeur=amount)


def _line_id(of: str, named: Iterable[object]) -> UUID:
    """As `costs.core.daily.line_id` had it when this was written."""
    values = ["\x00" if value is None else str(value) for value in named]
    text = "\x1f".join((of, *values))
    return UUID(bytes=blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest())


def _rate() -> models.DecimalField:  # type: ignore[type-arg]
    return models.DecimalField(max_digits=18, decimal_places=9, null=True, blank=True)


def _estimated(model: str) -> migrations.AddField:
    return migrations.AddField(model, "estimated_nanoeur", models.BigIntegerField(default=0))


class Migration(migrations.Migration):
    dependencies = [("costs", "0008_index_models_by_month")]

    operations = [
        *(migrations.AddField("rate", name, _rate()) for name in RATES),
        migrations.RunPython(rename_openai_writes, migrations.RunPython.noop),
        migrations.CreateModel(
            name="PriceFactor",
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
                ("provider", models.CharField(max_length=32)),
                ("model", models.CharField(blank=True, default="", max_length=200)),
                (
                    "kind",
                    models.CharField(
                        choices=[("place", "place"), ("discount", "discount")], max_length=8
                    ),
                ),
                ("place", models.CharField(blank=True, default="", max_length=16)),
                ("factor", models.DecimalField(decimal_places=6, max_digits=9)),
                ("starts_at", models.DateTimeField()),
                ("source", models.CharField(max_length=300)),
                ("recorded_at", models.DateTimeField(default=now, editable=False)),
            ],
            options={
                "db_table": "price_factor",
                "ordering": ("provider", "model", "kind", "place", "starts_at"),
                "constraints": [
                    models.UniqueConstraint(
                        fields=("provider", "model", "kind", "place", "starts_at"),
                        name="price_factor_once",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(factor__gte=0, factor__lte=100),
                        name="price_factor_range",
                    ),
                ],
            },
        ),
        run_sql(
            postgresql=(
                """
                CREATE TRIGGER price_factor_version
                AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON price_factor
                FOR EACH STATEMENT EXECUTE FUNCTION raise_price_list_version()
                """,
            ),
            sqlite=tuple(
                f"""
                CREATE TRIGGER price_factor_version_{event.lower()} AFTER {event} ON price_factor
                BEGIN {RAISE_VERSION}; END
                """
                for event in ("INSERT", "UPDATE", "DELETE")
            ),
        ),
        migrations.AlterField(
            "costevent",
            "kind",
            models.CharField(
                choices=[
                    ("usage", "what the provider reported"),
                    ("bound", "the whole hold, since the outcome is unknown"),
                    (
                        "estimate",
                        "the most that the provider can have produced, since it is unknown",
                    ),
                    ("correction", "the difference, since the outcome became known"),
                ],
                max_length=10,
            ),
        ),
        migrations.SeparateDatabaseAndState(
            state_operations=[_estimated(m) for m in ("costevent", "dailycost", "monthlycost")],
            database_operations=[
                run_sql(
                    postgresql=(
                        *ADD,
                        "ALTER TABLE cost_event DISABLE TRIGGER cost_event_is_final",
                        *FILL,
                        "ALTER TABLE cost_event ENABLE TRIGGER cost_event_is_final",
                    ),
                    sqlite=(
                        *ADD,
                        "DROP TRIGGER cost_event_is_final",
                        *FILL,
                        """
                        CREATE TRIGGER cost_event_is_final BEFORE UPDATE ON cost_event
                        BEGIN SELECT RAISE(ABORT, 'a cost event is never changed'); END
                        """,
                    ),
                )
            ],
        ),
        migrations.RunPython(fill_lines, migrations.RunPython.noop),
    ]

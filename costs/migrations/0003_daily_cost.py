"""The costs of each day, added up: the table, and the lines of what was charged before it.

In one transaction that keeps the ledger waiting: what would be settled between the sums and their
end would be missing from them. Processes of the version before this one must have been stopped.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import django.db.models.deletion
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps
from django.db.models import Count, Q, Sum

import orgs.fields
from orgs.database import run_sql

NAMED = (
    "source",
    "model",
    "provider",
    "user_id",
    "team_id",
    "project_id",
    "app_id",
    "client_id",
    "task_type",
    "key_id",
)
ROWS_AT_ONCE = 1000
PAST_THE_LIMIT = (
    "NEW.limit_nanoeur IS NOT NULL AND NEW.held_nanoeur > {before} AND "
    "NEW.settled_nanoeur + NEW.overrun_nanoeur + NEW.held_nanoeur > NEW.limit_nanoeur"
)


def fill(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Give every period its local date, and every organization's day its lines."""
    Period = apps.get_model("costs", "Period")
    for period in Period.objects.select_related("org").order_by("starts_at").iterator():
        # In the middle, no clock is changed and no neighbour's end is near.
        middle = period.starts_at + (period.ends_at - period.starts_at) / 2
        period.starts_on = middle.astimezone(ZoneInfo(period.org.timezone)).date()
        Period.objects.filter(pk=period.pk).update(starts_on=period.starts_on)
        if period.scope == "org":
            _fill_day(apps, period)


def _fill_day(apps: StateApps, period: Any) -> None:
    DailyCost = apps.get_model("costs", "DailyCost")
    holds = apps.get_model("costs", "HoldPeriod").objects.filter(period_id=period.pk)
    lines = (
        apps.get_model("costs", "CostEvent")
        .objects.filter(hold_id__in=holds.values("hold_id"))
        .values("org_id", *NAMED)
        .annotate(
            sum_amount_nanoeur=Sum("amount_nanoeur"),
            sum_events=Count("id"),
            sum_requests=Count("id", filter=~Q(kind="correction")),
            sum_input_tokens=Sum("input_tokens"),
            sum_output_tokens=Sum("output_tokens"),
        )
        .order_by()
    )
    DailyCost.objects.bulk_create(
        (
            DailyCost(
                id=_line_id(period.pk, [line[name] for name in NAMED]),
                org_id=line["org_id"],
                period_id=period.pk,
                day=period.starts_on,
                amount_nanoeur=line["sum_amount_nanoeur"],
                events=line["sum_events"],
                requests=line["sum_requests"],
                input_tokens=line["sum_input_tokens"] or 0,
                output_tokens=line["sum_output_tokens"] or 0,
                **{name: line[name] for name in NAMED},
            )
            for line in lines
        ),
        batch_size=ROWS_AT_ONCE,
    )


def _line_id(period_id: UUID, named: list[object]) -> UUID:
    """As `costs.core.daily.line_id` had it when this was written."""
    values = ["\x00" if value is None else str(value) for value in named]
    text = "\x1f".join((str(period_id), *values))
    return UUID(bytes=blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest())


class Migration(migrations.Migration):
    dependencies = [("costs", "0002_walls"), ("orgs", "0002_config_version")]

    operations = [
        run_sql(postgresql=("LOCK TABLE period, cost_event IN EXCLUSIVE MODE",), sqlite=()),
        migrations.AddField("period", "starts_on", models.DateField(null=True)),
        migrations.CreateModel(
            name="DailyCost",
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
                ("day", models.DateField()),
                ("source", models.CharField(max_length=16)),
                ("model", models.CharField(max_length=200)),
                ("provider", models.CharField(max_length=32)),
                ("user_id", models.CharField(max_length=128, null=True)),
                ("team_id", models.CharField(max_length=128, null=True)),
                ("project_id", models.CharField(max_length=128, null=True)),
                ("app_id", models.CharField(max_length=128, null=True)),
                ("client_id", models.CharField(max_length=128, null=True)),
                ("task_type", models.CharField(max_length=128, null=True)),
                ("key_id", orgs.fields.IdField(null=True)),
                ("amount_nanoeur", models.BigIntegerField()),
                ("events", models.BigIntegerField()),
                ("requests", models.BigIntegerField()),
                ("input_tokens", models.BigIntegerField()),
                ("output_tokens", models.BigIntegerField()),
                (
                    "org",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="orgs.organization",
                    ),
                ),
                (
                    "period",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="costs.period",
                    ),
                ),
            ],
            options={
                "db_table": "daily_cost",
                "indexes": [
                    models.Index(fields=["org", "day"], name="daily_cost_org_day"),
                    models.Index(fields=["org", "model", "provider"], name="daily_cost_org_model"),
                ],
            },
        ),
        # Lines are added to all day long: what has room on its own page needs no new index entry.
        run_sql(postgresql=("ALTER TABLE daily_cost SET (fillfactor = 70)",), sqlite=()),
        migrations.RunPython(fill, migrations.RunPython.noop),
        migrations.AlterField("period", "starts_on", models.DateField()),
        # SQLite tightens a column by making the table anew, which has no triggers.
        run_sql(
            postgresql=(),
            sqlite=(
                f"""
                CREATE TRIGGER period_wall BEFORE UPDATE ON period
                WHEN {PAST_THE_LIMIT.format(before="OLD.held_nanoeur")}
                BEGIN SELECT RAISE(ABORT, 'held would pass the limit'); END
                """,
                f"""
                CREATE TRIGGER period_wall_new BEFORE INSERT ON period
                WHEN {PAST_THE_LIMIT.format(before="0")}
                BEGIN SELECT RAISE(ABORT, 'held would pass the limit'); END
                """,
            ),
        ),
    ]

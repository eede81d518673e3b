"""The costs of each month, added up from the days' lines.

In one transaction that keeps the ledger waiting. Processes of the version before this one must have
been stopped.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any
from uuid import UUID

import django.db.models.deletion
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps
from django.db.models import Sum
from django.db.models.functions import TruncMonth

import orgs.fields
from orgs.database import run_sql

NAMED = (
    *("source", "model", "provider", "user_id", "team_id", "project_id", "app_id", "client_id"),
    *("task_type", "key_id"),
)
SUMS = ("amount_nanoeur", "events", "requests", "input_tokens", "output_tokens")
ROWS_AT_ONCE = 1000


def fill(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Make the months' lines."""
    MonthlyCost = apps.get_model("costs", "MonthlyCost")
    lines = (
        apps.get_model("costs", "DailyCost")
        .objects.annotate(month=TruncMonth("day"))
        .values("org_id", "month", *NAMED)
        .annotate(**{f"sum_{name}": Sum(name) for name in SUMS})
        .order_by()
    )
    MonthlyCost.objects.bulk_create(
        (
            MonthlyCost(
                id=_line_id(line),
                org_id=line["org_id"],
                month=line["month"],
                **{name: line[name] for name in NAMED},
                **{name: int(line[f"sum_{name}"]) for name in SUMS},
            )
            for line in lines
        ),
        batch_size=ROWS_AT_ONCE,
    )


def _line_id(line: dict[str, Any]) -> UUID:
    """As `costs.core.daily.line_id` had it when this was written."""
    values = ["\x00" if line[name] is None else str(line[name]) for name in NAMED]
    text = "\x1f".join((f"{line['org_id']} {line['month']}", *values))
    return UUID(bytes=blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest())


class Migration(migrations.Migration):
    dependencies = [("costs", "0005_rate_card")]

    operations = [
        run_sql(postgresql=("LOCK TABLE daily_cost IN EXCLUSIVE MODE",), sqlite=()),
        migrations.CreateModel(
            name="MonthlyCost",
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
                ("month", models.DateField()),
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
            ],
            options={
                "db_table": "monthly_cost",
                "indexes": [models.Index(fields=["org", "month"], name="monthly_cost_org_month")],
            },
        ),
        run_sql(postgresql=("ALTER TABLE monthly_cost SET (fillfactor = 70)",), sqlite=()),
        migrations.RunPython(fill, migrations.RunPython.noop),
    ]

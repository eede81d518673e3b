"""Sessions of agents: what charges belong to them, and what each costs by day."""

from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models

import orgs.fields
from orgs.database import run_sql

NAMES = tuple(
    (name, models.CharField(max_length=128, null=True))
    for name in (
        *("user_id", "team_id", "project_id", "app_id", "client_id", "task_type"),
        *("session_id", "agent_id"),
    )
)
SUMS = tuple(
    (name, models.BigIntegerField())
    for name in (
        *("events", "requests", "input_tokens", "output_tokens", "cache_read_tokens"),
        "amount_nanoeur",
    )
)


def _key_to(model: str) -> models.ForeignKey[models.Model]:
    return models.ForeignKey(
        model,
        django.db.models.deletion.PROTECT,
        db_constraint=False,
        db_index=False,
        related_name="+",
    )


class Migration(migrations.Migration):
    dependencies = [("costs", "0010_usable_prices"), ("orgs", "0008_names_of_keys")]

    operations = [
        migrations.AddField("costevent", "session_id", models.CharField(max_length=128, null=True)),
        migrations.AddField("costevent", "agent_id", models.CharField(max_length=128, null=True)),
        migrations.CreateModel(
            name="SessionCost",
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
                ("model", models.CharField(max_length=200)),
                ("provider", models.CharField(max_length=32)),
                *NAMES,
                ("key_id", orgs.fields.IdField(null=True)),
                ("source", models.CharField(max_length=16)),
                *SUMS,
                ("estimated_nanoeur", models.BigIntegerField(default=0)),
                ("day", models.DateField()),
                ("org", _key_to("orgs.organization")),
                ("period", _key_to("costs.period")),
            ],
            options={
                "db_table": "session_cost",
                "indexes": [
                    models.Index(fields=["org", "day"], name="session_cost_org_day"),
                    models.Index(fields=["org", "session_id"], name="session_cost_org_session"),
                ],
            },
        ),
        # A session has periods, too: thousands of an organization may be in force.
        migrations.AddIndex(
            "period",
            models.Index(fields=["org", "scope", "ends_at"], name="period_in_force"),
        ),
        # Lines are added to while their session lasts.
        run_sql(postgresql=("ALTER TABLE session_cost SET (fillfactor = 70)",), sqlite=()),
    ]

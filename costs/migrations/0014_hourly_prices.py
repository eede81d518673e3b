"""Prices by the hour, the hours that are over, and the adjustments of their calls."""

from __future__ import annotations

import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models
from django.db.models.functions import Lower, Trim

import orgs.fields
from orgs.database import run_sql

NAMED = [
    (
        "id",
        orgs.fields.IdPrimaryKey(
            default=orgs.fields.new_id, editable=False, primary_key=True, serialize=False
        ),
    ),
    ("provider", models.CharField(max_length=32)),
    ("model", models.CharField(blank=True, default="", max_length=200)),
]
AMOUNTS = ("amount_nanoeur", "unknown_nanoeur", "divided_nanoeur", "tokens", "calls")
KINDS = [
    ("usage", "what the provider reported"),
    ("bound", "the whole hold, since the outcome is unknown"),
    ("estimate", "the most that the provider can have produced, since it is unknown"),
    ("correction", "the difference, since the outcome became known"),
    ("adjustment", "the difference to its share of an hour that is over"),
]
RAISE_VERSION = (
    "INSERT INTO price_list (id, version) VALUES (1, 1) "
    "ON CONFLICT (id) DO UPDATE SET version = price_list.version + 1"
)


def _once(name: str) -> models.UniqueConstraint:
    return models.UniqueConstraint(fields=("provider", "model", "starts_at"), name=name)


class Migration(migrations.Migration):
    dependencies = [("costs", "0013_providers_version")]

    operations = [
        migrations.CreateModel(
            name="HourlyPrice",
            fields=[
                *NAMED,
                ("nanoeur_per_hour", models.BigIntegerField()),
                ("starts_at", models.DateTimeField()),
                ("is_end", models.BooleanField(default=False, editable=False)),
                ("source", models.CharField(max_length=300)),
                (
                    "recorded_at",
                    models.DateTimeField(default=django.utils.timezone.now, editable=False),
                ),
            ],
            options={
                "db_table": "hourly_price",
                "ordering": ("provider", "model", "starts_at"),
                "constraints": [
                    _once("hourly_price_once"),
                    models.CheckConstraint(
                        condition=models.Q(provider=Lower(Trim("provider")))
                        & models.Q(model=Lower(Trim("model")))
                        & models.Q(nanoeur_per_hour__gte=0, nanoeur_per_hour__lte=10**14),
                        name="hourly_price_usable",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="HourCost",
            fields=[
                *NAMED,
                ("starts_at", models.DateTimeField()),
                ("ends_at", models.DateTimeField()),
                *((name, models.BigIntegerField()) for name in AMOUNTS),
                ("counted_at", models.DateTimeField()),
                ("done_at", models.DateTimeField(null=True)),
            ],
            options={
                "db_table": "hour_cost",
                "constraints": [
                    _once("hour_cost_once"),
                    models.CheckConstraint(
                        condition=models.Q(**{f"{name}__gte": 0 for name in AMOUNTS}),
                        name="hour_cost_not_negative",
                    ),
                ],
                "indexes": [
                    models.Index(
                        condition=models.Q(done_at__isnull=True),
                        fields=["starts_at"],
                        name="hour_cost_not_done",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="HourShare",
            fields=[
                ("id", orgs.fields.IdField(primary_key=True, serialize=False)),
                (
                    "hour_cost",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="shares",
                        to="costs.hourcost",
                    ),
                ),
                ("nanoeur", models.BigIntegerField()),
                ("charged_at", models.DateTimeField(null=True)),
            ],
            options={
                "db_table": "hour_share",
                "indexes": [
                    models.Index(
                        condition=models.Q(charged_at__isnull=True),
                        fields=["hour_cost", "id"],
                        name="hour_share_not_charged",
                    )
                ],
            },
        ),
        # Of the columns nothing changes: the table keeps its triggers on SQLite.
        migrations.AlterField("costevent", "kind", models.CharField(choices=KINDS, max_length=10)),
        migrations.AddConstraint(
            "costevent",
            models.UniqueConstraint(
                condition=models.Q(kind="adjustment"),
                fields=("hold_id",),
                name="cost_event_adjusted_once",
            ),
        ),
        run_sql(
            postgresql=(
                """
                CREATE TRIGGER hourly_price_version
                AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON hourly_price
                FOR EACH STATEMENT EXECUTE FUNCTION raise_price_list_version()
                """,
            ),
            sqlite=tuple(
                f"""
                CREATE TRIGGER hourly_price_version_{event.lower()} AFTER {event} ON hourly_price
                BEGIN {RAISE_VERSION}; END
                """
                for event in ("INSERT", "UPDATE", "DELETE")
            ),
        ),
    ]

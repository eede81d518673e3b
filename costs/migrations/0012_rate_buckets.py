"""Rates: what is taken of each, and what each hold took."""

import django.db.models.deletion
from django.db import migrations, models

import orgs.fields
from orgs.database import run_sql


class Migration(migrations.Migration):
    dependencies = [
        ("costs", "0011_sessions"),
        ("orgs", "0008_names_of_keys"),
    ]

    operations = [
        migrations.CreateModel(
            name="RateBucket",
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
                ("scope", models.CharField(max_length=64)),
                ("refilled_at", models.DateTimeField()),
                ("requests_taken", models.BigIntegerField(default=0)),
                ("tokens_taken", models.BigIntegerField(default=0)),
                ("in_flight", models.IntegerField(default=0)),
                (
                    "org",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="orgs.organization",
                    ),
                ),
            ],
            options={
                "db_table": "rate_bucket",
            },
        ),
        migrations.CreateModel(
            name="HoldBucket",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "hold_id",
                        "bucket_id",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("tokens", models.BigIntegerField()),
                ("requests_per_minute", models.BigIntegerField(null=True)),
                ("tokens_per_minute", models.BigIntegerField(null=True)),
                (
                    "hold",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="hold_buckets",
                        to="costs.hold",
                    ),
                ),
                (
                    "bucket",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="costs.ratebucket",
                    ),
                ),
            ],
            options={
                "db_table": "hold_bucket",
            },
        ),
        migrations.AddConstraint(
            model_name="ratebucket",
            constraint=models.UniqueConstraint(fields=("org", "scope"), name="rate_bucket_once"),
        ),
        migrations.AddConstraint(
            model_name="ratebucket",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("in_flight__gte", 0), ("requests_taken__gte", 0), ("tokens_taken__gte", 0)
                ),
                name="rate_bucket_not_negative",
            ),
        ),
        # Each call changes its bucket twice: what has room on its own page needs no new entry.
        run_sql(postgresql=("ALTER TABLE rate_bucket SET (fillfactor = 50)",), sqlite=()),
    ]

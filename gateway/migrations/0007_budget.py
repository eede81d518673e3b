"""Budgets; a change of one raises organization.config_version: see orgs 0002."""

import django.db.models.deletion
import django.db.models.functions.text
import django.utils.timezone
from django.db import migrations, models

import orgs.fields
from orgs.database import raises_config_version


class Migration(migrations.Migration):
    dependencies = [
        ("gateway", "0006_rare_requests"),
        ("orgs", "0002_config_version"),
    ]

    operations = [
        migrations.CreateModel(
            name="Budget",
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
                ("name", models.CharField(max_length=100)),
                ("enabled", models.BooleanField(default=True)),
                (
                    "span",
                    models.CharField(
                        choices=[
                            ("day", "day"),
                            ("week", "week"),
                            ("month", "month"),
                            ("quarter", "quarter"),
                        ],
                        max_length=8,
                    ),
                ),
                ("limit_nanoeur", models.BigIntegerField()),
                ("is_hard", models.BooleanField(default=True)),
                ("user_id", models.CharField(blank=True, max_length=128, null=True)),
                ("team_id", models.CharField(blank=True, max_length=128, null=True)),
                ("project_id", models.CharField(blank=True, max_length=128, null=True)),
                ("app_id", models.CharField(blank=True, max_length=128, null=True)),
                ("client_id", models.CharField(blank=True, max_length=128, null=True)),
                ("task_type", models.CharField(blank=True, max_length=128, null=True)),
                ("revision", models.PositiveIntegerField(default=1, editable=False)),
                (
                    "created_at",
                    models.DateTimeField(default=django.utils.timezone.now, editable=False),
                ),
                ("updated_at", models.DateTimeField(auto_now=True)),
                ("models", models.JSONField(blank=True, default=list)),
                (
                    "org",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="budgets",
                        to="orgs.organization",
                    ),
                ),
            ],
            options={
                "db_table": "budget",
                "ordering": ("created_at", "id"),
                "constraints": [
                    models.UniqueConstraint(
                        models.F("org"),
                        django.db.models.functions.text.Lower("name"),
                        name="budget_name_once",
                        violation_error_message="A budget with this name exists already.",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("name", ""), _negated=True), name="budget_has_a_name"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("limit_nanoeur__gte", 0)),
                        name="budget_limit_not_negative",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("span__in", ["day", "week", "month", "quarter"])),
                        name="budget_span",
                    ),
                ],
            },
        ),
        raises_config_version("budget"),
    ]

"""Aliases; a change of one raises organization.config_version: see orgs 0002."""

import django.db.models.deletion
import django.db.models.functions.text
import django.utils.timezone
from django.db import migrations, models

import orgs.fields
from orgs.database import raises_config_version


class Migration(migrations.Migration):
    dependencies = [
        ("gateway", "0004_attempts"),
        ("orgs", "0002_config_version"),
    ]

    operations = [
        migrations.CreateModel(
            name="ModelAlias",
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
                ("retries", models.PositiveSmallIntegerField(default=0)),
                ("enabled", models.BooleanField(default=True)),
                (
                    "created_at",
                    models.DateTimeField(default=django.utils.timezone.now, editable=False),
                ),
                ("updated_at", models.DateTimeField(auto_now=True)),
                ("models", models.JSONField(default=list)),
                (
                    "org",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="aliases",
                        to="orgs.organization",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "model aliases",
                "db_table": "model_alias",
                "ordering": ("created_at", "id"),
                "constraints": [
                    models.UniqueConstraint(
                        models.F("org"),
                        django.db.models.functions.text.Lower("name"),
                        name="model_alias_name_once",
                        violation_error_message="An alias with this name exists already.",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("name", ""), _negated=True),
                        name="model_alias_has_a_name",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("retries__gte", 0), ("retries__lte", 5)),
                        name="model_alias_retries_bounded",
                    ),
                ],
            },
        ),
        raises_config_version("model_alias"),
    ]

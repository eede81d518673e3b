"""Budgets that limit each member, key or other value for itself, and raised limits of some.

The column is added by hand: with its constraint Django would rebuild the table on SQLite, without
the triggers that raise organization.config_version (see orgs 0002); a change of a raise does too.
"""

from __future__ import annotations

import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models

import orgs.fields
from orgs.database import raises_config_version

EACH = {
    "user_id": "member",
    "key_id": "key",
    "team_id": "team",
    "project_id": "project",
    "app_id": "app",
    "client_id": "client",
    "task_type": "task type",
}
NAMES = ["", *EACH]
ADD_COLUMN = (
    "ALTER TABLE budget ADD COLUMN each varchar(16) NOT NULL DEFAULT '' "
    "CONSTRAINT budget_of_known_dimension CHECK (each IN "
    f"({', '.join(repr(name) for name in NAMES)}))"
)


class Migration(migrations.Migration):
    dependencies = [("gateway", "0022_policies_of_calls")]

    operations = [
        migrations.RunSQL(
            ADD_COLUMN,
            state_operations=[
                migrations.AddField(
                    "budget",
                    "each",
                    models.CharField(
                        blank=True,
                        choices=[*EACH.items()],
                        db_default="",
                        default="",
                        max_length=16,
                    ),
                ),
                migrations.AddConstraint(
                    "budget",
                    models.CheckConstraint(
                        condition=models.Q(("each__in", NAMES)), name="budget_of_known_dimension"
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="BudgetRaise",
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
                ("part", models.CharField(max_length=12)),
                ("value", models.CharField(max_length=128)),
                ("limit_nanoeur", models.BigIntegerField()),
                ("until", models.DateField()),
                (
                    "created_at",
                    models.DateTimeField(default=django.utils.timezone.now, editable=False),
                ),
                (
                    "budget",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="raises",
                        to="gateway.budget",
                    ),
                ),
                (
                    "org",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="orgs.organization",
                    ),
                ),
            ],
            options={
                "db_table": "budget_raise",
                "ordering": ("until", "id"),
                "indexes": [models.Index(fields=["org", "until"], name="budget_raise_in_force")],
                "constraints": [
                    models.UniqueConstraint(fields=("budget", "part"), name="budget_raise_once"),
                    models.CheckConstraint(
                        condition=models.Q(("limit_nanoeur__gte", 0)),
                        name="budget_raise_not_negative",
                    ),
                ],
            },
        ),
        raises_config_version("budget_raise"),
    ]

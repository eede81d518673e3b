"""A policy's limit of the output tokens of an answer.

The column is added by hand: with its constraint Django would rebuild the table on SQLite, without
the triggers that raise organization.config_version.
"""

from __future__ import annotations

from django.db import migrations, models

ADD_COLUMN = (
    "ALTER TABLE policy ADD COLUMN max_output_tokens bigint "
    "CONSTRAINT policy_output_positive CHECK (max_output_tokens >= 1)"
)


class Migration(migrations.Migration):
    dependencies = [("gateway", "0016_above_hold")]

    operations = [
        migrations.RunSQL(
            ADD_COLUMN,
            state_operations=[
                migrations.AddField(
                    "policy", "max_output_tokens", models.BigIntegerField(blank=True, null=True)
                ),
                migrations.AddConstraint(
                    "policy",
                    models.CheckConstraint(
                        condition=models.Q(max_output_tokens__isnull=True)
                        | models.Q(max_output_tokens__gte=1),
                        name="policy_output_positive",
                    ),
                ),
            ],
        ),
    ]

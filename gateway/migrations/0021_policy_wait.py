"""How long calls wait for calls in flight that keep them out of a policy's cost.

The column is added by hand: with its constraint Django would rebuild the table on SQLite, without
the triggers that raise organization.config_version.
"""

from __future__ import annotations

from django.db import migrations, models

ADD_COLUMN = (
    "ALTER TABLE policy ADD COLUMN wait_s integer NOT NULL DEFAULT 20 "
    "CONSTRAINT policy_wait_in_range CHECK (wait_s >= 0 AND wait_s <= 3600)"
)


class Migration(migrations.Migration):
    dependencies = [("gateway", "0020_sessions")]

    operations = [
        migrations.RunSQL(
            ADD_COLUMN,
            state_operations=[
                migrations.AddField("policy", "wait_s", models.IntegerField(default=20)),
                migrations.AddConstraint(
                    "policy",
                    models.CheckConstraint(
                        condition=models.Q(wait_s__gte=0, wait_s__lte=3600),
                        name="policy_wait_in_range",
                    ),
                ),
            ],
        ),
    ]

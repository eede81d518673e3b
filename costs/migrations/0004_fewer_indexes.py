"""Drops indexes that others begin with: every request paid for them."""

from __future__ import annotations

from django.db import migrations, models
from django.db.models.deletion import PROTECT

from orgs.database import drop_index

ORG = models.ForeignKey(
    "orgs.organization", PROTECT, db_constraint=False, db_index=False, related_name="+"
)


class Migration(migrations.Migration):
    dependencies = [("costs", "0003_daily_cost")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[
                drop_index("hold_org_id_a02b238c"),
                drop_index("cost_event_org_id_7760ea34"),
                drop_index("hold_period_hold_id_b4db23ca"),
                drop_index("hold_period_period_id_9328280b"),
            ],
            state_operations=[
                migrations.AlterField("hold", "org", ORG.clone()),
                migrations.AlterField("costevent", "org", ORG.clone()),
                migrations.AlterField(
                    "holdperiod",
                    "hold",
                    models.ForeignKey(
                        "costs.hold",
                        PROTECT,
                        db_constraint=False,
                        db_index=False,
                        related_name="hold_periods",
                    ),
                ),
                migrations.AlterField(
                    "holdperiod",
                    "period",
                    models.ForeignKey(
                        "costs.period",
                        PROTECT,
                        db_constraint=False,
                        db_index=False,
                        related_name="+",
                    ),
                ),
            ],
        )
    ]

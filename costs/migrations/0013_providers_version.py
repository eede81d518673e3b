"""The version of the installation's providers, beside that of its prices.

The column is added by hand: Django would rebuild the table on SQLite, without its triggers.
"""

from __future__ import annotations

from django.db import migrations, models

from orgs.database import run_sql

ADD = "ALTER TABLE price_list ADD COLUMN providers_version bigint NOT NULL DEFAULT 0"


class Migration(migrations.Migration):
    dependencies = [("costs", "0012_rate_buckets")]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.AddField(
                    "pricelist",
                    "providers_version",
                    models.BigIntegerField(default=0, db_default=0),
                )
            ],
            database_operations=[run_sql(postgresql=(ADD,), sqlite=(ADD,))],
        ),
    ]

"""What was spent before a period began to count it."""

from django.db import migrations, models

from orgs.database import run_sql

ADD = "ALTER TABLE period ADD COLUMN carried_nanoeur bigint NOT NULL DEFAULT 0"


class Migration(migrations.Migration):
    dependencies = [("costs", "0006_monthly_cost")]

    operations = [
        # By hand: to make the table anew, as Django does on SQLite, would lose its triggers.
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.AddField("period", "carried_nanoeur", models.BigIntegerField(default=0))
            ],
            database_operations=[run_sql(postgresql=(ADD,), sqlite=(ADD,))],
        ),
    ]

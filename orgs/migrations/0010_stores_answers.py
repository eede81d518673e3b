"""Whether OpenAI keeps answers of the Responses API for the organization.

The column is added by hand: Django could rebuild the table on SQLite, without its triggers.
"""

from django.db import migrations, models

from orgs.database import run_sql

ADD_COLUMN = "ALTER TABLE organization ADD COLUMN stores_answers {} NOT NULL DEFAULT {}"


class Migration(migrations.Migration):
    dependencies = [("orgs", "0009_client_from")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[
                run_sql(
                    postgresql=(ADD_COLUMN.format("boolean", "true"),),
                    sqlite=(ADD_COLUMN.format("bool", "1"),),
                )
            ],
            state_operations=[
                migrations.AddField(
                    "organization",
                    "stores_answers",
                    models.BooleanField(db_default=True, default=True),
                )
            ],
        )
    ]

"""Dimensions that a policy requires and their known values; whether a request's user was proved.

The policy's columns are added by hand: Django would rebuild the table on SQLite, without the
triggers that raise organization.config_version.
"""

from __future__ import annotations

from django.db import migrations, models

from orgs.database import run_sql

COLUMNS = (("required_dimensions", "[]"), ("known_values", "{}"))


class Migration(migrations.Migration):
    dependencies = [("gateway", "0010_alert_breaker_and_addresses")]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.AddField(
                    "policy", "required_dimensions", models.JSONField(default=list, blank=True)
                ),
                migrations.AddField(
                    "policy", "known_values", models.JSONField(default=dict, blank=True)
                ),
            ],
            database_operations=[
                run_sql(
                    postgresql=tuple(
                        f"ALTER TABLE policy ADD COLUMN {name} jsonb NOT NULL DEFAULT '{empty}'"
                        for name, empty in COLUMNS
                    ),
                    sqlite=tuple(
                        f"ALTER TABLE policy ADD COLUMN {name} text NOT NULL DEFAULT '{empty}' "
                        f"CHECK (JSON_VALID({name}) OR {name} IS NULL)"
                        for name, empty in COLUMNS
                    ),
                )
            ],
        ),
        migrations.AddField("airequestlog", "user_proved", models.BooleanField(null=True)),
    ]

"""Where a key's calls take their client from; a change of it counts at the next request.

The column is added by hand: Django would rebuild the table on SQLite, without its triggers.
"""

from __future__ import annotations

from django.db import migrations, models

from orgs.database import run_sql

ADD_COLUMN = "ALTER TABLE api_key ADD COLUMN client_from varchar(80) NOT NULL DEFAULT ''"
KEY_COLUMNS = (
    "org_id, digest, owner_id, team_id, project_id, app_id, client_id, permissions, "
    "client_from, expires_at, revoked_at"
)


class Migration(migrations.Migration):
    dependencies = [("orgs", "0008_names_of_keys")]

    operations = [
        migrations.RunSQL(
            ADD_COLUMN,
            state_operations=[
                migrations.AddField(
                    "apikey",
                    "client_from",
                    models.CharField(blank=True, db_default="", default="", max_length=80),
                )
            ],
        ),
        run_sql(
            postgresql=(
                "DROP TRIGGER api_key_config_version ON api_key",
                f"""
                CREATE TRIGGER api_key_config_version
                AFTER DELETE OR UPDATE OF {KEY_COLUMNS} ON api_key
                FOR EACH ROW EXECUTE FUNCTION raise_config_version()
                """,
            ),
            sqlite=(
                "DROP TRIGGER api_key_config_version",
                f"""
                CREATE TRIGGER api_key_config_version AFTER UPDATE OF {KEY_COLUMNS} ON api_key
                BEGIN
                    UPDATE organization SET config_version = config_version + 1
                    WHERE id IN (OLD.org_id, NEW.org_id);
                END
                """,  # noqa: S608  a constant
            ),
        ),
    ]

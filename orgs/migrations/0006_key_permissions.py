"""Add what a key may do, the first key of its rotations, and whether its text is sealed.

Keys that exist may do everything, as before, and are looked up, since they have no seal. They keep
their own lineage, by which the Idempotency-Keys of the last day were stored.
"""

from django.db import migrations, models

import orgs.fields
from orgs.database import run_sql

KEY_COLUMNS = (
    "org_id, digest, owner_id, team_id, project_id, app_id, client_id, permissions, "
    "expires_at, revoked_at"
)


class Migration(migrations.Migration):
    dependencies = [
        ("orgs", "0005_accounts"),
    ]

    operations = [
        migrations.AddField(
            model_name="apikey",
            name="is_sealed",
            field=models.BooleanField(db_default=False, default=False, editable=False),
        ),
        migrations.AddField(
            model_name="apikey",
            name="lineage_id",
            field=orgs.fields.IdField(blank=True, editable=False, null=True),
        ),
        migrations.AddField(
            model_name="apikey",
            name="permissions",
            field=models.CharField(
                db_default="send,read,quote", default="send,read,quote", max_length=32
            ),
        ),
        migrations.AddIndex(
            model_name="apikey",
            index=models.Index(
                condition=models.Q(("is_sealed", False)),
                fields=["public"],
                name="api_key_unsealed",
            ),
        ),
        migrations.AddConstraint(
            model_name="apikey",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "permissions__in",
                        (
                            "send",
                            "read",
                            "quote",
                            "send,read",
                            "send,quote",
                            "read,quote",
                            "send,read,quote",
                        ),
                    )
                ),
                name="api_key_permissions",
            ),
        ),
        # Also for a change of permissions; SQLite lost its triggers with the rewritten table.
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
                f"""
                CREATE TRIGGER api_key_config_version AFTER UPDATE OF {KEY_COLUMNS} ON api_key
                BEGIN
                    UPDATE organization SET config_version = config_version + 1
                    WHERE id IN (OLD.org_id, NEW.org_id);
                END
                """,  # noqa: S608  a constant
                """
                CREATE TRIGGER api_key_config_version_gone AFTER DELETE ON api_key
                BEGIN
                    UPDATE organization SET config_version = config_version + 1
                    WHERE id = OLD.org_id;
                END
                """,
            ),
        ),
    ]

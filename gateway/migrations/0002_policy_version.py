"""A change of a policy raises organization.config_version: see orgs 0002."""

from django.db import migrations

from orgs.database import run_sql


class Migration(migrations.Migration):
    dependencies = [("gateway", "0001_initial"), ("orgs", "0002_config_version")]

    operations = [
        run_sql(
            postgresql=(
                """
                CREATE TRIGGER policy_config_version AFTER INSERT OR UPDATE OR DELETE ON policy
                FOR EACH ROW EXECUTE FUNCTION raise_config_version()
                """,
            ),
            sqlite=tuple(
                f"""
                CREATE TRIGGER policy_config_version_{event.lower()} AFTER {event} ON policy
                BEGIN
                    UPDATE organization SET config_version = config_version + 1
                    WHERE id IN ({rows});
                END
                """  # noqa: S608  two constants
                for event, rows in (
                    ("INSERT", "NEW.org_id"),
                    ("UPDATE", "OLD.org_id, NEW.org_id"),
                    ("DELETE", "OLD.org_id"),
                )
            ),
        )
    ]

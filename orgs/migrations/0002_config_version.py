"""Every change that could alter a decision raises organization.config_version.

RESERVE locks the organization's row and compares versions, so that a change takes effect at the
next request in every process - also one made by hand in SQL, which no code of ours sees.
Memberships and people count too: a key is only as good as its owner's place in the organization.
A rewrite of one of these tables on SQLite drops its triggers: such a migration must make them
again (a test looks for each of them).
"""

from django.db import migrations

from orgs.database import run_sql

KEY_COLUMNS = (
    "org_id, digest, owner_id, team_id, project_id, app_id, client_id, expires_at, revoked_at"
)


class Migration(migrations.Migration):
    dependencies = [("orgs", "0001_initial")]

    operations = [
        run_sql(
            postgresql=(
                """
                CREATE FUNCTION organization_config_version() RETURNS trigger
                LANGUAGE plpgsql AS $$
                BEGIN
                    NEW.config_version := OLD.config_version + 1;
                    RETURN NEW;
                END $$
                """,
                """
                CREATE TRIGGER organization_config_version BEFORE UPDATE ON organization
                FOR EACH ROW EXECUTE FUNCTION organization_config_version()
                """,
                """
                CREATE FUNCTION raise_config_version() RETURNS trigger
                LANGUAGE plpgsql AS $$
                BEGIN
                    IF TG_OP <> 'DELETE' THEN
                        UPDATE organization SET config_version = config_version + 1
                        WHERE id = NEW.org_id;
                    END IF;
                    IF TG_OP = 'DELETE' OR (TG_OP = 'UPDATE' AND OLD.org_id <> NEW.org_id) THEN
                        UPDATE organization SET config_version = config_version + 1
                        WHERE id = OLD.org_id;
                    END IF;
                    RETURN NULL;
                END $$
                """,
                f"""
                CREATE TRIGGER api_key_config_version
                AFTER DELETE OR UPDATE OF {KEY_COLUMNS} ON api_key
                FOR EACH ROW EXECUTE FUNCTION raise_config_version()
                """,
                """
                CREATE TRIGGER membership_config_version
                AFTER INSERT OR DELETE OR UPDATE ON membership
                FOR EACH ROW EXECUTE FUNCTION raise_config_version()
                """,
                """
                CREATE FUNCTION user_account_config_version() RETURNS trigger
                LANGUAGE plpgsql AS $$
                BEGIN
                    UPDATE organization SET config_version = config_version + 1
                    WHERE id IN (
                        SELECT id FROM organization
                        WHERE id IN (SELECT org_id FROM membership WHERE user_id = NEW.id)
                        ORDER BY id FOR NO KEY UPDATE
                    );
                    RETURN NULL;
                END $$
                """,
                """
                CREATE TRIGGER user_account_config_version AFTER UPDATE OF is_active ON user_account
                FOR EACH ROW WHEN (NEW.is_active <> OLD.is_active)
                EXECUTE FUNCTION user_account_config_version()
                """,
            ),
            sqlite=(
                """
                CREATE TRIGGER organization_config_version AFTER UPDATE ON organization
                WHEN NEW.config_version <> OLD.config_version + 1
                BEGIN
                    UPDATE organization SET config_version = OLD.config_version + 1
                    WHERE id = NEW.id;
                END
                """,
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
                """
                CREATE TRIGGER membership_config_version AFTER UPDATE ON membership
                BEGIN
                    UPDATE organization SET config_version = config_version + 1
                    WHERE id IN (OLD.org_id, NEW.org_id);
                END
                """,
                """
                CREATE TRIGGER membership_config_version_new AFTER INSERT ON membership
                BEGIN
                    UPDATE organization SET config_version = config_version + 1
                    WHERE id = NEW.org_id;
                END
                """,
                """
                CREATE TRIGGER membership_config_version_gone AFTER DELETE ON membership
                BEGIN
                    UPDATE organization SET config_version = config_version + 1
                    WHERE id = OLD.org_id;
                END
                """,
                """
                CREATE TRIGGER user_account_config_version AFTER UPDATE OF is_active ON user_account
                WHEN NEW.is_active <> OLD.is_active
                BEGIN
                    UPDATE organization SET config_version = config_version + 1
                    WHERE id IN (SELECT org_id FROM membership WHERE user_id = NEW.id);
                END
                """,
            ),
        )
    ]

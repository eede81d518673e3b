"""What the database itself refuses, and the version of the price list.

- A period's `held_nanoeur` never rises past its limit: the second wall behind RESERVE.
- A cost event is never changed.
- Any change of a price raises `price_list.version`, which RESERVE compares.
"""

from django.db import migrations

from orgs.database import run_sql

PAST_THE_LIMIT = (
    "NEW.limit_nanoeur IS NOT NULL AND NEW.held_nanoeur > {before} AND "
    "NEW.settled_nanoeur + NEW.overrun_nanoeur + NEW.held_nanoeur > NEW.limit_nanoeur"
)
PRICED = ("rate", "exchange_rate")
RAISE_VERSION = (
    "INSERT INTO price_list (id, version) VALUES (1, 1) "
    "ON CONFLICT (id) DO UPDATE SET version = price_list.version + 1"
)


class Migration(migrations.Migration):
    dependencies = [("costs", "0001_initial")]

    operations = [
        run_sql(
            postgresql=(
                f"""
                CREATE FUNCTION period_wall() RETURNS trigger LANGUAGE plpgsql AS $$
                BEGIN
                    IF (TG_OP = 'INSERT' AND {PAST_THE_LIMIT.format(before="0")}) THEN
                        RAISE EXCEPTION 'held would pass the limit' USING ERRCODE = '23514';
                    ELSIF (TG_OP = 'UPDATE' AND {PAST_THE_LIMIT.format(before="OLD.held_nanoeur")})
                    THEN
                        RAISE EXCEPTION 'held would pass the limit' USING ERRCODE = '23514';
                    END IF;
                    RETURN NEW;
                END $$
                """,
                """
                CREATE TRIGGER period_wall BEFORE INSERT OR UPDATE ON period
                FOR EACH ROW EXECUTE FUNCTION period_wall()
                """,
                """
                CREATE FUNCTION cost_event_is_final() RETURNS trigger LANGUAGE plpgsql AS $$
                BEGIN
                    RAISE EXCEPTION 'a cost event is never changed' USING ERRCODE = '23514';
                END $$
                """,
                """
                CREATE TRIGGER cost_event_is_final BEFORE UPDATE ON cost_event
                FOR EACH ROW EXECUTE FUNCTION cost_event_is_final()
                """,
                f"""
                CREATE FUNCTION raise_price_list_version() RETURNS trigger LANGUAGE plpgsql AS $$
                BEGIN
                    {RAISE_VERSION};
                    RETURN NULL;
                END $$
                """,
                *(
                    f"""
                    CREATE TRIGGER {table}_version
                    AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON {table}
                    FOR EACH STATEMENT EXECUTE FUNCTION raise_price_list_version()
                    """
                    for table in PRICED
                ),
            ),
            sqlite=(
                f"""
                CREATE TRIGGER period_wall BEFORE UPDATE ON period
                WHEN {PAST_THE_LIMIT.format(before="OLD.held_nanoeur")}
                BEGIN SELECT RAISE(ABORT, 'held would pass the limit'); END
                """,
                f"""
                CREATE TRIGGER period_wall_new BEFORE INSERT ON period
                WHEN {PAST_THE_LIMIT.format(before="0")}
                BEGIN SELECT RAISE(ABORT, 'held would pass the limit'); END
                """,
                """
                CREATE TRIGGER cost_event_is_final BEFORE UPDATE ON cost_event
                BEGIN SELECT RAISE(ABORT, 'a cost event is never changed'); END
                """,
                *(
                    f"""
                    CREATE TRIGGER {table}_version_{event.lower()} AFTER {event} ON {table}
                    BEGIN {RAISE_VERSION}; END
                    """
                    for table in PRICED
                    for event in ("INSERT", "UPDATE", "DELETE")
                ),
            ),
        )
    ]

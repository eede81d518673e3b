"""Prices can be taken back; the database refuses those that cannot be right.

By hand: Django would rebuild the tables on SQLite, without their triggers. Rows that are there
already stay, and the price book counts the unusable ones as no price.
"""

from __future__ import annotations

from functools import reduce
from operator import and_

from django.db import migrations, models
from django.db.models.functions import Lower, Trim

from orgs.database import run_sql

AMOUNTS = (
    *("input_usd_per_mtok", "output_usd_per_mtok"),
    *("cache_read_usd_per_mtok", "cache_read_audio_usd_per_mtok"),
    *("cache_write_5m_usd_per_mtok", "cache_write_30m_usd_per_mtok"),
    *("cache_write_1h_usd_per_mtok", "cache_write_12h_usd_per_mtok"),
    *("input_audio_usd_per_mtok", "output_audio_usd_per_mtok"),
    *("web_search_usd_per_k", "web_search_preview_usd_per_k"),
)
# `{row}` is empty in a constraint, and NEW. in a trigger. An absent amount is NULL, and passes.
RATE = " AND ".join(
    (
        "{row}above_input_tokens >= 0 AND {row}model <> ''",
        *(f"{{row}}{name} = lower(trim({{row}}{name}))" for name in ("provider", "model")),
        "{row}service_tier = lower(trim({row}service_tier))",
        *(f"{{row}}{name} BETWEEN 0 AND 100000" for name in AMOUNTS),
    )
)
FACTOR = " AND ".join(
    (
        *(f"{{row}}{name} = lower(trim({{row}}{name}))" for name in ("provider", "model", "place")),
        """(
            ({row}kind = 'place' AND {row}place <> '' AND {row}factor > 0 AND {row}factor <= 100)
            OR ({row}kind = 'discount' AND {row}place = '' AND {row}factor BETWEEN 0 AND 1)
        )""",
    )
)
TABLES = {"rate": RATE, "price_factor": FACTOR}
ADD = "ALTER TABLE {table} ADD COLUMN is_end bool NOT NULL DEFAULT false"


def _postgresql(table: str, condition: str) -> tuple[str, ...]:
    condition = condition.format(row="")
    return (
        ADD.format(table=table),
        f"ALTER TABLE {table} ADD CONSTRAINT {table}_usable CHECK ({condition}) NOT VALID",
        f"""
        DO $$ BEGIN
            IF NOT EXISTS (SELECT 1 FROM {table} WHERE NOT ({condition})) THEN
                ALTER TABLE {table} VALIDATE CONSTRAINT {table}_usable;
            END IF;
        END $$
        """,  # noqa: S608  our own names
    )


def _sqlite(table: str, condition: str) -> tuple[str, ...]:
    return (
        ADD.format(table=table),
        *(
            f"""
            CREATE TRIGGER {table}_usable_{event.lower()} BEFORE {event} ON {table}
            WHEN NOT ({condition.format(row="NEW.")})
            BEGIN SELECT RAISE(ABORT, 'CHECK constraint failed: {table}_usable'); END
            """
            for event in ("INSERT", "UPDATE")
        ),
    )


def _folded(*columns: str) -> models.Q:
    return reduce(and_, (models.Q(**{column: Lower(Trim(column))}) for column in columns))


def _amount(column: str) -> models.Q:
    return models.Q(**{f"{column}__gte": 0, f"{column}__lte": 100_000})


USABLE_RATE = reduce(
    and_,
    (
        models.Q(above_input_tokens__gte=0) & ~models.Q(model=""),
        _folded("provider"),
        _folded("model"),
        _folded("service_tier"),
        *(_amount(column) for column in AMOUNTS[:2]),
        *(models.Q(**{f"{column}__isnull": True}) | _amount(column) for column in AMOUNTS[2:]),
    ),
)
USABLE_FACTOR = _folded("provider", "model", "place") & (
    models.Q(kind="place", factor__gt=0, factor__lte=100) & ~models.Q(place="")
    | models.Q(kind="discount", factor__gte=0, factor__lte=1, place="")
)


def _ended(model: str) -> migrations.AddField:
    field = models.BooleanField(default=False, editable=False)
    return migrations.AddField(model, "is_end", field)


class Migration(migrations.Migration):
    dependencies = [("costs", "0009_unpriced_and_estimates")]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                _ended("rate"),
                _ended("pricefactor"),
                migrations.AddConstraint(
                    "rate", models.CheckConstraint(condition=USABLE_RATE, name="rate_usable")
                ),
                migrations.AddConstraint(
                    "pricefactor",
                    models.CheckConstraint(condition=USABLE_FACTOR, name="price_factor_usable"),
                ),
            ],
            database_operations=[
                run_sql(
                    postgresql=tuple(
                        part
                        for table, condition in TABLES.items()
                        for part in _postgresql(table, condition)
                    ),
                    sqlite=tuple(
                        part
                        for table, condition in TABLES.items()
                        for part in _sqlite(table, condition)
                    ),
                )
            ],
        ),
    ]

"""Sizes the Bloom filters for the rows that there are in a range of pages, some 200.

By default they are made for 930 different values and compressed. PostgreSQL writes a range's
filters anew with every row that lacks a value which all rows of the range lack, a task type for
instance, and to compress them was a tenth of what a request cost it.
"""

from __future__ import annotations

from django.db import migrations

from orgs.database import run_sql

FEW = ("status", "provider")
MANY = ("model", "requested_model", "team_id", "project_id", "app_id", "task_type")
BLOOM = ", ".join(
    f"{column} text_bloom_ops (n_distinct_per_range = {values})"
    for columns, values in ((FEW, 16), (MANY, 128))
    for column in columns
)


class Migration(migrations.Migration):
    dependencies = [("gateway", "0008_alerts")]

    operations = [
        run_sql(
            postgresql=(
                "DROP INDEX ai_request_log_filters",
                f"CREATE INDEX ai_request_log_filters ON ai_request_log USING brin ({BLOOM}) "
                "WITH (pages_per_range = 32, autosummarize = on)",
            ),
            sqlite=(),
        )
    ]

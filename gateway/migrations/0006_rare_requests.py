"""Gives PostgreSQL trees for what its planner reads too much for, with the Bloom filters alone.

It takes the newest rows' walk for a user among hundreds, who may have none, and every page for a
rare status beside another filter. A request that names no user, client or key, and goes well, pays
nothing for these.
"""

from __future__ import annotations

from django.db import migrations

from orgs.database import run_sql

BLOOM = ", ".join(
    f"{column} text_bloom_ops"
    for column in (
        *("status", "provider", "model", "requested_model"),
        *("team_id", "project_id", "app_id", "task_type"),
    )
)


def newest_by(column: str, condition: str) -> str:
    return (
        f"CREATE INDEX ai_request_log_{column} ON ai_request_log "
        f"(org_id, {column}, occurred_at DESC, id DESC) WHERE {condition}"
    )


class Migration(migrations.Migration):
    dependencies = [("gateway", "0005_model_alias")]

    operations = [
        run_sql(
            postgresql=(
                "DROP INDEX ai_request_log_filters",
                f"CREATE INDEX ai_request_log_filters ON ai_request_log USING brin ({BLOOM}) "
                "WITH (pages_per_range = 32, autosummarize = on)",
                newest_by("status", "status IN ('blocked', 'error', 'unknown')"),
                *(
                    newest_by(column, f"{column} IS NOT NULL")
                    for column in ("user_id", "client_id", "key_id")
                ),
            ),
            sqlite=(),
        )
    ]

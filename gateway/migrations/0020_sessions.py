"""Sessions of agents in the audit log, a policy's limit of each, and who named a client.

The policy's column is added by hand: with its constraint Django would rebuild the table on SQLite,
without the triggers that raise organization.config_version. Both databases have an index of
sessions and of agents: those of one are few, and in order of time. Requests without them
pay nothing for it.
"""

from __future__ import annotations

from django.db import migrations, models

from orgs.database import run_sql

ADD_COLUMN = (
    "ALTER TABLE policy ADD COLUMN max_cost_per_session_nanoeur bigint "
    "CONSTRAINT policy_session_not_negative CHECK (max_cost_per_session_nanoeur >= 0)"
)


def _newest_by(column: str) -> str:
    return (
        f"CREATE INDEX ai_request_log_{column} ON ai_request_log "
        f"(org_id, {column}, occurred_at DESC, id DESC) WHERE {column} IS NOT NULL"
    )


class Migration(migrations.Migration):
    dependencies = [("gateway", "0019_kept_id"), ("costs", "0011_sessions")]

    operations = [
        migrations.AddField(
            "airequestlog", "session_id", models.CharField(max_length=128, null=True)
        ),
        migrations.AddField(
            "airequestlog", "agent_id", models.CharField(max_length=128, null=True)
        ),
        migrations.AddField("airequestlog", "client_proved", models.BooleanField(null=True)),
        run_sql(
            postgresql=(_newest_by("session_id"), _newest_by("agent_id")),
            sqlite=(_newest_by("session_id"), _newest_by("agent_id")),
        ),
        migrations.RunSQL(
            ADD_COLUMN,
            state_operations=[
                migrations.AddField(
                    "policy",
                    "max_cost_per_session_nanoeur",
                    models.BigIntegerField(blank=True, null=True),
                ),
                migrations.AddConstraint(
                    "policy",
                    models.CheckConstraint(
                        condition=models.Q(max_cost_per_session_nanoeur__isnull=True)
                        | models.Q(max_cost_per_session_nanoeur__gte=0),
                        name="policy_session_not_negative",
                    ),
                ),
            ],
        ),
    ]

"""Policies that name calls, rates, slices, and policies that are only watched.

The policy's columns are added by hand: with their constraints Django would rebuild the table on
SQLite, without the triggers that raise organization.config_version.
"""

from __future__ import annotations

from django.db import migrations, models
from django.db.models.functions import Lower

from orgs.database import run_sql

COLUMNS = (
    "mode varchar(5) NOT NULL DEFAULT 'on' "
    "CONSTRAINT policy_mode CHECK (mode IN ('on', 'watch', 'off'))",
    "revision integer NOT NULL DEFAULT 1",
    "requests_per_minute integer CONSTRAINT policy_requests_positive "
    "CHECK (requests_per_minute >= 1)",
    "tokens_per_minute bigint CONSTRAINT policy_rate_of_tokens_positive "
    "CHECK (tokens_per_minute >= 1)",
    "concurrent_requests integer CONSTRAINT policy_concurrent_positive "
    "CHECK (concurrent_requests >= 1)",
    "hold varchar(6) NOT NULL DEFAULT 'whole' "
    "CONSTRAINT policy_hold CHECK (hold IN ('whole', 'slices'))",
)
ADDED = tuple(f"ALTER TABLE policy ADD COLUMN {column}" for column in COLUMNS)
APPLIES_TO = "ALTER TABLE policy ADD COLUMN applies_to {} NOT NULL DEFAULT '{{}}'{}"
FROM_ENABLED = (
    "UPDATE policy SET mode = 'off' WHERE NOT enabled",
    "ALTER TABLE policy DROP COLUMN enabled",
    "ALTER TABLE budget ADD COLUMN hold varchar(6) NOT NULL DEFAULT 'whole' "
    "CONSTRAINT budget_hold CHECK (hold IN ('whole', 'slices'))",
)
# Requests that a watched policy would have refused are few: no other writes to this index.
WATCHED = (
    "CREATE INDEX ai_request_log_watched ON ai_request_log "
    "(COALESCE(org_id, org_id), occurred_at DESC, id DESC) WHERE refused_by_watched"
)
MODES = ("on", "watch", "off")
HOLDS = ("whole", "slices")


def _positive(field: str, name: str) -> migrations.AddConstraint:
    condition = models.Q(**{f"{field}__isnull": True}) | models.Q(**{f"{field}__gte": 1})
    return migrations.AddConstraint(
        "policy", models.CheckConstraint(condition=condition, name=name)
    )


class Migration(migrations.Migration):
    dependencies = [("gateway", "0021_policy_wait")]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.RemoveField("policy", "enabled"),
                migrations.AddField(
                    "policy", "applies_to", models.JSONField(default=dict, blank=True)
                ),
                migrations.AddField(
                    "policy",
                    "mode",
                    models.CharField(
                        max_length=5, choices=[(mode, mode) for mode in MODES], default="on"
                    ),
                ),
                migrations.AddField(
                    "policy", "revision", models.IntegerField(default=1, editable=False)
                ),
                migrations.AddField(
                    "policy", "requests_per_minute", models.IntegerField(null=True, blank=True)
                ),
                migrations.AddField(
                    "policy", "tokens_per_minute", models.BigIntegerField(null=True, blank=True)
                ),
                migrations.AddField(
                    "policy", "concurrent_requests", models.IntegerField(null=True, blank=True)
                ),
                *(
                    migrations.AddField(
                        model,
                        "hold",
                        models.CharField(
                            max_length=6, choices=[(hold, hold) for hold in HOLDS], default="whole"
                        ),
                    )
                    for model in ("policy", "budget")
                ),
                migrations.AddConstraint(
                    "policy",
                    models.CheckConstraint(condition=models.Q(mode__in=MODES), name="policy_mode"),
                ),
                _positive("requests_per_minute", "policy_requests_positive"),
                _positive("tokens_per_minute", "policy_rate_of_tokens_positive"),
                _positive("concurrent_requests", "policy_concurrent_positive"),
                *(
                    migrations.AddConstraint(
                        model,
                        models.CheckConstraint(
                            condition=models.Q(hold__in=HOLDS), name=f"{model}_hold"
                        ),
                    )
                    for model in ("policy", "budget")
                ),
                migrations.AlterModelOptions(
                    "policy",
                    options={"ordering": (Lower("name"), "id"), "verbose_name_plural": "policies"},
                ),
            ],
            database_operations=[
                run_sql(
                    postgresql=(*ADDED, APPLIES_TO.format("jsonb", ""), *FROM_ENABLED),
                    sqlite=(
                        *ADDED,
                        APPLIES_TO.format(
                            "text", " CHECK (JSON_VALID(applies_to) OR applies_to IS NULL)"
                        ),
                        *FROM_ENABLED,
                    ),
                )
            ],
        ),
        migrations.AddField("airequestlog", "refused_by_watched", models.BooleanField(null=True)),
        run_sql(postgresql=(WATCHED,), sqlite=(WATCHED,)),
    ]

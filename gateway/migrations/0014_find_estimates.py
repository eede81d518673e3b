"""Finds the requests with estimates, which are few: no other request writes to this index.

The organization is an expression so that SQLite takes this index and no other; see
`gateway.requests.reports.rows_of`.
"""

from __future__ import annotations

from django.db import migrations

from orgs.database import run_sql

NEWEST = (
    "CREATE INDEX ai_request_log_estimated ON ai_request_log "
    "(COALESCE(org_id, org_id), occurred_at DESC, id DESC) WHERE estimated_nanoeur > 0"
)


class Migration(migrations.Migration):
    dependencies = [("gateway", "0013_alert_kinds")]

    operations = [run_sql(postgresql=(NEWEST,), sqlite=(NEWEST,))]

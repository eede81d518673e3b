"""Finds the requests that were refused since they have no price: no other request writes to these.

The organization is an expression so that SQLite takes this index and no other; see
`gateway.price_pages.reports.unpriced_rows`.
"""

from __future__ import annotations

from django.db import migrations

from orgs.database import run_sql

OF_ORGANIZATION = (
    "CREATE INDEX ai_request_log_unpriced ON ai_request_log "
    "(COALESCE(org_id, org_id), occurred_at DESC, id DESC) WHERE code = 'model_unpriced'"
)
OF_ALL = (
    "CREATE INDEX ai_request_log_unpriced_all ON ai_request_log "
    "(occurred_at DESC, id DESC) WHERE code = 'model_unpriced'"
)


class Migration(migrations.Migration):
    dependencies = [("gateway", "0024_provider")]

    operations = [run_sql(postgresql=(OF_ORGANIZATION, OF_ALL), sqlite=(OF_ORGANIZATION, OF_ALL))]

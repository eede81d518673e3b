"""How much of a request's cost is an estimate."""

from __future__ import annotations

from django.db import migrations, models

from orgs.database import run_sql

FILL = "UPDATE ai_request_log SET estimated_nanoeur = cost_nanoeur WHERE status = 'unknown'"


class Migration(migrations.Migration):
    dependencies = [
        ("gateway", "0011_dimensions"),
        ("costs", "0009_unpriced_and_estimates"),
    ]

    operations = [
        migrations.AddField("airequestlog", "estimated_nanoeur", models.BigIntegerField(null=True)),
        run_sql(postgresql=(FILL,), sqlite=(FILL,)),
    ]

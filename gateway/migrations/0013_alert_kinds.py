"""A refused call and an old exchange rate are alerts of their own.

Until now a refusal was sent under the key of 100 % spent, and kept the alerts of what is spent from being
sent in that period. Such alerts get the key of a refusal: it is not sent again, and shares that
are reached still are.
"""

from __future__ import annotations

from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

KINDS = ("budget", "forecast", "day_limit", "spike", "refusal", "exchange_rate")


def name_refusals(apps: StateApps, _: BaseDatabaseSchemaEditor) -> None:
    rows = apps.get_model("gateway", "Alert").objects
    shares = rows.filter(kind__in=("budget", "day_limit"), percent=100, key__endswith=":100")
    for alert in shares.iterator():
        charged, limit = (alert.figures.get(f"{name}_nanoeur", 0) for name in ("charged", "limit"))
        if charged >= limit and charged > 0:
            continue  # spent indeed
        alert.key = alert.key.removesuffix(":100") + ":refused"
        alert.kind, alert.percent = "refusal", None
        alert.save(update_fields=("key", "kind", "percent"))


class Migration(migrations.Migration):
    dependencies = [("gateway", "0012_estimated")]

    operations = [
        migrations.AlterField(
            "alert",
            "kind",
            models.CharField(
                max_length=20,
                choices=[
                    ("budget", "budget"),
                    ("forecast", "forecast"),
                    ("day_limit", "limit of the day"),
                    ("spike", "spike"),
                    ("refusal", "refused call"),
                    ("exchange_rate", "exchange rate"),
                ],
            ),
        ),
        migrations.RemoveConstraint("alert", "alert_kind"),
        migrations.AddConstraint(
            "alert",
            models.CheckConstraint(condition=models.Q(kind__in=KINDS), name="alert_kind"),
        ),
        migrations.RunPython(name_refusals, migrations.RunPython.noop),
    ]

"""A bill above what was held for its call is an alert."""

from __future__ import annotations

from django.db import migrations, models

KINDS = (
    *("budget", "forecast", "day_limit", "spike", "refusal", "exchange_rate"),
    *("provider_credentials", "above_hold"),
)


class Migration(migrations.Migration):
    dependencies = [("gateway", "0015_refused_credentials")]

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
                    ("provider_credentials", "provider credentials"),
                    ("above_hold", "bill above its hold"),
                ],
            ),
        ),
        migrations.RemoveConstraint("alert", "alert_kind"),
        migrations.AddConstraint(
            "alert",
            models.CheckConstraint(condition=models.Q(kind__in=KINDS), name="alert_kind"),
        ),
    ]

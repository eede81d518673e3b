"""Days on which a provider refused this installation's key, and the alert about it."""

from __future__ import annotations

from django.db import migrations, models

KINDS = (
    *("budget", "forecast", "day_limit", "spike", "refusal", "exchange_rate"),
    "provider_credentials",
)


class Migration(migrations.Migration):
    dependencies = [("gateway", "0014_find_estimates")]

    operations = [
        migrations.CreateModel(
            "RefusedCredentials",
            [
                (
                    "id",
                    models.CharField(max_length=64, primary_key=True, serialize=False),
                ),
                ("provider", models.CharField(max_length=32)),
                ("on_date", models.DateField(db_index=True)),
            ],
            {
                "db_table": "refused_credentials",
                "verbose_name_plural": "refused credentials",
            },
        ),
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
                ],
            ),
        ),
        migrations.RemoveConstraint("alert", "alert_kind"),
        migrations.AddConstraint(
            "alert",
            models.CheckConstraint(condition=models.Q(kind__in=KINDS), name="alert_kind"),
        ),
    ]

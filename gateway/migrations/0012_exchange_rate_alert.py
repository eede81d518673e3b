"""Alerts of a stale exchange rate."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("gateway", "0011_dimensions"),
        ("orgs", "0006_key_permissions"),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name="alert",
            name="alert_kind",
        ),
        migrations.AlterField(
            model_name="alert",
            name="kind",
            field=models.CharField(
                choices=[
                    ("budget", "budget"),
                    ("forecast", "forecast"),
                    ("day_limit", "limit of the day"),
                    ("spike", "spike"),
                    ("exchange_rate", "exchange rate"),
                ],
                max_length=20,
            ),
        ),
        migrations.AddConstraint(
            model_name="alert",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("kind__in", ("budget", "forecast", "day_limit", "spike", "exchange_rate"))
                ),
                name="alert_kind",
            ),
        ),
    ]

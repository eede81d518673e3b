"""The choice of what a disconnect costs, in other words."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("orgs", "0006_key_permissions")]

    operations = [
        migrations.AlterField(
            "organization",
            "on_disconnect",
            models.CharField(
                choices=[
                    ("close", "Stop the provider and charge what it can have produced"),
                    ("drain", "Read the answer to its end and charge it exactly"),
                ],
                db_default="close",
                default="close",
                max_length=8,
            ),
        ),
    ]

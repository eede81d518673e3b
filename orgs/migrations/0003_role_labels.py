"""Rename the labels of the roles; nothing in the database changes."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("orgs", "0002_config_version")]

    operations = [
        migrations.AlterField(
            "membership",
            "role",
            models.CharField(
                choices=[
                    ("admin", "Admin: full access"),
                    ("member", "Member: can use the gateway and view"),
                    ("auditor", "Auditor: can view, cannot send requests"),
                ],
                max_length=8,
            ),
        ),
    ]

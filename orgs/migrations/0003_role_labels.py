"""Rename the labels of roles; nothing changes in the database."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("orgs", "0002_config_version")]

    operations = [
        migrations.AlterField(
            model_name="membership",
            name="role",
            field=models.CharField(
                choices=[
                    ("admin", "Admin: full access"),
                    ("member", "Member: can use the gateway and view"),
                    ("auditor", "Auditor: can view, cannot send requests"),
                ],
                max_length=8,
            ),
        ),
    ]

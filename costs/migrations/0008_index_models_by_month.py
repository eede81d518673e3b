"""The models that an organization has used are looked up among months: fewer lines, fewer writes."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("costs", "0007_carried")]

    operations = [
        migrations.AddIndex(
            "monthlycost",
            models.Index(fields=["org", "model", "provider"], name="monthly_cost_org_model"),
        ),
        migrations.RemoveIndex("dailycost", "daily_cost_org_model"),
    ]

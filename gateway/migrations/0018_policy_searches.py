"""A policy's limit of the web searches of a request; 0 refuses requests that could search.

The column is added by hand, as in 0017.
"""

from __future__ import annotations

from django.db import migrations, models

ADD_COLUMN = (
    "ALTER TABLE policy ADD COLUMN web_searches_per_request integer "
    "CONSTRAINT policy_searches_in_range CHECK (web_searches_per_request BETWEEN 0 AND 1000)"
)


class Migration(migrations.Migration):
    dependencies = [("gateway", "0017_policy_output")]

    operations = [
        migrations.RunSQL(
            ADD_COLUMN,
            state_operations=[
                migrations.AddField(
                    "policy",
                    "web_searches_per_request",
                    models.IntegerField(blank=True, null=True),
                ),
                migrations.AddConstraint(
                    "policy",
                    models.CheckConstraint(
                        condition=models.Q(web_searches_per_request__isnull=True)
                        | models.Q(web_searches_per_request__range=(0, 1000)),
                        name="policy_searches_in_range",
                    ),
                ),
            ],
        ),
    ]

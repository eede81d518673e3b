"""A change of a policy raises organization.config_version: see orgs 0002."""

from django.db import migrations

from orgs.database import raises_config_version


class Migration(migrations.Migration):
    dependencies = [("gateway", "0001_initial"), ("orgs", "0002_config_version")]

    operations = [
        raises_config_version("policy"),
    ]

"""Store what keys are locked to as names are stored since: trimmed and in NFC."""

from __future__ import annotations

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from orgs.core.spelling import normalized

DIMENSIONS = ("team_id", "project_id", "app_id", "client_id")


def normalize_names(apps: Apps, schema_editor: BaseDatabaseSchemaEditor | None) -> None:
    keys = apps.get_model("orgs", "ApiKey").objects
    for column in DIMENSIONS:
        names = keys.exclude(**{column: None}).order_by().values_list(column, flat=True)
        for name in names.distinct():
            if (stored := normalized(name) or None) != name:
                keys.filter(**{column: name}).update(**{column: stored})


class Migration(migrations.Migration):
    dependencies = [("orgs", "0007_on_disconnect")]

    operations = [migrations.RunPython(normalize_names, migrations.RunPython.noop)]

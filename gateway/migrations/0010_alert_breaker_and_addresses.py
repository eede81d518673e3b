"""The breaker of alert channels, and the addresses whose owners confirmed that they want alerts.

Addresses that channels already have count as confirmed: they have been getting alerts, and an
upgrade must not end that unnoticed.
"""

import django.db.models.deletion
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps
from django.utils.timezone import now

import orgs.fields


def confirm_addresses_in_use(apps: StateApps, _: BaseDatabaseSchemaEditor) -> None:
    address, channel = (
        apps.get_model("gateway", name) for name in ("AlertAddress", "AlertChannel")
    )
    in_use = {
        (org_id, email.strip().lower())
        for org_id, emails in channel.objects.filter(kind="email").values_list("org_id", "emails")
        for email in emails
    }
    address.objects.bulk_create(
        (
            address(org_id=org_id, email=email, confirmed_at=now())
            for org_id, email in sorted(in_use)
        ),
        batch_size=1_000,
    )


class Migration(migrations.Migration):
    dependencies = [
        ("gateway", "0009_smaller_blooms"),
        ("orgs", "0004_invitation"),
    ]

    operations = [
        migrations.AddField(
            model_name="alertchannel",
            name="failures",
            field=models.PositiveIntegerField(db_default=0, default=0, editable=False),
        ),
        migrations.AddField(
            model_name="alertchannel",
            name="paused_until",
            field=models.DateTimeField(blank=True, editable=False, null=True),
        ),
        migrations.CreateModel(
            name="AlertAddress",
            fields=[
                (
                    "id",
                    orgs.fields.IdPrimaryKey(
                        default=orgs.fields.new_id,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("email", models.EmailField(max_length=254)),
                ("asked_at", models.DateTimeField(blank=True, null=True)),
                ("confirmed_at", models.DateTimeField(blank=True, null=True)),
                (
                    "org",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="alert_addresses",
                        to="orgs.organization",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "alert addresses",
                "db_table": "alert_address",
                "constraints": [
                    models.UniqueConstraint(fields=("org", "email"), name="alert_address_once")
                ],
            },
        ),
        migrations.RunPython(confirm_addresses_in_use, migrations.RunPython.noop),
    ]

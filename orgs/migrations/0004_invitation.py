"""Add invitations, and when an operator confirmed an address.

Existing memberships stay: they count as accepted. Links that were sent before are invalid: an admin
creates new ones. Operators' own addresses count as confirmed: an operator made these accounts.
"""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps
from django.db.models import F, Q

import orgs.fields


def confirm_operators(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    operators = apps.get_model("orgs", "User").objects.filter(
        Q(is_staff=True) | Q(is_superuser=True)
    )
    operators.update(email_confirmed_at=F("joined_at"))


class Migration(migrations.Migration):
    dependencies = [
        ("orgs", "0003_role_labels"),
    ]

    operations = [
        migrations.AddField(
            model_name="user",
            name="email_confirmed_at",
            field=models.DateTimeField(blank=True, editable=False, null=True),
        ),
        migrations.CreateModel(
            name="Invitation",
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
                (
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
                ("link_digest", models.CharField(max_length=64)),
                ("link_created_at", models.DateTimeField()),
                (
                    "invited_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "org",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="invitations",
                        to="orgs.organization",
                    ),
                ),
            ],
            options={
                "db_table": "invitation",
                "constraints": [
                    models.UniqueConstraint(fields=("org", "email"), name="invitation_once"),
                    models.CheckConstraint(
                        condition=models.Q(("role__in", ("admin", "member", "auditor"))),
                        name="invitation_role",
                    ),
                ],
            },
        ),
        migrations.RunPython(confirm_operators, migrations.RunPython.noop),
    ]

"""Add the history, which triggers keep from being changed; count failed sign-ins in bounded rows.

Failed sign-ins of the last 15 minutes are forgotten. Nothing that is in the history is changed or
deleted: an operator who must delete rows by law or for space drops the trigger in the same
transaction (docs/operate.md).
"""

import django.core.serializers.json
import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models

import orgs.fields
from orgs.database import run_sql

REFUSED = "a history event is never changed or deleted"


class Migration(migrations.Migration):
    dependencies = [
        ("orgs", "0004_invitation"),
    ]

    operations = [
        migrations.CreateModel(
            name="HistoryEvent",
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
                (
                    "occurred_at",
                    models.DateTimeField(default=django.utils.timezone.now, editable=False),
                ),
                ("event", models.CharField(max_length=48)),
                ("actor_kind", models.CharField(max_length=16)),
                ("actor_id", orgs.fields.IdField(null=True)),
                ("actor_name", models.CharField(max_length=254)),
                ("address", models.CharField(max_length=64)),
                ("subject_type", models.CharField(max_length=32)),
                ("subject_id", orgs.fields.IdField(null=True)),
                ("subject_name", models.CharField(max_length=254)),
                (
                    "before",
                    models.JSONField(
                        encoder=django.core.serializers.json.DjangoJSONEncoder, null=True
                    ),
                ),
                (
                    "after",
                    models.JSONField(
                        encoder=django.core.serializers.json.DjangoJSONEncoder, null=True
                    ),
                ),
                (
                    "org",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="history",
                        to="orgs.organization",
                    ),
                ),
            ],
            options={
                "db_table": "history_event",
            },
        ),
        migrations.CreateModel(
            name="SignInCounter",
            fields=[
                ("who", models.CharField(max_length=24, primary_key=True, serialize=False)),
                ("failures", models.PositiveIntegerField()),
                ("ends_at", models.DateTimeField()),
            ],
            options={
                "db_table": "sign_in_counter",
            },
        ),
        migrations.DeleteModel(
            name="SignInFailure",
        ),
        migrations.AddIndex(
            model_name="signincounter",
            index=models.Index(fields=["ends_at"], name="sign_in_counter_ends"),
        ),
        migrations.AddIndex(
            model_name="historyevent",
            index=models.Index(fields=["org", "-id"], name="history_event_org_newest"),
        ),
        migrations.AddIndex(
            model_name="historyevent",
            index=models.Index(fields=["subject_id", "-id"], name="history_event_subject_newest"),
        ),
        run_sql(
            postgresql=(
                f"""
                CREATE FUNCTION history_event_is_final() RETURNS trigger LANGUAGE plpgsql AS $$
                BEGIN
                    RAISE EXCEPTION '{REFUSED}' USING ERRCODE = '23514';
                END $$
                """,
                """
                CREATE TRIGGER history_event_is_final
                BEFORE UPDATE OR DELETE OR TRUNCATE ON history_event
                FOR EACH STATEMENT EXECUTE FUNCTION history_event_is_final()
                """,
            ),
            sqlite=tuple(
                f"""
                CREATE TRIGGER history_event_is_final_{event.lower()} BEFORE {event}
                ON history_event BEGIN SELECT RAISE(ABORT, '{REFUSED}'); END
                """
                for event in ("UPDATE", "DELETE")
            ),
        ),
    ]

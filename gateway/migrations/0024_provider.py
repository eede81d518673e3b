"""Providers; a change of an organization's raises organization.config_version, one of the
installation's price_list.providers_version.
"""

import django.db.models.deletion
import django.db.models.functions.text
import django.utils.timezone
from django.db import migrations, models

import orgs.fields
from orgs.database import raises_config_version, run_sql

RAISE_VERSION = (
    "INSERT INTO price_list (id, version, providers_version) VALUES (1, 0, 1) "
    "ON CONFLICT (id) DO UPDATE SET providers_version = price_list.providers_version + 1"
)
EVENTS = {
    "INSERT": "NEW.org_id IS NULL",
    "UPDATE": "NEW.org_id IS NULL OR OLD.org_id IS NULL",
    "DELETE": "OLD.org_id IS NULL",
}


class Migration(migrations.Migration):
    dependencies = [
        ("gateway", "0023_budget_each"),
        ("orgs", "0010_stores_answers"),
        ("costs", "0013_providers_version"),
    ]

    operations = [
        migrations.CreateModel(
            name="Provider",
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
                ("name", models.CharField(max_length=32)),
                ("title", models.CharField(max_length=100)),
                ("base_url", models.CharField(max_length=500)),
                ("base_urls", models.JSONField(blank=True, default=dict)),
                ("dialects", models.JSONField(default=list)),
                (
                    "family",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("openai", "openai"),
                            ("anthropic", "anthropic"),
                            ("google", "google"),
                            ("mistral", "mistral"),
                            ("", ""),
                        ],
                        max_length=12,
                    ),
                ),
                ("auth", models.CharField(default="bearer", max_length=100)),
                ("secret", models.TextField(blank=True, default="", max_length=20000)),
                ("headers", models.JSONField(blank=True, default=dict)),
                ("query", models.JSONField(blank=True, default=dict)),
                ("names", models.JSONField(blank=True, default=dict)),
                ("fixed_name", models.CharField(blank=True, default="", max_length=200)),
                ("dropped", models.JSONField(blank=True, default=list)),
                ("cap_name", models.CharField(blank=True, default="", max_length=32)),
                ("takes_stream_options", models.BooleanField(default=True)),
                ("standard_tier", models.CharField(blank=True, default="", max_length=32)),
                ("keeps", models.BooleanField(db_default=False, default=False)),
                ("connect_s", models.FloatField(blank=True, null=True)),
                ("first_byte_s", models.FloatField(blank=True, null=True)),
                ("idle_s", models.FloatField(blank=True, null=True)),
                ("total_s", models.FloatField(blank=True, null=True)),
                ("concurrent_calls", models.IntegerField(blank=True, null=True)),
                ("weight", models.IntegerField(default=0)),
                ("order", models.IntegerField(default=1)),
                ("regions", models.JSONField(blank=True, default=list)),
                ("context_tokens", models.IntegerField(blank=True, null=True)),
                ("max_output_tokens", models.IntegerField(blank=True, null=True)),
                ("allow_loopback", models.BooleanField(default=False)),
                ("allow_private", models.BooleanField(default=False)),
                ("enabled", models.BooleanField(default=True)),
                (
                    "created_at",
                    models.DateTimeField(default=django.utils.timezone.now, editable=False),
                ),
                ("updated_at", models.DateTimeField(auto_now=True)),
                ("models", models.JSONField(blank=True, default=list)),
                (
                    "org",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="providers",
                        to="orgs.organization",
                    ),
                ),
            ],
            options={
                "db_table": "provider",
                "ordering": (django.db.models.functions.text.Lower("name"), "id"),
                "constraints": [
                    models.UniqueConstraint(
                        django.db.models.functions.text.Lower("name"),
                        name="provider_name_once",
                        violation_error_message="A provider with this name exists already.",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("weight__gte", 0), ("weight__lte", 1000)),
                        name="provider_weight",
                    ),
                ],
            },
        ),
        raises_config_version("provider"),
        run_sql(
            postgresql=(
                # As it was, but for rows that are given to an organization, or taken from it.
                """
                CREATE OR REPLACE FUNCTION raise_config_version() RETURNS trigger
                LANGUAGE plpgsql AS $$
                BEGIN
                    IF TG_OP <> 'DELETE' THEN
                        UPDATE organization SET config_version = config_version + 1
                        WHERE id = NEW.org_id;
                    END IF;
                    IF TG_OP = 'DELETE'
                        OR (TG_OP = 'UPDATE' AND OLD.org_id IS DISTINCT FROM NEW.org_id)
                    THEN
                        UPDATE organization SET config_version = config_version + 1
                        WHERE id = OLD.org_id;
                    END IF;
                    RETURN NULL;
                END $$
                """,
                f"""
                CREATE FUNCTION raise_providers_version() RETURNS trigger LANGUAGE plpgsql AS $$
                BEGIN
                    {RAISE_VERSION};
                    RETURN NULL;
                END $$
                """,
                *(
                    f"""
                    CREATE TRIGGER provider_version_{event.lower()} AFTER {event} ON provider
                    FOR EACH ROW WHEN ({condition}) EXECUTE FUNCTION raise_providers_version()
                    """
                    for event, condition in EVENTS.items()
                ),
            ),
            sqlite=tuple(
                f"""
                CREATE TRIGGER provider_version_{event.lower()} AFTER {event} ON provider
                WHEN {condition} BEGIN {RAISE_VERSION}; END
                """
                for event, condition in EVENTS.items()
            ),
        ),
    ]

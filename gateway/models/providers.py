"""The table of providers that are not vendors of the environment."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models.functions import Lower
from django.utils.timezone import now

from gateway.core.providers import FAMILIES, NAME_MAX_CHARS
from orgs.fields import IdPrimaryKey
from orgs.models import Organization

SECRET_MAX_CHARS = 20_000
URL_MAX_CHARS = 500


class Provider(models.Model):
    """A server that models are called at: of the installation, or of one organization.

    `secret` is sealed, or names where it is (`env:NAME`, `file:PATH`); it is never shown.
    `base_urls` are those of dialects that are elsewhere, `names` the provider's own names of
    models, `dropped` the places of fields that are not sent. Times are in seconds; null is the
    installation's. With `keeps`, its Responses API can store answers. With a `weight`, the row gets
    its share of the calls that name only one of the `models` it lists, within the lowest `order`
    first.
    """

    id = IdPrimaryKey()
    org = models.ForeignKey(
        Organization, models.CASCADE, null=True, blank=True, related_name="providers"
    )
    name = models.CharField(max_length=NAME_MAX_CHARS)
    title = models.CharField(max_length=100)
    base_url = models.CharField(max_length=URL_MAX_CHARS)
    base_urls = models.JSONField(default=dict, blank=True)
    dialects = models.JSONField(default=list)
    family = models.CharField(
        max_length=12, blank=True, choices=[(family, family) for family in FAMILIES]
    )
    auth = models.CharField(max_length=100, default="bearer")
    secret = models.TextField(blank=True, default="", max_length=SECRET_MAX_CHARS)
    headers = models.JSONField(default=dict, blank=True)
    query = models.JSONField(default=dict, blank=True)
    names = models.JSONField(default=dict, blank=True)
    fixed_name = models.CharField(max_length=200, blank=True, default="")
    dropped = models.JSONField(default=list, blank=True)
    cap_name = models.CharField(max_length=32, blank=True, default="")
    takes_stream_options = models.BooleanField(default=True)
    standard_tier = models.CharField(max_length=32, blank=True, default="")
    keeps = models.BooleanField(default=False, db_default=False)
    connect_s = models.FloatField(null=True, blank=True)
    first_byte_s = models.FloatField(null=True, blank=True)
    idle_s = models.FloatField(null=True, blank=True)
    total_s = models.FloatField(null=True, blank=True)
    concurrent_calls = models.IntegerField(null=True, blank=True)
    weight = models.IntegerField(default=0)
    order = models.IntegerField(default=1)
    regions = models.JSONField(default=list, blank=True)
    context_tokens = models.IntegerField(null=True, blank=True)
    max_output_tokens = models.IntegerField(null=True, blank=True)
    allow_loopback = models.BooleanField(default=False)
    allow_private = models.BooleanField(default=False)
    enabled = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)
    models = models.JSONField(default=list, blank=True)  # last, since it takes the name

    class Meta:
        db_table = "provider"
        ordering = (Lower("name"), "id")
        constraints: ClassVar = [
            models.UniqueConstraint(
                Lower("name"),
                name="provider_name_once",
                violation_error_message="A provider with this name exists already.",
            ),
            models.CheckConstraint(
                condition=models.Q(weight__gte=0, weight__lte=1000), name="provider_weight"
            ),
        ]

    def __str__(self) -> str:
        return self.name

"""The table of policies."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models.functions import Lower
from django.utils.timezone import now

from orgs.fields import IdPrimaryKey
from orgs.models import Organization


class Policy(models.Model):
    """Limits on every request of an organization. Each limit is optional; all policies apply.

    The lists hold model names as people write them, `*` a wildcard. `required_dimensions` holds
    names of columns (`team_id`), `known_values` the only values allowed for each such name.
    """

    id = IdPrimaryKey()
    org = models.ForeignKey(Organization, models.CASCADE, related_name="policies")
    name = models.CharField(max_length=100)
    enabled = models.BooleanField(default=True)
    allowed_models = models.JSONField(default=list, blank=True)
    blocked_models = models.JSONField(default=list, blank=True)
    max_cost_per_day_nanoeur = models.BigIntegerField(null=True, blank=True)
    max_tokens_per_request = models.BigIntegerField(null=True, blank=True)
    max_output_tokens = models.BigIntegerField(null=True, blank=True)
    required_dimensions = models.JSONField(default=list, blank=True)
    known_values = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(default=now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "policy"
        ordering = ("created_at", "id")
        verbose_name_plural = "policies"
        constraints: ClassVar = [
            models.UniqueConstraint(
                "org",
                Lower("name"),
                name="policy_name_once",
                violation_error_message="A policy with this name exists already.",
            ),
            models.CheckConstraint(
                condition=models.Q(max_cost_per_day_nanoeur__isnull=True)
                | models.Q(max_cost_per_day_nanoeur__gte=0),
                name="policy_cost_not_negative",
            ),
            models.CheckConstraint(
                condition=models.Q(max_tokens_per_request__isnull=True)
                | models.Q(max_tokens_per_request__gte=1),
                name="policy_tokens_positive",
            ),
            models.CheckConstraint(
                condition=models.Q(max_output_tokens__isnull=True)
                | models.Q(max_output_tokens__gte=1),
                name="policy_output_positive",
            ),
        ]

    def __str__(self) -> str:
        return self.name

"""The table of model aliases."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models.functions import Lower
from django.utils.timezone import now

from gateway.core.attempts import RETRIES_MAX
from orgs.fields import IdPrimaryKey
from orgs.models import Organization


class ModelAlias(models.Model):
    """An organization's own name for models, tried in order until one answers.

    `retries` is how often each of them is retried after a temporary failure.
    """

    id = IdPrimaryKey()
    org = models.ForeignKey(Organization, models.CASCADE, related_name="aliases")
    name = models.CharField(max_length=100)
    retries = models.PositiveSmallIntegerField(default=0)
    enabled = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)
    models = models.JSONField(default=list)  # last, since it takes the name

    class Meta:
        db_table = "model_alias"
        ordering = ("created_at", "id")
        verbose_name_plural = "model aliases"
        constraints: ClassVar = [
            models.UniqueConstraint(
                "org",
                Lower("name"),
                name="model_alias_name_once",
                violation_error_message="An alias with this name exists already.",
            ),
            models.CheckConstraint(condition=~models.Q(name=""), name="model_alias_has_a_name"),
            models.CheckConstraint(
                condition=models.Q(retries__gte=0, retries__lte=RETRIES_MAX),
                name="model_alias_retries_bounded",
            ),
        ]

    def __str__(self) -> str:
        return self.name

"""The table of policies."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models.functions import Lower
from django.utils.timezone import now

from costs.core.admission import ORG_SCOPE
from gateway.core.model_entries import model_entries
from gateway.core.model_names import Catalog
from gateway.core.usage_bound import SEARCHES_MAX
from gateway.guards.dimensions import requirements_of
from gateway.guards.policies import (
    WAIT_MAX_S,
    WAIT_S,
    HoldMode,
    PolicyMode,
    Rule,
    applies_to,
)
from orgs.fields import IdPrimaryKey
from orgs.models import Organization


def _at_least(least: int, field: str, *, name: str) -> models.CheckConstraint:
    """Return the constraint of an optional limit."""
    is_none, is_enough = (
        models.Q(**{f"{field}__isnull": True}),
        models.Q(**{f"{field}__gte": least}),
    )
    return models.CheckConstraint(condition=is_none | is_enough, name=name)


class Policy(models.Model):
    """Limits on requests of an organization. Each limit is optional; all policies apply.

    `applies_to` holds the values by which requests are named, by column (`team_id`, `key_id`: the
    first key of its rotations, `provider`, `channel`); without any it applies to all requests.
    Watched, it counts what it would refuse. `revision` rises when its cost per day comes to count
    other requests: the ledger then counts again, in a period of another scope.

    The lists hold model names as people write them, `*` a wildcard. `required_dimensions` holds
    names of columns (`team_id`), `known_values` the only values allowed for each such name.
    `wait_s` is how long a call waits for calls in flight that keep it out of a cost, or
    for its turn in a rate.
    """

    id = IdPrimaryKey()
    org = models.ForeignKey(Organization, models.CASCADE, related_name="policies")
    name = models.CharField(max_length=100)
    mode = models.CharField(
        max_length=5, choices=[(mode.value, mode.value) for mode in PolicyMode], default="on"
    )
    applies_to = models.JSONField(default=dict, blank=True)
    revision = models.IntegerField(default=1, editable=False)
    allowed_models = models.JSONField(default=list, blank=True)
    blocked_models = models.JSONField(default=list, blank=True)
    max_cost_per_day_nanoeur = models.BigIntegerField(null=True, blank=True)
    max_cost_per_session_nanoeur = models.BigIntegerField(null=True, blank=True)
    max_tokens_per_request = models.BigIntegerField(null=True, blank=True)
    max_output_tokens = models.BigIntegerField(null=True, blank=True)
    wait_s = models.IntegerField(default=WAIT_S)
    web_searches_per_request = models.IntegerField(null=True, blank=True)
    requests_per_minute = models.IntegerField(null=True, blank=True)
    tokens_per_minute = models.BigIntegerField(null=True, blank=True)
    concurrent_requests = models.IntegerField(null=True, blank=True)
    hold = models.CharField(
        max_length=6, choices=[(hold.value, hold.value) for hold in HoldMode], default="whole"
    )
    required_dimensions = models.JSONField(default=list, blank=True)
    known_values = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(default=now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "policy"
        ordering = (Lower("name"), "id")  # as they are judged
        verbose_name_plural = "policies"
        constraints: ClassVar = [
            models.UniqueConstraint(
                "org",
                Lower("name"),
                name="policy_name_once",
                violation_error_message="A policy with this name exists already.",
            ),
            _at_least(0, "max_cost_per_day_nanoeur", name="policy_cost_not_negative"),
            _at_least(0, "max_cost_per_session_nanoeur", name="policy_session_not_negative"),
            _at_least(1, "max_tokens_per_request", name="policy_tokens_positive"),
            _at_least(1, "max_output_tokens", name="policy_output_positive"),
            _at_least(1, "requests_per_minute", name="policy_requests_positive"),
            _at_least(1, "tokens_per_minute", name="policy_rate_of_tokens_positive"),
            _at_least(1, "concurrent_requests", name="policy_concurrent_positive"),
            models.CheckConstraint(
                condition=models.Q(wait_s__gte=0, wait_s__lte=WAIT_MAX_S),
                name="policy_wait_in_range",
            ),
            models.CheckConstraint(
                condition=models.Q(web_searches_per_request__isnull=True)
                | models.Q(web_searches_per_request__range=(0, SEARCHES_MAX)),
                name="policy_searches_in_range",
            ),
            models.CheckConstraint(
                condition=models.Q(mode__in=[mode.value for mode in PolicyMode]),
                name="policy_mode",
            ),
            models.CheckConstraint(
                condition=models.Q(hold__in=[hold.value for hold in HoldMode]), name="policy_hold"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def cost_scope(self) -> str:
        """The scope of its cost per day in the ledger: its own if it names requests."""
        return f"policy:{self.id}:{self.revision}" if self.applies_to else ORG_SCOPE

    def rule(self, catalog: Catalog) -> Rule:
        """Return it as requests are checked against it."""
        return Rule(
            id=str(self.id),
            name=self.name,
            applies_to=applies_to(self.applies_to),
            is_watched=self.mode == PolicyMode.WATCH,
            cost_scope=self.cost_scope,
            allowed=model_entries(catalog, self.allowed_models),
            blocked=model_entries(catalog, self.blocked_models),
            max_cost_per_day_nanoeur=self.max_cost_per_day_nanoeur,
            max_cost_per_session_nanoeur=self.max_cost_per_session_nanoeur,
            max_tokens_per_request=self.max_tokens_per_request,
            max_output_tokens=self.max_output_tokens,
            wait_s=self.wait_s,
            web_searches_per_request=self.web_searches_per_request,
            requirements=requirements_of(self.required_dimensions, self.known_values),
            requests_per_minute=self.requests_per_minute,
            tokens_per_minute=self.tokens_per_minute,
            concurrent_requests=self.concurrent_requests,
            holds_slices=self.hold == HoldMode.SLICES,
        )

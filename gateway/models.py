"""What decides calls and what is kept of them: limits, aliases, the audit log, repeats."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models.functions import Lower
from django.utils.timezone import now

from costs.core.periods import BudgetWindow
from gateway.alert_models import (  # noqa: F401  the app's models are found here
    Alert,
    AlertChannel,
    AlertDelivery,
    Lease,
)
from gateway.core.attempts import RETRIES_MAX
from orgs.fields import IdField, IdPrimaryKey
from orgs.models import Organization


class Policy(models.Model):
    """Limits on every request of an organization. Each limit is optional; all policies apply.

    The lists hold model names as people write them, `*` a wildcard.
    """

    id = IdPrimaryKey()
    org = models.ForeignKey(Organization, models.CASCADE, related_name="policies")
    name = models.CharField(max_length=100)
    enabled = models.BooleanField(default=True)
    allowed_models = models.JSONField(default=list, blank=True)
    blocked_models = models.JSONField(default=list, blank=True)
    max_cost_per_day_nanoeur = models.BigIntegerField(null=True, blank=True)
    max_tokens_per_request = models.BigIntegerField(null=True, blank=True)
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
        ]

    def __str__(self) -> str:
        return self.name


class ModelAlias(models.Model):
    """An organization's own name for models, asked in order until one answers.

    `retries` is how often each of them is asked again where its refusal may pass.
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


class Budget(models.Model):
    """What some of an organization's calls may cost in a day, week, month or quarter.

    It is of those calls whose dimensions are the ones said here, to `models`; what is not said is
    any. One that is not `is_hard` refuses nothing. `revision` rises when the budget comes to be
    of other calls or another span: the ledger then counts anew, in periods of another scope.
    Made and changed by `gateway.budget_operations`, which counts what was spent before.
    """

    id = IdPrimaryKey()
    org = models.ForeignKey(Organization, models.CASCADE, related_name="budgets")
    name = models.CharField(max_length=100)
    enabled = models.BooleanField(default=True)
    span = models.CharField(
        max_length=8, choices=[(span.value, span.value) for span in BudgetWindow]
    )
    limit_nanoeur = models.BigIntegerField()
    is_hard = models.BooleanField(default=True)
    user_id = models.CharField(max_length=128, null=True, blank=True)  # noqa: DJ001  not said differs from ""
    team_id = models.CharField(max_length=128, null=True, blank=True)  # noqa: DJ001
    project_id = models.CharField(max_length=128, null=True, blank=True)  # noqa: DJ001
    app_id = models.CharField(max_length=128, null=True, blank=True)  # noqa: DJ001
    client_id = models.CharField(max_length=128, null=True, blank=True)  # noqa: DJ001
    task_type = models.CharField(max_length=128, null=True, blank=True)  # noqa: DJ001
    revision = models.PositiveIntegerField(default=1, editable=False)
    created_at = models.DateTimeField(default=now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)
    models = models.JSONField(default=list, blank=True)  # last, since it takes the name

    class Meta:
        db_table = "budget"
        ordering = ("created_at", "id")
        constraints: ClassVar = [
            models.UniqueConstraint(
                "org",
                Lower("name"),
                name="budget_name_once",
                violation_error_message="A budget with this name exists already.",
            ),
            models.CheckConstraint(condition=~models.Q(name=""), name="budget_has_a_name"),
            models.CheckConstraint(
                condition=models.Q(limit_nanoeur__gte=0), name="budget_limit_not_negative"
            ),
            models.CheckConstraint(
                condition=models.Q(span__in=[span.value for span in BudgetWindow]),
                name="budget_span",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def scope(self) -> str:
        """What its periods are called in the ledger."""
        return f"budget:{self.id}:{self.revision}"


class AiRequestLog(models.Model):
    """One row for every request of a known organization: what was asked, decided and charged.

    Prompts and answers are not kept. `decision` is the trace of how it was judged. What finds
    the rows of a filter is made by migration 0003, another index on each database.
    """

    class Status(models.TextChoices):
        PENDING = "pending"
        OK = "ok"
        BLOCKED = "blocked"
        ERROR = "error"
        UNKNOWN = "unknown"

    id = IdPrimaryKey()
    org = models.ForeignKey(
        Organization, models.PROTECT, db_constraint=False, db_index=False, related_name="+"
    )
    occurred_at = models.DateTimeField()
    completed_at = models.DateTimeField(null=True)
    channel = models.CharField(max_length=32)
    stream = models.BooleanField(default=False)
    requested_model = models.CharField(max_length=200)
    model = models.CharField(max_length=200)
    provider = models.CharField(max_length=32, null=True)  # noqa: DJ001  not known differs from ""
    status = models.CharField(max_length=8, choices=Status)
    code = models.CharField(max_length=40, null=True)  # noqa: DJ001
    error = models.CharField(max_length=1000, null=True)  # noqa: DJ001
    finish_reason = models.CharField(max_length=40, null=True)  # noqa: DJ001
    prompt_hash = models.CharField(max_length=64)
    input_tokens = models.BigIntegerField(null=True)
    output_tokens = models.BigIntegerField(null=True)
    hold_nanoeur = models.BigIntegerField(null=True)
    cost_nanoeur = models.BigIntegerField(null=True)
    latency_ms = models.IntegerField(null=True)
    user_id = models.CharField(max_length=128, null=True)  # noqa: DJ001
    team_id = models.CharField(max_length=128, null=True)  # noqa: DJ001
    project_id = models.CharField(max_length=128, null=True)  # noqa: DJ001
    app_id = models.CharField(max_length=128, null=True)  # noqa: DJ001
    client_id = models.CharField(max_length=128, null=True)  # noqa: DJ001
    task_type = models.CharField(max_length=128, null=True)  # noqa: DJ001
    key_id = IdField(null=True)
    usage = models.JSONField(null=True)
    decision = models.JSONField()
    # An alias's models that did not answer, in order; the rest of the row tells of the last that
    # was asked. Null where there are none.
    attempts = models.JSONField(null=True)

    class Meta:
        db_table = "ai_request_log"
        indexes: ClassVar = [
            models.Index(fields=("org", "-occurred_at", "-id"), name="ai_request_log_newest"),
        ]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=models.Q(status__in=("pending", "ok", "blocked", "error", "unknown")),
                name="ai_request_log_status",
            )
        ]

    def __str__(self) -> str:
        return f"{self.id} {self.model} {self.status}"


class IdempotencyKey(models.Model):
    """A caller's Idempotency-Key, as a hash, and the request it belongs to."""

    pk = models.CompositePrimaryKey("org_id", "key_hash")
    org = models.ForeignKey(
        Organization, models.PROTECT, db_constraint=False, db_index=False, related_name="+"
    )
    key_hash = models.CharField(max_length=64)
    body_hash = models.CharField(max_length=64)
    request_id = IdField()
    seen_at = models.DateTimeField()

    class Meta:
        db_table = "idempotency_key"
        indexes: ClassVar = [models.Index(fields=("seen_at",), name="idempotency_key_age")]

    def __str__(self) -> str:
        return self.key_hash[:8]

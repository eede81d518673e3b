"""The audit log, and the idempotency keys of requests."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from costs.models import SessionRow
from orgs.fields import IdField
from orgs.models import Organization


class AiRequestLog(SessionRow):
    """One row for every request of a known organization: what was requested, decided and charged.

    Prompts and answers are not kept. `decision` is the trace of how it was judged. What finds
    the rows of a filter is made by migration 0003, another index on each database.
    """

    class Status(models.TextChoices):
        PENDING = "pending"
        OK = "ok"
        BLOCKED = "blocked"
        ERROR = "error"
        UNKNOWN = "unknown"

    occurred_at = models.DateTimeField()
    completed_at = models.DateTimeField(null=True)
    channel = models.CharField(max_length=32)
    stream = models.BooleanField(default=False)
    requested_model = models.CharField(max_length=200)
    provider = models.CharField(max_length=32, null=True)  # type: ignore[assignment]  # noqa: DJ001  null where none was called
    status = models.CharField(max_length=8, choices=Status)
    code = models.CharField(max_length=40, null=True)  # noqa: DJ001
    error = models.CharField(max_length=1000, null=True)  # noqa: DJ001
    finish_reason = models.CharField(max_length=40, null=True)  # noqa: DJ001
    prompt_hash = models.CharField(max_length=64)
    input_tokens = models.BigIntegerField(null=True)
    output_tokens = models.BigIntegerField(null=True)
    hold_nanoeur = models.BigIntegerField(null=True)
    cost_nanoeur = models.BigIntegerField(null=True)
    # How much of the cost is an estimate: all of it, or nothing.
    estimated_nanoeur = models.BigIntegerField(null=True)
    latency_ms = models.IntegerField(null=True)
    usage = models.JSONField(null=True)
    decision = models.JSONField()
    # An alias's models that did not answer, in order; the rest of the row is about the last that
    # was called. Null where there are none.
    attempts = models.JSONField(null=True)
    # Whether a session or the key's owner proved `user_id`. Null without a user, and in rows of
    # versions that did not keep it.
    user_proved = models.BooleanField(null=True)
    # Whether the key is locked to `client_id`, or code in this process named it. Null without a
    # client, and in rows of versions that did not keep it.
    client_proved = models.BooleanField(null=True)
    # Whether a watched policy would have refused it. Null where none is watched.
    refused_by_watched = models.BooleanField(null=True)

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


class RefusedCredentials(models.Model):
    """A day of UTC on which a provider refused this installation's key; `id` is made of both."""

    id = models.CharField(max_length=64, primary_key=True)
    provider = models.CharField(max_length=32)
    on_date = models.DateField(db_index=True)

    class Meta:
        db_table = "refused_credentials"
        verbose_name_plural = "refused credentials"

    def __str__(self) -> str:
        return self.id

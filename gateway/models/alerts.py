"""The tables of alerts: alerts, channels, addresses, deliveries, and the lease of the job."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils.timezone import now

from orgs.fields import IdField, IdPrimaryKey
from orgs.models import Organization


class Alert(models.Model):
    """Something that was found once: `key` is made of what it is about, and unique.

    `sentence` says what happened. `figures` has its amounts, and what leads to the costs behind
    it. It outlives the budget that it is about, and the person who acknowledged it.
    """

    class Kind(models.TextChoices):
        BUDGET = "budget", "budget"
        FORECAST = "forecast", "forecast"
        DAY_LIMIT = "day_limit", "limit of the day"
        SPIKE = "spike", "spike"
        REFUSAL = "refusal", "refused call"
        EXCHANGE_RATE = "exchange_rate", "exchange rate"
        PROVIDER_CREDENTIALS = "provider_credentials", "provider credentials"
        ABOVE_HOLD = "above_hold", "bill above its hold"

    id = IdPrimaryKey()
    org = models.ForeignKey(Organization, models.CASCADE, db_index=False, related_name="alerts")
    key = models.CharField(max_length=200)
    kind = models.CharField(max_length=20, choices=Kind)
    percent = models.PositiveSmallIntegerField(null=True, blank=True)
    sentence = models.CharField(max_length=1000)
    figures = models.JSONField(default=dict)
    budget_id = IdField(null=True, blank=True)
    raised_at = models.DateTimeField()
    acknowledged_at = models.DateTimeField(null=True, blank=True)
    acknowledged_by = models.CharField(max_length=254, blank=True)

    class Meta:
        db_table = "alert"
        ordering = ("-id",)
        constraints: ClassVar = [
            models.UniqueConstraint(fields=("org", "key"), name="alert_once"),
            models.CheckConstraint(
                condition=models.Q(
                    kind__in=(
                        *("budget", "forecast", "day_limit", "spike", "refusal"),
                        *("exchange_rate", "provider_credentials", "above_hold"),
                    )
                ),
                name="alert_kind",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=("org", "-id"), name="alert_newest"),
            models.Index(
                fields=("org",), condition=models.Q(acknowledged_at=None), name="alert_open"
            ),
        ]

    def __str__(self) -> str:
        return self.sentence


class AlertChannel(models.Model):
    """Where an organization's alerts are sent: email addresses, or the URL of a webhook.

    A webhook's secret is not kept: it is made of the installation's key, the row's id and
    `secret_version`. `failures` counts the tries that failed since the last that did not; too many
    pause the channel.
    """

    class Kind(models.TextChoices):
        EMAIL = "email", "e-mail"
        WEBHOOK = "webhook", "webhook"

    id = IdPrimaryKey()
    org = models.ForeignKey(Organization, models.CASCADE, related_name="alert_channels")
    kind = models.CharField(max_length=8, choices=Kind)
    name = models.CharField(max_length=100)
    emails = models.JSONField(default=list, blank=True)
    url = models.CharField(max_length=2000, blank=True)
    secret_version = models.PositiveIntegerField(default=1, editable=False)
    enabled = models.BooleanField(default=True)
    failures = models.PositiveIntegerField(default=0, db_default=0, editable=False)
    paused_until = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(default=now, editable=False)

    class Meta:
        db_table = "alert_channel"
        ordering = ("id",)
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=models.Q(kind="email", url="")
                | models.Q(kind="webhook") & ~models.Q(url=""),
                name="alert_channel_kind",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class AlertAddress(models.Model):
    """An email address of an organization's channels, and whether its owner wants the alerts.

    `asked_at` is when a link to confirm it was last sent.
    """

    id = IdPrimaryKey()
    org = models.ForeignKey(
        Organization, models.CASCADE, db_index=False, related_name="alert_addresses"
    )
    email = models.EmailField()
    asked_at = models.DateTimeField(null=True, blank=True)
    confirmed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "alert_address"
        verbose_name_plural = "alert addresses"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=("org", "email"), name="alert_address_once"),
        ]

    def __str__(self) -> str:
        return self.email


class AlertDelivery(models.Model):
    """One alert on its way through one channel; without an alert it is a test.

    `attempts` lists what was tried: when, what came of it, how long it took. `tries` counts them
    as they begin, and is what a process claims the next one by.
    """

    class State(models.TextChoices):
        WAITING = "waiting"
        DELIVERED = "delivered"
        FAILED = "failed"

    id = IdPrimaryKey()
    alert = models.ForeignKey(Alert, models.CASCADE, null=True, related_name="deliveries")
    channel = models.ForeignKey(AlertChannel, models.CASCADE, related_name="deliveries")
    state = models.CharField(max_length=9, choices=State, default=State.WAITING)
    tries = models.PositiveSmallIntegerField(default=0)
    next_try_at = models.DateTimeField()
    delivered_at = models.DateTimeField(null=True, blank=True)
    attempts = models.JSONField(default=list)

    class Meta:
        db_table = "alert_delivery"
        verbose_name_plural = "alert deliveries"
        ordering = ("id",)
        constraints: ClassVar = [
            models.UniqueConstraint(fields=("alert", "channel"), name="alert_delivery_once"),
            models.CheckConstraint(
                condition=models.Q(state__in=("waiting", "delivered", "failed")),
                name="alert_delivery_state",
            ),
        ]
        indexes: ClassVar = [
            models.Index(
                fields=("next_try_at",),
                condition=models.Q(state="waiting"),
                name="alert_delivery_due",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.id} {self.state}"


class Lease(models.Model):
    """Which process does a job that one process does, and until when."""

    name = models.CharField(max_length=40, primary_key=True)
    holder_id = IdField()
    expires_at = models.DateTimeField()

    class Meta:
        db_table = "lease"

    def __str__(self) -> str:
        return f"{self.name} until {self.expires_at:%H:%M:%S}"

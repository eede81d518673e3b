"""Hours of a server that is priced by the hour, and what of them each call has to bear."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from orgs.fields import IdField, IdPrimaryKey


class HourCost(models.Model):
    """An hour that is over, of one price by the hour; `model` is empty for all of a provider.

    Counted once, in the transaction that writes the row: `amount_nanoeur` is what the hour costs,
    `unknown_nanoeur` what its calls of unknown outcome are charged, `divided_nanoeur` what is
    divided over the `tokens` of the other `calls`. What is in neither was not used. It is done when
    each call has its share.
    """

    id = IdPrimaryKey()
    provider = models.CharField(max_length=32)
    model = models.CharField(max_length=200, blank=True, default="")
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    amount_nanoeur = models.BigIntegerField()
    unknown_nanoeur = models.BigIntegerField()
    divided_nanoeur = models.BigIntegerField()
    tokens = models.BigIntegerField()
    calls = models.BigIntegerField()
    counted_at = models.DateTimeField()
    done_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "hour_cost"
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=("provider", "model", "starts_at"), name="hour_cost_once"
            ),
            models.CheckConstraint(
                condition=models.Q(
                    amount_nanoeur__gte=0,
                    unknown_nanoeur__gte=0,
                    divided_nanoeur__gte=0,
                    tokens__gte=0,
                    calls__gte=0,
                ),
                name="hour_cost_not_negative",
            ),
        ]
        indexes: ClassVar = [
            models.Index(
                fields=("starts_at",),
                condition=models.Q(done_at__isnull=True),
                name="hour_cost_not_done",
            )
        ]

    def __str__(self) -> str:
        return f"{self.provider} {self.model or '*'} {self.starts_at:%Y-%m-%d %H:%M}"


class HourShare(models.Model):
    """What one call has to bear of an hour; `id` is its hold's.

    `charged_at` is when its adjustment was seen to be written.
    """

    id = IdField(primary_key=True)
    hour_cost = models.ForeignKey(HourCost, models.CASCADE, db_index=False, related_name="shares")
    nanoeur = models.BigIntegerField()
    charged_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "hour_share"
        indexes: ClassVar = [
            models.Index(
                fields=("hour_cost", "id"),
                condition=models.Q(charged_at__isnull=True),
                name="hour_share_not_charged",
            )
        ]

    def __str__(self) -> str:
        return f"{self.nanoeur} n€"

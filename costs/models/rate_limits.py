"""What is taken of rates: requests and tokens per minute, and requests at once."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from costs.models.ledger import Hold
from orgs.fields import IdPrimaryKey
from orgs.models import Organization


class RateBucket(models.Model):
    """What calls of a scope have taken of its rates, as it was at `refilled_at`.

    `requests_taken` and `tokens_taken` are in sixty-millionths: after a minute of which nothing is
    taken any more (see `costs.core.rate_limits`). `in_flight` are the calls with a hold. An unused
    bucket is deleted: a new one is as full.
    """

    id = IdPrimaryKey()
    org = models.ForeignKey(Organization, models.PROTECT, db_index=False, related_name="+")
    scope = models.CharField(max_length=64)
    refilled_at = models.DateTimeField()
    requests_taken = models.BigIntegerField(default=0)
    tokens_taken = models.BigIntegerField(default=0)
    in_flight = models.IntegerField(default=0)

    class Meta:
        db_table = "rate_bucket"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=("org", "scope"), name="rate_bucket_once"),
            models.CheckConstraint(
                condition=models.Q(requests_taken__gte=0, tokens_taken__gte=0, in_flight__gte=0),
                name="rate_bucket_not_negative",
            ),
        ]

    def __str__(self) -> str:
        return self.scope


class HoldBucket(models.Model):
    """The buckets that a hold has taken from; never changed.

    `tokens` were taken where tokens were limited; the figures per minute are those at admission.
    """

    pk = models.CompositePrimaryKey("hold_id", "bucket_id")
    hold = models.ForeignKey(
        Hold, models.PROTECT, db_constraint=False, db_index=False, related_name="hold_buckets"
    )
    bucket = models.ForeignKey(
        RateBucket, models.PROTECT, db_constraint=False, db_index=False, related_name="+"
    )
    tokens = models.BigIntegerField()
    requests_per_minute = models.BigIntegerField(null=True)
    tokens_per_minute = models.BigIntegerField(null=True)

    class Meta:
        db_table = "hold_bucket"

    def __str__(self) -> str:
        return f"{self.hold_id} of {self.bucket_id}"

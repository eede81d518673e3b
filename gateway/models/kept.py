"""What providers keep for organizations, by the ids that they gave."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from gateway.core.kept import ID_MAX_CHARS, KeptKind
from orgs.fields import IdField
from orgs.models import Organization

KINDS = [kind.value for kind in KeptKind]


class KeptId(models.Model):
    """An id that a provider gave to an organization: of a response, an item or a conversation.

    `tokens` are the most that naming it adds to a call's input, counted for `model`, or for any
    without one; null is unknown. `request_id` is the request that made the id known. While a
    request adds to a conversation, that is its `turn`, and `tokens` are only what clients add
    meanwhile; one that stays after its request has ended makes the tokens unknown.
    """

    pk = models.CompositePrimaryKey("org_id", "provider", "provider_id")
    org = models.ForeignKey(
        Organization, models.PROTECT, db_constraint=False, db_index=False, related_name="+"
    )
    provider = models.CharField(max_length=32)
    provider_id = models.CharField(max_length=ID_MAX_CHARS)
    kind = models.CharField(max_length=12, choices=[(kind, kind) for kind in KINDS])
    tokens = models.BigIntegerField(null=True)
    model = models.CharField(max_length=200, blank=True)
    request_id = IdField()
    turn = IdField(null=True)
    created_at = models.DateTimeField()

    class Meta:
        db_table = "kept_id"
        indexes: ClassVar = [
            models.Index(fields=("request_id",), name="kept_id_request"),
            models.Index(
                fields=("created_at",),
                condition=~models.Q(kind=KeptKind.CONVERSATION.value),
                name="kept_id_age",
            ),
            models.Index(
                fields=("org",),
                condition=models.Q(kind=KeptKind.CONVERSATION.value),
                name="kept_id_conversations",
            ),
        ]
        constraints: ClassVar = [
            models.CheckConstraint(condition=models.Q(kind__in=KINDS), name="kept_id_kind"),
            models.CheckConstraint(
                condition=models.Q(tokens__isnull=True) | models.Q(tokens__gte=0),
                name="kept_id_tokens",
            ),
        ]

    def __str__(self) -> str:
        return self.provider_id

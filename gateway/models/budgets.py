"""The tables of budgets, and of higher limits for some of those that they limit."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models.functions import Lower
from django.utils.timezone import now

from costs.core.calendar.periods import BudgetWindow
from gateway.guards.budgets import EACH
from gateway.guards.policies import HoldMode
from orgs.fields import IdPrimaryKey
from orgs.models import Organization


class Budget(models.Model):
    """What some of an organization's calls may cost in a day, week, month or quarter.

    It applies to calls to `models` with the dimensions given here; what is not given matches any.
    `each` names the column of whose values each has the limit for itself; empty is none.
    One that is not `is_hard` blocks nothing. `revision` rises when the budget comes to apply to
    other calls or another window: the ledger then counts again, in periods of another scope.
    Made and changed by `gateway.budgets.operations`, which counts what was spent before.
    """

    id = IdPrimaryKey()
    org = models.ForeignKey(Organization, models.CASCADE, related_name="budgets")
    name = models.CharField(max_length=100)
    enabled = models.BooleanField(default=True)
    span = models.CharField(
        max_length=8, choices=[(window.value, window.value) for window in BudgetWindow]
    )
    limit_nanoeur = models.BigIntegerField()
    is_hard = models.BooleanField(default=True)
    hold = models.CharField(
        max_length=6, choices=[(hold.value, hold.value) for hold in HoldMode], default="whole"
    )
    user_id = models.CharField(max_length=128, null=True, blank=True)  # noqa: DJ001  not given differs from ""
    team_id = models.CharField(max_length=128, null=True, blank=True)  # noqa: DJ001
    project_id = models.CharField(max_length=128, null=True, blank=True)  # noqa: DJ001
    app_id = models.CharField(max_length=128, null=True, blank=True)  # noqa: DJ001
    client_id = models.CharField(max_length=128, null=True, blank=True)  # noqa: DJ001
    task_type = models.CharField(max_length=128, null=True, blank=True)  # noqa: DJ001
    each = models.CharField(
        max_length=16, default="", db_default="", blank=True, choices=[*EACH.items()]
    )
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
                condition=models.Q(span__in=[window.value for window in BudgetWindow]),
                name="budget_span",
            ),
            models.CheckConstraint(
                condition=models.Q(hold__in=[hold.value for hold in HoldMode]), name="budget_hold"
            ),
            models.CheckConstraint(
                condition=models.Q(each__in=["", *EACH]), name="budget_of_known_dimension"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def scope(self) -> str:
        """What its periods are called in the ledger."""
        return f"budget:{self.id}:{self.revision}"


class BudgetRaise(models.Model):
    """A higher limit for one `value` of the dimension that a budget limits, to the end of `until`.

    `part` is what the value's periods are called in the ledger, after the budget's scope. A key is
    named by the first of its rotations. Made by `gateway.budgets.raises`.
    """

    id = IdPrimaryKey()
    org = models.ForeignKey(Organization, models.CASCADE, db_index=False, related_name="+")
    budget = models.ForeignKey(Budget, models.CASCADE, db_index=False, related_name="raises")
    part = models.CharField(max_length=12)
    value = models.CharField(max_length=128)
    limit_nanoeur = models.BigIntegerField()
    until = models.DateField()
    created_at = models.DateTimeField(default=now, editable=False)

    class Meta:
        db_table = "budget_raise"
        ordering = ("until", "id")
        constraints: ClassVar = [
            models.UniqueConstraint(fields=("budget", "part"), name="budget_raise_once"),
            models.CheckConstraint(
                condition=models.Q(limit_nanoeur__gte=0), name="budget_raise_not_negative"
            ),
        ]
        indexes: ClassVar = [models.Index(fields=("org", "until"), name="budget_raise_in_force")]

    def __str__(self) -> str:
        return f"{self.value} to {self.limit_nanoeur} n€ until {self.until}"

"""The ledger's rows, and the processes that write them."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils.timezone import now

from orgs.fields import IdField, IdPrimaryKey
from orgs.models import Organization


class RateCard(models.Model):
    """The rates that calls were admitted at, once for all of them. Never changed.

    The id is derived from the rates, so that a process can refer to a card that another one wrote.
    """

    id = IdPrimaryKey()
    rates = models.JSONField()

    class Meta:
        db_table = "rate_card"

    def __str__(self) -> str:
        return f"{self.rates.get('model', 'free')} from {self.rates.get('starts_at', 'ever')}"


class Instance(models.Model):
    """A running process; its heartbeat tells the reaper whose holds are abandoned."""

    id = IdPrimaryKey()
    host = models.CharField(max_length=255)
    pid = models.IntegerField()
    started_at = models.DateTimeField(default=now)
    seen_at = models.DateTimeField()
    stopped_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "instance"

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}"


class Period(models.Model):
    """The limit, held and settled amounts of a scope in [starts_at, ends_at).

    `scope` is what counts: "org" is everything in a day. `settled_nanoeur` counts at most each
    hold, `overrun_nanoeur` what providers billed above theirs; together they are the sum of the
    period's cost events. `carried_nanoeur` was spent before the period was created, and
    is deducted from the limit: `limit_nanoeur` is what was left of the limit by then.
    `starts_on` is the local date of its first day; a change of time zone changes that and the end
    of the current period (see `costs.ledger.time_zones`). A trigger rejects any increase of
    `held_nanoeur` past the limit.
    """

    id = IdPrimaryKey()
    org = models.ForeignKey(Organization, models.PROTECT, related_name="+")
    scope = models.CharField(max_length=64)
    starts_on = models.DateField()
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    limit_nanoeur = models.BigIntegerField(null=True, blank=True)
    held_nanoeur = models.BigIntegerField(default=0)
    settled_nanoeur = models.BigIntegerField(default=0)
    overrun_nanoeur = models.BigIntegerField(default=0)
    carried_nanoeur = models.BigIntegerField(default=0)

    class Meta:
        db_table = "period"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=("org", "scope", "starts_at"), name="period_once"),
            models.CheckConstraint(
                condition=models.Q(ends_at__gt=models.F("starts_at")), name="period_not_empty"
            ),
            models.CheckConstraint(
                condition=models.Q(
                    held_nanoeur__gte=0, settled_nanoeur__gte=0, overrun_nanoeur__gte=0
                ),
                name="period_not_negative",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=("org", "ends_at"), name="period_org_current"),
            # RESERVE finds those of its own scopes: of sessions, thousands may be in force.
            models.Index(fields=("org", "scope", "ends_at"), name="period_in_force"),
        ]

    def __str__(self) -> str:
        return f"{self.scope} {self.starts_at:%Y-%m-%d}"

    @property
    def charged_nanoeur(self) -> int:
        """The total spent in it."""
        return self.carried_nanoeur + self.settled_nanoeur + self.overrun_nanoeur


class LedgerRow(models.Model):
    """A row of a table that the ledger appends to.

    It has `org_id` without a foreign key in the database: the organization's row is locked in the
    same transaction, so a check would only cost time. Nor has it an index of its own: each index
    costs every request, and those that pages use start with it.
    """

    id = IdPrimaryKey()
    org = models.ForeignKey(
        Organization, models.PROTECT, db_constraint=False, db_index=False, related_name="+"
    )

    class Meta:
        abstract = True


class AttributedRow(LedgerRow):
    """A row with the called model and the dimensions that the call is attributed to."""

    model = models.CharField(max_length=200)
    provider = models.CharField(max_length=32)
    user_id = models.CharField(max_length=128, null=True)  # noqa: DJ001  not given differs from ""
    team_id = models.CharField(max_length=128, null=True)  # noqa: DJ001
    project_id = models.CharField(max_length=128, null=True)  # noqa: DJ001
    app_id = models.CharField(max_length=128, null=True)  # noqa: DJ001
    client_id = models.CharField(max_length=128, null=True)  # noqa: DJ001
    task_type = models.CharField(max_length=128, null=True)  # noqa: DJ001
    key_id = IdField(null=True)

    class Meta:
        abstract = True


class Hold(LedgerRow):
    """Money reserved for one call, from before it is sent until its cost is known."""

    class State(models.TextChoices):
        HELD = "held"
        SETTLED = "settled"
        RELEASED = "released"
        UNKNOWN = "unknown"

    request_id = IdField()
    state = models.CharField(max_length=8, choices=State)
    amount_nanoeur = models.BigIntegerField()
    charged_nanoeur = models.BigIntegerField(default=0)
    held_at = models.DateTimeField()
    deadline_at = models.DateTimeField()
    resolved_at = models.DateTimeField(null=True, blank=True)
    instance_id = IdField()
    charge_to = models.JSONField()
    rate_card = models.ForeignKey(
        RateCard, models.PROTECT, db_constraint=False, db_index=False, related_name="+"
    )

    class Meta:
        db_table = "hold"
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=models.Q(state__in=("held", "settled", "released", "unknown")),
                name="hold_state",
            ),
            models.CheckConstraint(
                condition=models.Q(amount_nanoeur__gte=0, charged_nanoeur__gte=0),
                name="hold_not_negative",
            ),
        ]
        indexes: ClassVar = [
            models.Index(
                fields=("deadline_at",), condition=models.Q(state="held"), name="hold_unresolved"
            ),
            models.Index(fields=("request_id",), name="hold_request"),
        ]

    def __str__(self) -> str:
        return f"{self.id} {self.state}"


class HoldPeriod(models.Model):
    """The periods that a hold counts in; never changed."""

    pk = models.CompositePrimaryKey("hold_id", "period_id")
    hold = models.ForeignKey(
        Hold, models.PROTECT, db_constraint=False, db_index=False, related_name="hold_periods"
    )
    period = models.ForeignKey(
        Period, models.PROTECT, db_constraint=False, db_index=False, related_name="+"
    )

    class Meta:
        db_table = "hold_period"
        indexes: ClassVar = [models.Index(fields=("period",), name="hold_period_by_period")]

    def __str__(self) -> str:
        return f"{self.hold_id} in {self.period_id}"


class SessionRow(AttributedRow):
    """A row that also has the session of an agent that it belongs to, and the subagent in it.

    Clients name both; NULL without one. Ids are compared as they are.
    """

    session_id = models.CharField(max_length=128, null=True)  # noqa: DJ001
    agent_id = models.CharField(max_length=128, null=True)  # noqa: DJ001

    class Meta:
        abstract = True


class CostEvent(SessionRow):
    """One charge. Never changed: a correction is another row, and may be negative.

    `occurred_at` is the moment of admission, so that the events of a local day add up to its
    period; `recorded_at` is when the charge became known. `estimated_nanoeur` is how much of the
    amount is an estimate; a correction or an adjustment takes it back.
    """

    class Kind(models.TextChoices):
        USAGE = "usage", "what the provider reported"
        BOUND = "bound", "the whole hold, since the outcome is unknown"
        ESTIMATE = "estimate", "the most that the provider can have produced, since it is unknown"
        CORRECTION = "correction", "the difference, since the outcome became known"
        ADJUSTMENT = "adjustment", "the difference to its share of an hour that is over"

    source = models.CharField(max_length=16, default="AI")
    kind = models.CharField(max_length=10, choices=Kind)
    occurred_at = models.DateTimeField()
    recorded_at = models.DateTimeField()
    amount_nanoeur = models.BigIntegerField()
    estimated_nanoeur = models.BigIntegerField(default=0)
    request_id = IdField()
    hold_id = IdField()
    input_tokens = models.BigIntegerField(null=True)
    output_tokens = models.BigIntegerField(null=True)
    usage = models.JSONField(null=True)
    rate_card = models.ForeignKey(
        RateCard, models.PROTECT, db_constraint=False, db_index=False, related_name="+"
    )

    class Meta:
        db_table = "cost_event"
        indexes: ClassVar = [
            models.Index(fields=("org", "-occurred_at"), name="cost_event_org_newest"),
            models.Index(fields=("hold_id",), name="cost_event_hold"),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=("hold_id",),
                condition=models.Q(kind="adjustment"),
                name="cost_event_adjusted_once",
            )
        ]

    def __str__(self) -> str:
        return f"{self.amount_nanoeur} n€ for {self.model}"


class CostSums(models.Model):
    """The sums of cost events with the same attributes."""

    source = models.CharField(max_length=16)
    amount_nanoeur = models.BigIntegerField()
    estimated_nanoeur = models.BigIntegerField(default=0)
    events = models.BigIntegerField()
    requests = models.BigIntegerField()
    input_tokens = models.BigIntegerField()
    output_tokens = models.BigIntegerField()

    class Meta:
        abstract = True


class CostLine(AttributedRow, CostSums):
    """The sum of cost events with the same attributes, but for sessions: they are too many."""

    class Meta:
        abstract = True


class DailyCost(CostLine):
    """The sum of the cost events of one local day with the same attributes.

    SETTLE adds to it in the transaction that writes the event, under the lock of the day's
    period, so that the lines of a period are always the sum of its events. The `day` is that of
    the admission, as in the period: a change of time zone dates only the current one again.
    `id` is derived from the period and the attributes (see `costs.core.daily`). `requests` counts
    a request once, by its first event.
    """

    period = models.ForeignKey(
        Period, models.PROTECT, db_constraint=False, db_index=False, related_name="+"
    )
    day = models.DateField()

    class Meta:
        db_table = "daily_cost"
        indexes: ClassVar = [models.Index(fields=("org", "day"), name="daily_cost_org_day")]

    def __str__(self) -> str:
        return f"{self.day} {self.model} {self.amount_nanoeur} n€"


class MonthlyCost(CostLine):
    """The sum of the daily lines of one month with the same attributes.

    Written by SETTLE in the same transaction. `month` is its first day.
    """

    month = models.DateField()

    class Meta:
        db_table = "monthly_cost"
        indexes: ClassVar = [
            models.Index(fields=("org", "month"), name="monthly_cost_org_month"),
            models.Index(fields=("org", "model", "provider"), name="monthly_cost_org_model"),
        ]

    def __str__(self) -> str:
        return f"{self.month} {self.model} {self.amount_nanoeur} n€"


class SessionCost(SessionRow, CostSums):
    """The sum of the cost events of a session's agent in one local day with the same attributes.

    Written by SETTLE in the same transaction, for calls with a session only: they are also in the
    daily lines, so that what had no session is the difference. `day` is that of the daily line.
    `cache_read_tokens` are among the input tokens.
    """

    cache_read_tokens = models.BigIntegerField()
    period = models.ForeignKey(
        Period, models.PROTECT, db_constraint=False, db_index=False, related_name="+"
    )
    day = models.DateField()

    class Meta:
        db_table = "session_cost"
        indexes: ClassVar = [
            models.Index(fields=("org", "day"), name="session_cost_org_day"),
            models.Index(fields=("org", "session_id"), name="session_cost_org_session"),
        ]

    def __str__(self) -> str:
        return f"{self.day} {self.session_id} {self.amount_nanoeur} n€"

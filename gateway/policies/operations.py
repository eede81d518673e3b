"""Operations on policies; each function is one transaction.

Each locks the organization's row first, as RESERVE does: two changes of one policy cannot undo
parts of each other, and nothing is admitted on a limit that has been withdrawn.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final
from uuid import UUID

from django.db import transaction
from django.utils.timezone import now

from costs.ledger.new_periods import end_sessions, open_periods
from gateway.core.model_entries import fault_in_total, wildcards_in
from gateway.guards.policies import WAIT_S, AppliesTo, HoldMode, PolicyMode, applies_to
from gateway.models import Policy
from gateway.policies.counting import counting_of
from orgs.audit import history
from orgs.core.errors import Conflict, Missing
from orgs.locking import locked, one_name
from orgs.models import Organization

POLICIES_MAX: Final = 100  # of one organization: every request is judged by all that are on
_ONE_NAME: Final = ("policy_name_once", "A policy with this name already exists")


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyLimits:
    """A policy's name and limits, checked. None and empty are "no limit"."""

    name: str
    mode: PolicyMode = PolicyMode.ON
    applies_to: dict[str, list[str]] = field(default_factory=dict)
    allowed_models: list[str]
    blocked_models: list[str]
    max_cost_per_day_nanoeur: int | None
    max_tokens_per_request: int | None
    max_output_tokens: int | None = None
    wait_s: int = WAIT_S
    web_searches_per_request: int | None = None
    max_cost_per_session_nanoeur: int | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrent_requests: int | None = None
    hold: HoldMode = HoldMode.WHOLE
    required_dimensions: list[str] = field(default_factory=list)
    known_values: dict[str, list[str]] = field(default_factory=dict)


# What the history says of a policy.
RECORDED: Final = tuple([each.name for each in fields(PolicyLimits)])


def create_policy(*, organization_id: UUID, limits: PolicyLimits) -> Policy:
    """Make a policy. If it limits the cost per day of calls that it names, that counts what they
    have cost today. Raises Conflict when its name is taken or there are too many.
    """
    with one_name(*_ONE_NAME), transaction.atomic():
        organization = locked(organization_id)
        if organization.policies.count() >= POLICIES_MAX:
            raise Conflict(f"An organization can have at most {POLICIES_MAX} policies")
        check_wildcards(organization, limits.allowed_models, limits.blocked_models)
        policy = Policy(org=organization, **asdict(limits))
        with recounted(policy):
            policy.save(force_insert=True)
        history.record("policy_created", policy, after=asdict(limits))
        return policy


def update_policy(
    *,
    organization_id: UUID,
    policy_id: UUID,
    limits: PolicyLimits | None = None,
    mode: PolicyMode | None = None,
) -> None:
    """Replace a policy's name and limits, or its mode, where given.

    Raises Missing when it is gone, Conflict when its name is taken or it has too many wildcards.
    """
    changes: dict[str, Any] = asdict(limits) if limits else {}
    if mode is not None:
        changes["mode"] = mode
    with one_name(*_ONE_NAME), transaction.atomic():
        organization = locked(organization_id)
        if limits is not None:
            lists = limits.allowed_models, limits.blocked_models
            check_wildcards(organization, *lists, instead_of=policy_id)
        policy = Policy.objects.filter(org=organization_id, id=policy_id).first()
        if policy is None:
            raise Missing("Policy not found")
        before = history.values_of(policy, changes)
        for name, value in changes.items():
            setattr(policy, name, value)
        with recounted(policy):
            policy.save()
        history.record("policy_changed", policy, before=before, after=changes)


@contextmanager
def recounted(policy: Policy) -> Iterator[None]:
    """Save a policy as it is now; if its cost per day comes to count other calls than it has, it
    counts them again.

    So what it missed while it was off, or counted of others, is recovered. So is what sessions have
    cost while no policy limited them.
    """
    with transaction.atomic():
        organization = locked(policy.org_id)
        saved = Policy.objects.filter(pk=policy.pk).first()
        is_recounted = counts_calls(policy) and (not saved or _counted(policy) != _counted(saved))
        if is_recounted and saved:
            policy.revision = saved.revision + 1
        begins_sessions = _limits_sessions(policy) and not any(
            map(_limits_sessions, organization.policies.all())
        )
        yield
        if begins_sessions:
            end_sessions(organization, now=now())
        if is_recounted:
            open_periods(organization, counting_of(policy), now=now())


def check_wildcards(
    organization: Organization, *lists: list[str], instead_of: UUID | None = None
) -> None:
    """Raise Conflict if the organization's policies would have too many entries with a wildcard.

    The lists are those of a new policy, or of the policy `instead_of`.
    """
    rows = organization.policies.values_list("id", "allowed_models", "blocked_models")
    of_each = {policy_id: wildcards_in(*has) for policy_id, *has in rows}
    fault = fault_in_total(wildcards_in(*lists), of_each, instead_of=instead_of)
    if fault is not None:
        raise Conflict(fault)


def counts_calls(policy: Policy) -> bool:
    """Whether a policy has a cost per day of its own in the ledger."""
    is_limited = policy.max_cost_per_day_nanoeur is not None
    return bool(policy.applies_to) and is_limited and policy.mode != PolicyMode.OFF


def _limits_sessions(policy: Policy) -> bool:
    return policy.max_cost_per_session_nanoeur is not None and policy.mode != PolicyMode.OFF


def _counted(policy: Policy) -> tuple[bool, AppliesTo]:
    """Return what decides which calls count in a policy's cost per day."""
    return counts_calls(policy), applies_to(policy.applies_to)


def delete_policy(*, organization_id: UUID, policy_id: UUID) -> None:
    """Remove a policy; past decisions keep its name. Removing one that is gone does nothing."""
    with transaction.atomic():
        locked(organization_id)
        policy = Policy.objects.filter(org=organization_id, id=policy_id).first()
        if policy is not None:
            history.record("policy_deleted", policy, before=history.values_of(policy, RECORDED))
            policy.delete()

"""Keys with limits of their own: a key and its policy are made in one transaction."""

from __future__ import annotations

from typing import Final, Unpack

from django.db import transaction

from gateway.models import Policy
from gateway.policies.operations import PolicyLimits, create_policy
from orgs.core.errors import Conflict
from orgs.core.frozen import frozen
from orgs.keys import operations as keys
from orgs.keys.operations import KeyFields
from orgs.models import ApiKey, Organization

_NAME_MAX_CHARS: Final = 100 - len('Key ""')


@frozen
class KeyLimits:
    """What a key's own policy limits; without any it has none."""

    allowed_models: tuple[str, ...] = ()
    max_cost_per_day_nanoeur: int | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrent_requests: int | None = None

    def __bool__(self) -> bool:
        rates = (self.requests_per_minute, self.tokens_per_minute, self.concurrent_requests)
        limits = (self.max_cost_per_day_nanoeur, *rates)
        return bool(self.allowed_models) or any(limit is not None for limit in limits)


def create_key(
    *, org: Organization, name: str, limits: KeyLimits, **fields: Unpack[KeyFields]
) -> tuple[ApiKey, str, Policy | None]:
    """Create a key; return its row, its text, which is not stored, and the policy of its limits.

    The policy applies to all rotations of the key. Raises Conflict if its name is taken or there
    are too many policies: then there is no key either.
    """
    with transaction.atomic():
        key, text = keys.create_key(org=org, name=name, **fields)
        return key, text, _limited(key, limits) if limits else None


def _limited(key: ApiKey, limits: KeyLimits) -> Policy:
    name = policy_name(key.name)
    try:
        return create_policy(
            organization_id=key.org_id,
            limits=PolicyLimits(
                name=name,
                applies_to={"key_id": [str(key.pk)]},
                allowed_models=[*limits.allowed_models],
                blocked_models=[],
                max_cost_per_day_nanoeur=limits.max_cost_per_day_nanoeur,
                max_tokens_per_request=None,
                requests_per_minute=limits.requests_per_minute,
                tokens_per_minute=limits.tokens_per_minute,
                concurrent_requests=limits.concurrent_requests,
            ),
        )
    except Conflict as refusal:
        if refusal.field != "name":
            raise
        sentence = f"Policy {name} already exists; delete or rename it, or choose another key name"
        raise Conflict(sentence, field="name") from refusal


def policy_name(key_name: str) -> str:
    """Return the name of a key's own policy."""
    shown = key_name
    if len(shown) > _NAME_MAX_CHARS:
        shown = f"{shown[: _NAME_MAX_CHARS - 1]}…"
    return f'Key "{shown}"'

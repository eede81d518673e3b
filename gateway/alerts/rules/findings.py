"""The finding of a rule, before it is compared with earlier alerts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from gateway.models import Alert


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertFinding:
    """A possible alert, raised once: not if `key` or one of `or_known_by` was raised before."""

    key: str
    kind: Alert.Kind
    sentence: str
    percent: int | None = None
    budget_id: UUID | None = None
    figures: Mapping[str, Any] = field(default_factory=dict)
    or_known_by: tuple[str, ...] = ()

    @property
    def keys(self) -> tuple[str, ...]:
        """All keys of which one is enough."""
        return (self.key, *self.or_known_by)

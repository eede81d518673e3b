"""Collect what is changed in a call so that its vendor accepts it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from gateway.core.calls import ProviderCall


class Changes:
    """Collects the changes to a call and the sentences that tell them, each once."""

    def __init__(self, call: ProviderCall) -> None:
        self.call = call
        self._told: dict[str, None] = {}

    def make(self, sentence: str, **values: Any) -> None:
        """Replace values of the call, and tell why."""
        self.call = replace(self.call, **values)
        self._told[sentence] = None

    def made(self) -> ProviderCall:
        """Return the changed call."""
        told = tuple(self._told)
        return replace(self.call, adjustments=told) if told else self.call

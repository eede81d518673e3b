"""Collect what is changed in a call so that its vendor accepts it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from gateway.core.calls import ProviderCall


class Changes:
    """Collects the changes to a call and the sentences that report them, each once."""

    def __init__(self, call: ProviderCall) -> None:
        self.call = call
        self._reported: dict[str, None] = {}

    def make(self, sentence: str, **values: Any) -> None:
        """Replace values of the call, and report it."""
        self.call = replace(self.call, **values)
        self._reported[sentence] = None

    def made(self) -> ProviderCall:
        """Return the changed call."""
        reported = tuple(self._reported)
        return replace(self.call, adjustments=reported) if reported else self.call

"""Differences between the requests of Mistral's models.

https://docs.mistral.ai/api/endpoint/chat
"""

from __future__ import annotations

from gateway.apis.families.changes import Changes


def fit(changes: Changes) -> None:
    """Fit a call to what its model accepts."""

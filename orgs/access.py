"""Who may see what: the only way by which a view gets an object."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest


def navigation(request: HttpRequest) -> dict[str, Any]:
    """What every page's header shows."""
    return {}

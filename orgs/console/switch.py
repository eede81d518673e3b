"""Buttons that turn an object on or off."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest

from orgs.console.refusals import missing_is_404


def switched(request: HttpRequest, change: Callable[..., object], **named: Any) -> bool:
    """Turn the named object on or off as the button requests, whatever its state is now.

    Returns whether it is on; 404 when it is gone.
    """
    enabled = request.POST.get("enabled") == "on"
    with missing_is_404():
        change(**named, enabled=enabled)
    return enabled

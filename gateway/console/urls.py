"""URLs below /admin/ai that have no page."""

from __future__ import annotations

from django.urls import path

from gateway.console import redirects

urlpatterns = [
    # What is left would be Django admin's, whose answer to a stranger is its own sign-in.
    path("ai/", redirects.elsewhere),
    path("ai/<path:rest>", redirects.elsewhere),
]

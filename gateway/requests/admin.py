"""Django admin of the audit log."""

from __future__ import annotations

from django.contrib import admin

from costs.admin import ReadOnlyAdmin
from gateway.models import AiRequestLog, RefusedCredentials


@admin.register(AiRequestLog)
class AiRequestLogAdmin(ReadOnlyAdmin):
    """The audit log: requests, decisions and charges."""

    list_display = (
        *("id", "org", "occurred_at", "channel", "model", "status", "code"),
        *("input_tokens", "output_tokens", "cost_nanoeur", "latency_ms"),
    )
    list_filter = ("status", "provider", "org")
    list_select_related = ("org",)
    search_fields = ("=id",)
    ordering = ("-id",)


@admin.register(RefusedCredentials)
class RefusedCredentialsAdmin(ReadOnlyAdmin):
    """Days on which a provider refused this installation's key."""

    list_display = ("provider", "on_date")
    list_filter = ("provider",)

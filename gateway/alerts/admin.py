"""Django admin of alerts, channels, addresses, deliveries and leases."""

from __future__ import annotations

from django.contrib import admin

from costs.admin import ReadOnlyAdmin
from gateway.models import (
    Alert,
    AlertAddress,
    AlertChannel,
    AlertDelivery,
    Lease,
)


@admin.register(Alert)
class AlertAdmin(ReadOnlyAdmin):
    """What was found, and who has seen it."""

    list_display = ("id", "org", "kind", "sentence", "raised_at", "acknowledged_at")
    list_filter = ("kind", "org")
    list_select_related = ("org",)
    search_fields = ("=id",)


@admin.register(AlertChannel)
class AlertChannelAdmin(ReadOnlyAdmin):
    """Where alerts are sent; a webhook's URL may be a secret, and is not shown."""

    list_display = ("name", "org", "kind", "enabled", "paused_until", "created_at")
    list_filter = ("kind", "org")
    list_select_related = ("org",)
    exclude = ("url",)


@admin.register(AlertAddress)
class AlertAddressAdmin(ReadOnlyAdmin):
    """Email addresses of channels, and whether their owners confirmed them."""

    list_display = ("email", "org", "asked_at", "confirmed_at")
    list_filter = ("org",)
    list_select_related = ("org",)


@admin.register(AlertDelivery)
class AlertDeliveryAdmin(ReadOnlyAdmin):
    """Deliveries of alerts."""

    list_display = ("id", "channel", "state", "tries", "next_try_at", "delivered_at")
    list_filter = ("state",)
    list_select_related = ("channel",)
    ordering = ("-id",)


@admin.register(Lease)
class LeaseAdmin(ReadOnlyAdmin):
    """Which process does a job that one process does."""

    list_display = ("name", "holder_id", "expires_at")

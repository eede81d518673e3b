"""Django admin of providers, to read: the page and the command change them."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from gateway.models import Provider
from gateway.provider_rows.operations import place_of_secret


@admin.register(Provider)
class ProviderAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not subscriptable at run time
    """Rows of providers, without their secrets."""

    list_display = ("name", "org", "base_url", "enabled", "weight", "order", "place_of_secret")
    list_filter = ("enabled", "org")
    list_select_related = ("org",)
    search_fields = ("name", "title")
    exclude = ("secret",)
    readonly_fields = ("place_of_secret",)

    @admin.display(description="Secret")
    def place_of_secret(self, row: Provider) -> str:
        """Show where the secret is."""
        return place_of_secret(row)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

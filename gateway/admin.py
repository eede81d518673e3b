"""Django admin of policies and of the audit log, for operators."""

from __future__ import annotations

from django import forms
from django.contrib import admin

from costs.admin import ReadOnlyAdmin
from gateway.forms import ModelNamesField
from gateway.models import AiRequestLog, Policy


class PolicyAdminForm(forms.ModelForm):  # type: ignore[type-arg]  # not subscriptable at run time
    """A policy as its row is; its lists are checked as on the organization's own page."""

    allowed_models = ModelNamesField(help_text="One per line; empty: all.")
    blocked_models = ModelNamesField(help_text="One per line.")

    class Meta:
        model = Policy
        fields = (
            *("org", "name", "enabled", "allowed_models", "blocked_models"),
            *("max_cost_per_day_nanoeur", "max_tokens_per_request"),
        )


@admin.register(Policy)
class PolicyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not subscriptable at run time
    """Limits on requests."""

    form = PolicyAdminForm
    list_display = ("name", "org", "enabled", "max_cost_per_day_nanoeur", "max_tokens_per_request")
    list_filter = ("enabled", "org")
    list_select_related = ("org",)
    search_fields = ("name",)


@admin.register(AiRequestLog)
class AiRequestLogAdmin(ReadOnlyAdmin):
    """What was asked, decided and charged."""

    list_display = (
        *("id", "org", "occurred_at", "channel", "model", "status", "code"),
        *("input_tokens", "output_tokens", "cost_nanoeur", "latency_ms"),
    )
    list_filter = ("status", "provider", "org")
    list_select_related = ("org",)
    search_fields = ("=id",)
    ordering = ("-id",)

"""Django admin of policies, aliases and the audit log, for operators."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin

from costs.admin import ReadOnlyAdmin
from gateway import reports
from gateway.alias_forms import add_fault, models_field, retries_field
from gateway.forms import ModelNamesField
from gateway.models import AiRequestLog, ModelAlias, Policy


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


class AliasAdminForm(forms.ModelForm):  # type: ignore[type-arg]  # not subscriptable at run time
    """An alias as its row is, checked as on the organization's own page."""

    models = models_field()
    retries = retries_field()

    class Meta:
        model = ModelAlias
        fields = ("org", "name", "enabled", "models", "retries")

    def clean(self) -> dict[str, Any]:
        super().clean()
        org = self.cleaned_data.get("org")
        if org is not None:
            others = reports.alias_names(organization_id=org.pk, but=self.instance.pk)
            add_fault(self, other_aliases=others)
        return self.cleaned_data


@admin.register(ModelAlias)
class AliasAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not subscriptable at run time
    """Names for models that are asked in order."""

    form = AliasAdminForm
    list_display = ("name", "org", "enabled", "models", "retries")
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

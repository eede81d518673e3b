"""Django admin of policies, aliases, budgets, alerts and the audit log, for operators."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from costs.admin import ReadOnlyAdmin
from gateway import reports
from gateway.alert_models import Alert, AlertChannel, AlertDelivery, Lease
from gateway.alias_forms import add_fault, models_field, retries_field
from gateway.budget_forms import models_field as budget_models_field
from gateway.budget_operations import (
    BUDGETS_MAX,
    create_budget,
    delete_budget,
    has_all,
    set_budget_enabled,
    terms_of,
    update_budget,
)
from gateway.core.calls import DIMENSIONS
from gateway.forms import ModelNamesField
from gateway.models import AiRequestLog, Budget, ModelAlias, Policy


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


class BudgetAdminForm(forms.ModelForm):  # type: ignore[type-arg]  # not subscriptable at run time
    """A budget as its row is; its models are checked as on the organization's own page."""

    models = budget_models_field()

    class Meta:
        model = Budget
        fields = (
            *("org", "name", "enabled", "span", "limit_nanoeur", "is_hard"),
            *(*DIMENSIONS, "models"),
        )

    def clean(self) -> dict[str, Any]:
        super().clean()
        org = self.cleaned_data.get("org")
        if org is not None and self.instance._state.adding and has_all(org):
            self.add_error(None, f"An organization has at most {BUDGETS_MAX} budgets.")
        return self.cleaned_data


@admin.register(Budget)
class BudgetAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not subscriptable at run time
    """What some calls may cost in a span. Saved by the operations, which begin the counting."""

    form = BudgetAdminForm
    list_display = ("name", "org", "enabled", "span", "limit_nanoeur", "is_hard")
    list_filter = ("enabled", "span", "org")
    list_select_related = ("org",)
    search_fields = ("name",)

    def get_readonly_fields(self, request: HttpRequest, obj: Budget | None = None) -> list[str]:
        """Keep a budget where it is: what it counts is its organization's."""
        return [] if obj is None else ["org"]

    def save_model(self, request: HttpRequest, obj: Budget, form: Any, change: bool) -> None:
        terms = terms_of(obj)
        if change:
            update_budget(
                organization_id=obj.org_id, budget_id=obj.pk, terms=terms, enabled=obj.enabled
            )
            return
        made = create_budget(organization_id=obj.org_id, terms=terms)
        if not obj.enabled:
            set_budget_enabled(organization_id=obj.org_id, budget_id=made.pk, enabled=False)
        obj.pk = made.pk

    def delete_model(self, request: HttpRequest, obj: Budget) -> None:
        delete_budget(organization_id=obj.org_id, budget_id=obj.pk)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Budget]) -> None:
        for budget in queryset:
            self.delete_model(request, budget)


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


@admin.register(Alert)
class AlertAdmin(ReadOnlyAdmin):
    """What was found, and who has seen it."""

    list_display = ("id", "org", "kind", "sentence", "raised_at", "acknowledged_at")
    list_filter = ("kind", "org")
    list_select_related = ("org",)
    search_fields = ("=id",)


@admin.register(AlertChannel)
class AlertChannelAdmin(ReadOnlyAdmin):
    """Where alerts are told; a webhook's URL may be a secret, and is not shown."""

    list_display = ("name", "org", "kind", "enabled", "created_at")
    list_filter = ("kind", "org")
    list_select_related = ("org",)
    exclude = ("url",)


@admin.register(AlertDelivery)
class AlertDeliveryAdmin(ReadOnlyAdmin):
    """How alerts were told."""

    list_display = ("id", "channel", "state", "tries", "next_try_at", "delivered_at")
    list_filter = ("state",)
    list_select_related = ("channel",)
    ordering = ("-id",)


@admin.register(Lease)
class LeaseAdmin(ReadOnlyAdmin):
    """Which process does a job that one process does."""

    list_display = ("name", "holder_id", "expires_at")

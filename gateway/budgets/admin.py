"""Django admin of budgets, saved by their operations."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from gateway.budgets.forms import models_field as budget_models_field
from gateway.budgets.operations import (
    BUDGETS_MAX,
    check_wildcards,
    create_budget,
    delete_budget,
    has_all,
    terms_of,
    update_budget,
)
from gateway.core.calls import DIMENSIONS
from gateway.models import Budget
from orgs.console.refusals import refusal_in


class BudgetAdminForm(forms.ModelForm):  # type: ignore[type-arg]  # not subscriptable at run time
    """A budget as its row is; its models are checked as on the organization's own page."""

    models = budget_models_field()

    class Meta:
        model = Budget
        fields = (
            *("org", "name", "enabled", "span", "limit_nanoeur", "each", "is_hard", "hold"),
            *(*DIMENSIONS, "models"),
        )

    def clean(self) -> dict[str, Any]:
        super().clean()
        org = self.cleaned_data.get("org")
        if org is not None and self.instance._state.adding and has_all(org):
            self.add_error(None, f"An organization can have at most {BUDGETS_MAX} budgets.")
        if org is not None and "models" in self.cleaned_data:
            with refusal_in(self):
                models = self.cleaned_data["models"]
                check_wildcards(org, models, instead_of=self.instance.pk)
        return self.cleaned_data


@admin.register(Budget)
class BudgetAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not subscriptable at run time
    """What some calls may cost in a period. Saved by the operations, which start the counting."""

    form = BudgetAdminForm
    list_display = ("name", "org", "enabled", "span", "limit_nanoeur", "each", "is_hard")
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
            update_budget(organization_id=obj.org_id, budget_id=made.pk, enabled=False)
        obj.pk = made.pk

    def delete_model(self, request: HttpRequest, obj: Budget) -> None:
        delete_budget(organization_id=obj.org_id, budget_id=obj.pk)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Budget]) -> None:
        for budget in queryset:
            self.delete_model(request, budget)

"""Django admin of policies."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin
from django.http import HttpRequest

from gateway.console.dimensions import KNOWN_FIELDS, DimensionsForm
from gateway.console.fields import ModelNamesField
from gateway.models import Policy
from gateway.policies.applies_to import NAMED_FIELDS, AppliesToForm, typed_fields
from gateway.policies.names import names_in
from gateway.policies.operations import RECORDED, check_wildcards, recounted
from orgs.audit.admin import RecordedAdmin
from orgs.console.refusals import refusal_in


class PolicyAdminForm(forms.ModelForm, AppliesToForm, DimensionsForm):  # type: ignore[type-arg]  # not subscriptable at run time
    """A policy as its row is; its lists are checked as on the organization's own page."""

    allowed_models = ModelNamesField(help_text="One per line. Leave empty to allow every model.")
    blocked_models = ModelNamesField(help_text="One per line.")

    class Meta:
        model = Policy
        fields = (
            *("org", "name", "mode", "allowed_models", "blocked_models"),
            *("max_cost_per_day_nanoeur", "max_cost_per_session_nanoeur"),
            *("max_tokens_per_request", "max_output_tokens", "web_searches_per_request"),
            *("requests_per_minute", "tokens_per_minute", "concurrent_requests"),
            *("wait_s", "hold", "required_dimensions"),
        )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.offer_providers(self.instance.org_id)
        for name, field in KNOWN_FIELDS.items():
            self.initial.setdefault(field, self.instance.known_values.get(name))
        if self.instance.applies_to:
            named = self.instance.applies_to
            typed = names_in(self.instance.org_id, [named]).typed(named)
            self.initial.update(typed_fields(typed))

    def organization_of(self) -> UUID | None:
        org = self.cleaned_data.get("org")
        return org.pk if org else None

    def clean(self) -> dict[str, Any]:
        super().clean()
        values = self.cleaned_data
        if values.keys() >= set(KNOWN_FIELDS.values()):
            self.instance.known_values = self.known_values()
        if values.keys() >= set(NAMED_FIELDS.values()):
            self.instance.applies_to = self.applies_to()
        if values.keys() >= {"org", "allowed_models", "blocked_models"}:
            lists = values["allowed_models"], values["blocked_models"]
            with refusal_in(self):
                check_wildcards(values["org"], *lists, instead_of=self.instance.pk)
        return self.cleaned_data


@admin.register(Policy)
class PolicyAdmin(RecordedAdmin):
    """Limits on requests."""

    form = PolicyAdminForm
    list_display = ("name", "org", "mode", "max_cost_per_day_nanoeur", "max_tokens_per_request")
    list_filter = ("mode", "org")
    list_select_related = ("org",)
    search_fields = ("name",)
    recorded = RECORDED

    def save_model(self, request: HttpRequest, obj: Policy, form: Any, change: bool) -> None:
        with recounted(obj):
            super().save_model(request, obj, form, change)

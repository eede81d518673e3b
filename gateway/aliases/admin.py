"""Django admin of aliases."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin

from gateway.aliases import reports
from gateway.aliases.forms import add_fault, models_field, retries_field
from gateway.aliases.operations import RECORDED
from gateway.models import ModelAlias
from gateway.providers.known import known_models
from orgs.audit.admin import RecordedAdmin


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
            add_fault(self, known=known_models(org.pk), other_aliases=others)
        return self.cleaned_data


@admin.register(ModelAlias)
class AliasAdmin(RecordedAdmin):
    """Names for models that are tried in order."""

    form = AliasAdminForm
    list_display = ("name", "org", "enabled", "models", "retries")
    list_filter = ("enabled", "org")
    list_select_related = ("org",)
    search_fields = ("name",)
    recorded = RECORDED

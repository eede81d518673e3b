"""The form of an alias: on its page, for the command, and in Django admin."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from django import forms

from gateway.aliases.faults import ALIAS_NAME_MAX_CHARS, fault_in
from gateway.aliases.operations import AliasTerms
from gateway.console.fields import ModelNamesField
from gateway.core.attempts import MODELS_MAX, RETRIES_MAX
from gateway.models import ModelAlias
from gateway.providers.known import KnownModels


def models_field() -> ModelNamesField:
    """Return the field for an alias's models."""
    return ModelNamesField(
        label="Models, in order",
        help_text=f"One per line, up to {MODELS_MAX}, also as provider/model. The next is tried "
        "when one fails or cannot be reached.",
    )


def retries_field() -> forms.IntegerField:
    """Return the field for an alias's retries."""
    return forms.IntegerField(
        label="Retries per model",
        min_value=0,
        max_value=RETRIES_MAX,
        initial=0,
        help_text="How often a model is retried after 429, 5xx or a connection failure before the "
        "next is tried. The provider's Retry-After is respected.",
    )


class AliasForm(forms.Form):
    """An alias's name, models and retries: of the models that are `known` to the organization.

    `other_aliases` are its other names.
    """

    name = forms.CharField(
        label="Alias name",
        max_length=ALIAS_NAME_MAX_CHARS,
        help_text="The model name that applications send.",
    )
    models = models_field()
    retries = retries_field()

    def __init__(
        self,
        data: Mapping[str, Any] | None = None,
        *,
        known: KnownModels,
        other_aliases: Collection[str],
        initial: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(data, initial=initial, label_suffix="")
        self.known = known
        self._other_aliases = other_aliases

    def clean(self) -> dict[str, Any]:
        add_fault(self, known=self.known, other_aliases=self._other_aliases)
        return self.cleaned_data

    def terms(self) -> AliasTerms:
        """Return the values of a valid form."""
        values = self.cleaned_data
        return AliasTerms(name=values["name"], models=values["models"], retries=values["retries"])


def add_fault(form: forms.BaseForm, *, known: KnownModels, other_aliases: Collection[str]) -> None:
    """Put what `gateway.aliases.faults` has against the alias at its field."""
    values = form.cleaned_data
    if not {"name", "models", "retries"} <= set(values):
        return
    fault = fault_in(
        name=values["name"],
        models=values["models"],
        retries=values["retries"],
        find=known.find,
        other_aliases=other_aliases,
    )
    if fault is not None:
        form.add_error(fault.field, fault.sentence)


def alias_values(alias: ModelAlias) -> dict[str, Any]:
    """Return an alias as the values of its form."""
    return {"name": alias.name, "models": alias.models, "retries": alias.retries}


def alias_sentence(alias: ModelAlias) -> str:
    """Return what an alias does, in plain words."""
    first, *rest = alias.models or ["no model"]
    then = f", then {', then '.join(rest)}" if rest else ""
    if not alias.retries:
        return f"Calls {first}{then}."
    times = "once" if alias.retries == 1 else f"up to {alias.retries} times"
    return f"Calls {first}{then}; each is retried {times} after a temporary failure."

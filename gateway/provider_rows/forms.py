"""The forms of a provider's row on its pages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from django import forms

from gateway.core.providers import DIALECTS, FAMILIES, NAME_MAX_CHARS
from gateway.models import Provider
from gateway.provider_rows.operations import GivenSecret
from gateway.provider_rows.options import models_in
from gateway.provider_rows.presets import beginning
from gateway.provider_rows.terms import CAP_NAMES, TITLE_MAX_CHARS, URL_MAX_CHARS, ProviderTerms
from gateway.providers.presets import presets
from gateway.providers.secrets import SECRET_MAX_CHARS
from gateway.providers.vendors import vendors

INSTALLATION: Final = "installation"
ORGANIZATION: Final = "organization"
_TEXT_MAX_CHARS: Final = 60_000
# Labels and choices of fields that a new row may leave to the known server.
_FAMILY: Final = ("Rules of requests", [(each, each.title()) for each in FAMILIES if each])
_FAMILY_HELP: Final = "The vendor whose own API it is."
_CAP: Final = ("Name of the output cap", [(each, each) for each in CAP_NAMES if each])
_STREAM_OPTIONS: Final = ("Takes stream_options", [("on", "Yes"), ("off", "No")])
_KEEPS: Final = ("Stores answers of the Responses API", [("off", "No"), ("on", "Yes")])
_KNOWN: Final = "As the known server"


class LinesField(forms.CharField):
    """A list, one per line or separated by commas."""

    def __init__(self, *, label: str, help_text: str, rows: int = 3) -> None:
        widget = forms.Textarea({"rows": rows, "spellcheck": "false", "autocapitalize": "none"})
        super().__init__(
            required=False,
            widget=widget,
            label=label,
            help_text=help_text,
            max_length=_TEXT_MAX_CHARS,
        )

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        lines = text.replace(",", "\n").splitlines()
        return [each for each in map(str.strip, lines) if each]

    def prepare_value(self, value: Any) -> Any:
        """Show a list as lines."""
        return "\n".join(value) if isinstance(value, list) else value


class PairsField(LinesField):
    """A mapping, `NAME=VALUE` on each line."""

    def clean(self, value: Any) -> Any:
        text = forms.CharField.clean(self, value)
        pairs: dict[str, str] = {}
        for line in filter(None, map(str.strip, text.splitlines())):
            name, separator, given = line.partition("=")
            if not separator:
                raise forms.ValidationError("Each line must be NAME=VALUE.")
            pairs[name.strip()] = given.strip()
        return pairs

    def prepare_value(self, value: Any) -> Any:
        """Show a mapping as lines."""
        if isinstance(value, dict):
            return "\n".join(f"{name}={given}" for name, given in value.items())
        return value


def _seconds(label: str) -> forms.FloatField:
    widget = forms.NumberInput({"step": "any", "inputmode": "decimal"})
    return forms.FloatField(label=label, required=False, widget=widget)


def _choice(
    label: str, choices: list[tuple[str, str]], *, blank: str = "", help_text: str = ""
) -> forms.ChoiceField:
    """Return a field with these choices, after one for what is as the known server has it."""
    first = [("", blank)] if blank else []
    return forms.ChoiceField(
        label=label, required=False, choices=[*first, *choices], help_text=help_text
    )


def _integer(label: str, *, help_text: str = "") -> forms.IntegerField:
    return forms.IntegerField(label=label, required=False, help_text=help_text)


def secret_field(*, help_text: str, required: bool = False) -> forms.CharField:
    """Return the field for a secret, which is never shown again."""
    return forms.CharField(
        label="Secret",
        required=required,
        strip=False,
        max_length=SECRET_MAX_CHARS,
        help_text=help_text,
        widget=forms.PasswordInput({"autocomplete": "new-password"}),
    )


class SecretForm(forms.Form):
    """A new secret of a row."""

    secret = secret_field(
        required=True,
        help_text="Used from the next call on; calls in flight keep the old one.",
    )

    def given(self) -> GivenSecret:
        """Return the secret of a valid form."""
        return GivenSecret(text=self.cleaned_data["secret"])


class ProviderForm(forms.Form):
    """The values of a row by their columns, and its secret."""

    name = forms.CharField(
        label="Name",
        max_length=NAME_MAX_CHARS,
        help_text="Models are called NAME/model, for example azure-eu/gpt-4o.",
    )
    title = forms.CharField(
        label="Title", max_length=TITLE_MAX_CHARS, required=False, help_text="In messages."
    )
    base_url = forms.CharField(
        label="Base URL",
        max_length=URL_MAX_CHARS,
        required=False,
        widget=forms.TextInput({"inputmode": "url", "spellcheck": "false"}),
        help_text="With the version of OpenAI's paths, for example https://api.example.org/v1. "
        "Private and loopback addresses can only be set by an operator's command.",
    )
    auth = forms.CharField(
        label="Authentication",
        required=False,
        max_length=100,
        help_text="bearer, header:NAME, query:NAME, none, google, entra or sigv4:REGION/SERVICE.",
    )
    secret = secret_field(help_text="Sealed in the database and never shown again.")
    dialects = forms.MultipleChoiceField(
        label="APIs",
        required=False,
        choices=[(each, each) for each in DIALECTS],
        widget=forms.CheckboxSelectMultiple,
        help_text="Those that the server has itself.",
    )
    models = LinesField(
        label="Models",
        help_text="One per line: NAME, or NAME=what the server calls it, for example "
        "gpt-4o=prod-4o.",
    )
    family = _choice(*_FAMILY, blank="Compatible server", help_text=_FAMILY_HELP)
    weight = _integer("Weight", help_text="Its share of bare names of its models; 0 for none.")
    order = _integer("Order", help_text="Lower ones are used first.")
    regions = LinesField(label="Regions", help_text="Tags that policies name.", rows=1)
    concurrent_calls = _integer("Concurrent calls", help_text="Leave empty for no limit.")
    context_tokens = _integer("Context in tokens")
    max_output_tokens = _integer("Maximum output in tokens")
    fixed_name = forms.CharField(label="One name of all models", required=False, max_length=200)
    base_urls = PairsField(label="Other base URLs", help_text="DIALECT=URL on each line.")
    headers = PairsField(
        label="Headers", help_text="NAME=VALUE on each line. Not for secrets: they are shown here."
    )
    query = PairsField(label="Query parameters", help_text="NAME=VALUE on each line.")
    dropped = LinesField(
        label="Fields to drop", help_text="For example logprobs or messages[].name."
    )
    cap_name = _choice(*_CAP, blank="Any")
    takes_stream_options = _choice(*_STREAM_OPTIONS)
    keeps = _choice(*_KEEPS)
    connect_s = _seconds("Seconds to connect")
    first_byte_s = _seconds("Seconds to the first byte")
    idle_s = _seconds("Seconds between bytes")
    total_s = _seconds("Seconds of a whole call")

    MAIN: Final = ("name", "title", "base_url", "auth", "secret", "dialects", "models")

    def main_fields(self) -> list[forms.BoundField]:
        """Return the fields that most rows need."""
        return [field for field in self if field.name not in self._more()]

    def more_fields(self) -> list[forms.BoundField]:
        """Return the other fields."""
        return [field for field in self if field.name in self._more()]

    def shows_more(self) -> bool:
        """Whether another field has an error."""
        return bool(self._more() & set(self.errors))

    def changes(self) -> dict[str, Any]:
        """Return the values of a valid form by their columns."""
        values = dict(self.cleaned_data)
        for name in ("secret", "owner", "preset"):
            values.pop(name, None)
        values |= models_in(values["models"])
        values["takes_stream_options"] = values["takes_stream_options"] != "off"
        values["keeps"] = values["keeps"] == "on"
        values["weight"] = values["weight"] or 0
        values["order"] = 1 if values["order"] is None else values["order"]
        return values

    def given_secret(self) -> GivenSecret | None:
        """Return the secret, or None if the field was left empty."""
        text = self.cleaned_data["secret"]
        return GivenSecret(text=text) if text else None

    def _more(self) -> set[str]:
        return {*self.fields} - {*self.MAIN, "owner", "preset"}


def _presets() -> list[tuple[str, str]]:
    titles = {name: each.title for name, each in presets().items()}
    titles |= {name: each.config.title for name, each in vendors().items()}
    return sorted(titles.items(), key=lambda pair: pair[1].casefold())


class NewProviderForm(ProviderForm):
    """A new row; what is left empty is as the known server has it."""

    preset = _choice(
        "Known server",
        _presets(),
        blank="By its base URL",
        help_text="Fills what is left empty.",
    )
    family = _choice(*_FAMILY, blank=_KNOWN, help_text=_FAMILY_HELP)
    cap_name = _choice(*_CAP, blank=_KNOWN)
    takes_stream_options = _choice(*_STREAM_OPTIONS, blank=_KNOWN)
    keeps = _choice(*_KEEPS, blank=_KNOWN)

    def __init__(
        self, data: Mapping[str, Any] | None = None, *, owners: list[tuple[str, str]]
    ) -> None:
        super().__init__(data, label_suffix="")
        self.fields["owner"] = forms.ChoiceField(label="For", choices=owners)
        self.order_fields(["owner", "preset"])

    def terms(self) -> ProviderTerms:
        """Return the values of a valid form, with those of the known server. Raises Invalid."""
        typed = self.cleaned_data
        base_url = typed["base_url"] or None
        _, values = beginning(preset=typed["preset"] or None, base_url=base_url)
        given = {
            column: value
            for column, value in self.changes().items()
            if column == "names" or typed.get(column) not in (None, "", [], {})
        }
        usual = {"title": typed["name"], "base_url": "", "dialects": []}
        return ProviderTerms(**usual | values | given)


class EditProviderForm(ProviderForm):
    """A row with its values."""

    def __init__(self, data: Mapping[str, Any] | None = None, *, provider: Provider) -> None:
        super().__init__(data, label_suffix="", initial=provider_values(provider))
        self.fields["secret"].help_text = "Leave empty to keep the secret."
        self.fields["base_url"].required = self.fields["title"].required = True


def provider_values(provider: Provider) -> dict[str, Any]:
    """Return a row as the values of its form."""
    values = {
        name: getattr(provider, name) for name in ProviderForm.base_fields if name != "secret"
    }
    sent = {name.casefold(): name for name in provider.models}
    lines = [
        f"{name}={provider.names[name.casefold()]}" if name.casefold() in provider.names else name
        for name in provider.models
    ]
    lines += [f"{name}={other}" for name, other in provider.names.items() if name not in sent]
    answers = {name: "on" if values[name] else "off" for name in ("takes_stream_options", "keeps")}
    return values | {"models": lines} | answers

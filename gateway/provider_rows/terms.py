"""What the row of a provider says, besides its secret, and the rules for it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final

from costs.core.model_names import PREFIXES
from gateway.core.model_names import NAME_MAX_CHARS as MODEL_MAX_CHARS
from gateway.core.model_names import canonical
from gateway.core.providers import DIALECTS, FAMILIES, NAME_MAX_CHARS, Reach
from gateway.models import Provider
from gateway.providers.vendors import SANDBOX, vendors
from gateway.upstream.reach import fault_of_url
from gateway.upstream.signing.auth import (
    AuthKind,
    InvalidAuth,
    ProviderAuth,
    header_name,
    provider_auth,
    query_name,
)
from orgs.core.errors import Invalid

TITLE_MAX_CHARS: Final = 100
URL_MAX_CHARS: Final = 500
PAIRS_MAX: Final = 20  # of headers, and of query parameters
VALUE_MAX_CHARS: Final = 1_000
MODELS_MAX: Final = 500
DROPPED_MAX: Final = 50
REGIONS_MAX: Final = 20
TIME_MIN_S: Final = 0.1
TIME_MAX_S: Final = 86_400.0
CAP_NAMES: Final = ("", "max_tokens", "max_completion_tokens")

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]*")
_REGION: Final = re.compile(r"[a-z0-9-]{1,32}")
_PLACE: Final = re.compile(r"[A-Za-z_]\w*(\[\])?(\.[A-Za-z_]\w*(\[\])?)*", re.ASCII)
_PLACE_MAX_CHARS: Final = 100
# Which model answers, how much it writes and how decide what a call may cost.
_NEVER_DROPPED: Final = frozenset(
    {
        *("model", "messages", "input", "contents", "stream", "generationConfig"),
        *("max_tokens", "max_completion_tokens", "max_output_tokens"),
        "generationConfig.maxOutputTokens",
    }
)
# A secret in another header would be shown.
_CREDENTIAL_HEADERS: Final = frozenset(
    {"api-key", "authorization", "cookie", "x-api-key", "x-goog-api-key"}
)
# column, its label, least, most
_INTEGERS: Final = (
    ("concurrent_calls", "The limit of concurrent calls", 1, 100_000),
    ("weight", "The weight", 0, 1_000),
    ("order", "The order", 0, 1_000),
    ("context_tokens", "The context", 1, 100_000_000),
    ("max_output_tokens", "The maximum output", 1, 100_000_000),
)
_TIMES: Final = ("connect_s", "first_byte_s", "idle_s", "total_s")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderTerms:
    """The values of a row by their columns; `gateway.models.Provider` explains them."""

    name: str
    title: str
    base_url: str
    dialects: Sequence[str]
    base_urls: Mapping[str, str] = field(default_factory=dict)
    family: str = ""
    auth: str = ""  # of a new row: bearer with a secret, none without
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    query: Mapping[str, str] = field(default_factory=dict, repr=False)
    models: Sequence[str] = ()
    names: Mapping[str, str] = field(default_factory=dict)
    fixed_name: str = ""
    dropped: Sequence[str] = ()
    cap_name: str = ""
    takes_stream_options: bool = True
    keeps: bool = False
    standard_tier: str = ""
    connect_s: float | None = None
    first_byte_s: float | None = None
    idle_s: float | None = None
    total_s: float | None = None
    concurrent_calls: int | None = None
    weight: int = 0
    order: int = 1
    regions: Sequence[str] = ()
    context_tokens: int | None = None
    max_output_tokens: int | None = None
    allow_loopback: bool = False
    allow_private: bool = False

    @property
    def reach(self) -> Reach:
        """What its addresses may be."""
        return Reach(loopback=self.allow_loopback, private=self.allow_private)

    def values(self) -> dict[str, Any]:
        """Return the values by their columns."""
        return {name: getattr(self, name) for name in COLUMNS}


COLUMNS: Final = tuple(each.name for each in fields(ProviderTerms))
# Where the secret is sent, and how.
ADDRESS_COLUMNS: Final = ("base_url", "base_urls", "auth")


def terms_of(row: Provider) -> ProviderTerms:
    """Return what a row says."""
    return ProviderTerms(**{name: getattr(row, name) for name in COLUMNS})


def recorded(terms: ProviderTerms) -> dict[str, Any]:
    """Return what the history keeps: of headers and parameters only the names."""
    return terms.values() | {"headers": sorted(terms.headers), "query": sorted(terms.query)}


def with_loopback(terms: ProviderTerms) -> ProviderTerms:
    """Let a row reach loopback addresses if it names one, as an operator's command may."""
    beyond = replace(terms.reach, loopback=True)
    public = replace(terms.reach, loopback=False)
    named = (terms.base_url, *terms.base_urls.values())
    is_local = any(fault_of_url(url, public) and not fault_of_url(url, beyond) for url in named)
    return replace(terms, allow_loopback=is_local)


def checked(terms: ProviderTerms) -> ProviderTerms:
    """Return the values as they are kept. Raises Invalid, which names the column."""
    auth = _checked_by("auth", provider_auth, terms.auth)
    _check_addresses(terms)
    _check_choices(terms)
    _check_numbers(terms)
    names = {_model("names", name): sent for name, sent in terms.names.items()}
    for sent in (*names.values(), terms.fixed_name):
        _check_sent(sent)
    return replace(
        terms,
        name=_name(terms.name),
        title=_title(terms.title),
        base_url=terms.base_url.rstrip("/"),
        auth=str(auth),
        headers=_headers(terms.headers, auth),
        query=_query(terms.query, auth),
        dialects=[each for each in DIALECTS if each in terms.dialects],
        models=_models(terms.models),
        names=_bounded("names", names, MODELS_MAX, "names of models"),
        fixed_name=terms.fixed_name.strip(),
        dropped=_dropped(terms.dropped),
        regions=_regions(terms.regions),
    )


def _name(text: str) -> str:
    name = text.strip().lower()
    if not _NAME.fullmatch(name) or len(name) > NAME_MAX_CHARS:
        raise Invalid(
            f"The name must have 1 to {NAME_MAX_CHARS} letters, digits, dots, hyphens and "
            "underscores, and begin with a letter or digit",
            field="name",
        )
    if name in vendors() or name in PREFIXES or name == SANDBOX:
        raise Invalid(f'The name "{name}" is reserved', field="name")
    return name


def _title(text: str) -> str:
    title = text.strip()
    if not title or len(title) > TITLE_MAX_CHARS or not title.isprintable() or '"' in title:
        raise Invalid(
            f"The title must have 1 to {TITLE_MAX_CHARS} printable characters without quotes",
            field="title",
        )
    return title


def _check_addresses(terms: ProviderTerms) -> None:
    _check_url("base_url", terms.base_url, terms.reach)
    for dialect, url in terms.base_urls.items():
        if dialect not in terms.dialects:
            raise Invalid(
                f'A base URL is given for "{dialect}", which is not one of the dialects',
                field="base_urls",
            )
        _check_url("base_urls", url, terms.reach)


def _check_url(column: str, url: str, reach: Reach) -> None:
    if len(url) > URL_MAX_CHARS:
        raise Invalid(f"The URL must have at most {URL_MAX_CHARS} characters", field=column)
    if fault := fault_of_url(url, reach):
        raise Invalid(fault.removesuffix("."), field=column)
    if "?" in url:
        raise Invalid("The URL must not have a query; use query parameters", field=column)


def _check_choices(terms: ProviderTerms) -> None:
    if not terms.dialects:
        raise Invalid("At least one dialect must be given", field="dialects")
    for column, given, known in (
        *(("dialects", each, DIALECTS) for each in terms.dialects),
        ("family", terms.family, FAMILIES),
        ("cap_name", terms.cap_name, CAP_NAMES),
    ):
        if given not in known:
            choices = ", ".join(filter(None, known))
            raise Invalid(f'"{given}" must be one of {choices}', field=column)


def _check_numbers(terms: ProviderTerms) -> None:
    for column, label, least, most in _INTEGERS:
        number = getattr(terms, column)
        if number is not None and not least <= number <= most:
            raise Invalid(f"{label} must be between {least} and {most}", field=column)
    for column in _TIMES:
        time_s = getattr(terms, column)
        if time_s is not None and not TIME_MIN_S <= time_s <= TIME_MAX_S:
            sentence = f"A time limit must be between {TIME_MIN_S:g} and {TIME_MAX_S:g} seconds"
            raise Invalid(sentence, field=column)


def _headers(given: Mapping[str, str], auth: ProviderAuth) -> dict[str, str]:
    found: dict[str, str] = {}
    for text, value in given.items():
        name = _checked_by("headers", header_name, text)
        is_signed = auth.kind == AuthKind.SIGV4 and name.startswith("x-amz-")
        if name in _CREDENTIAL_HEADERS or name == auth.name or is_signed:
            raise Invalid(
                f'The header "{name}" carries credentials; use the authentication header:{name} '
                "and a secret",
                field="headers",
            )
        found[name] = _value("headers", name, value)
    return dict(_bounded("headers", found, PAIRS_MAX, "headers"))


def _query(given: Mapping[str, str], auth: ProviderAuth) -> dict[str, str]:
    found: dict[str, str] = {}
    for text, value in given.items():
        name = _checked_by("query", query_name, text)
        if auth.kind == AuthKind.QUERY and name == auth.name:
            raise Invalid(f'The parameter "{name}" has the secret', field="query")
        found[name] = _value("query", name, value)
    return dict(_bounded("query", found, PAIRS_MAX, "query parameters"))


def _value(column: str, name: str, text: str) -> str:
    value = text.strip()
    if not value or len(value) > VALUE_MAX_CHARS or not (value.isascii() and value.isprintable()):
        raise Invalid(
            f'The value of "{name}" must have 1 to {VALUE_MAX_CHARS} printable ASCII characters',
            field=column,
        )
    return value


def _models(given: Sequence[str]) -> list[str]:
    by_id = {_model("models", name): name.strip() for name in given}
    return list(_bounded("models", by_id, MODELS_MAX, "models").values())


def _model(column: str, text: str) -> str:
    model_id = canonical(text)
    if model_id is None:
        raise Invalid(f'"{text[:80]}" is not a valid model name', field=column)
    return model_id


def _check_sent(name: str) -> None:
    if len(name) > MODEL_MAX_CHARS or not (name.isascii() and name.isprintable()):
        raise Invalid(
            f"A provider's own name of a model must have at most {MODEL_MAX_CHARS} printable "
            "ASCII characters",
            field="names",
        )


def _dropped(given: Sequence[str]) -> list[str]:
    for place in given:
        if not _PLACE.fullmatch(place) or len(place) > _PLACE_MAX_CHARS:
            raise Invalid(
                f'"{place[:80]}" is not the place of a field, such as logprobs or messages[].name',
                field="dropped",
            )
        if place.removesuffix("[]") in _NEVER_DROPPED:
            raise Invalid(f'The field "{place}" cannot be dropped', field="dropped")
    return list(_bounded("dropped", dict.fromkeys(given), DROPPED_MAX, "fields to drop"))


def _regions(given: Sequence[str]) -> list[str]:
    found = dict.fromkeys(each.strip().lower() for each in given)
    for region in found:
        if not _REGION.fullmatch(region):
            raise Invalid(
                f'The region "{region[:80]}" must have 1 to 32 letters, digits and hyphens',
                field="regions",
            )
    return list(_bounded("regions", found, REGIONS_MAX, "regions"))


def _bounded(column: str, found: Mapping[str, Any], most: int, what: str) -> Mapping[str, Any]:
    if len(found) > most:
        raise Invalid(f"At most {most} {what} can be given, not {len(found)}", field=column)
    return found


def _checked_by(column: str, parse: Callable[[str], Any], text: str) -> Any:
    try:
        return parse(text)
    except InvalidAuth as exc:
        raise Invalid(str(exc), field=column) from exc

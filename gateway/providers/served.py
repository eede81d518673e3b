"""Resolve a name to a model and the provider that serves it.

A bare name is its vendor's; one that no vendor knows is the first row's that lists it.
`PROVIDER/NAME` is a model of that row: what is known of it is known of the vendor's model with the
same name, wherever that is served.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from costs.core.model_names import PREFIXES
from gateway.core.model_names import FINE_TUNE, REGION, Catalog, Model, canonical
from gateway.core.providers import ProviderConfig

# A server's own tokenizer is not known: small vocabularies make more tokens of a text.
TOKENIZER: Final = "cl100k_base"
TOKEN_MARGIN: Final = 1.5
# The most expensive vendor's, for a model that nothing is known of.
IMAGE_TOKENS: Final = 24_600
TOKENS_PER_S: Final = 1_000
OUTPUT_MAX: Final = 131_072
# What is taken to be known of a row's model that no vendor lists.
_UNLISTED: Final = Model(
    id="",
    provider="",
    tokenizer=TOKENIZER,
    token_margin=TOKEN_MARGIN,
    image_tokens=IMAGE_TOKENS,
    tokens_per_s=TOKENS_PER_S,
    max_output_tokens=OUTPUT_MAX,
    is_listed=False,
)


def served_model(
    named: str, providers: Mapping[str, ProviderConfig], *, catalog: Catalog
) -> Model | None:
    """Return the model that a name means, with its provider; None if it is unknown."""
    head, slash, rest = named.strip().partition("/")
    row = providers.get(head.casefold()) if slash else None
    if row is not None and row.is_row:
        return _of_row(rest, row, providers, catalog)
    model = catalog.find(named)
    if model is not None:
        return served(model, providers)
    first = min(_listing(named, providers), key=lambda row: (row.order, row.name), default=None)
    return _of_row(named, first, providers, catalog) if first else None


def callable_models(
    named: str, providers: Mapping[str, ProviderConfig], *, catalog: Catalog
) -> tuple[Model, ...]:
    """Return the models that a call to a name may go to, by order: of each provider that shares it,
    else the one that it means; none if it is unknown.
    """
    rows = sorted(sharing(named, providers, catalog=catalog), key=lambda row: row.order)
    names = [row_name(row, named) for row in rows] or [named]
    found = (served_model(name, providers, catalog=catalog) for name in names)
    return tuple(model for model in found if model is not None)


def served_then(
    name: str,
    provider: str | None,
    providers: Mapping[str, ProviderConfig],
    *,
    catalog: Catalog,
) -> Model | None:
    """Return the model of a charge or a past request, at the provider that its row has.

    The tags are those that the provider has now; one that was removed has none.
    """
    if provider is None or provider in catalog.vendors:
        return catalog.find(name)
    removed = ProviderConfig(name=provider, title=provider, is_row=True)
    return _of_row(name, providers.get(provider, removed), providers, catalog)


def sharing(
    named: str, providers: Mapping[str, ProviderConfig], *, catalog: Catalog
) -> tuple[ProviderConfig, ...]:
    """Return the providers that share the calls to a name: none if it names one itself, or if no
    row lists it. Those that cannot be called are omitted.
    """
    if _has_prefix(named.strip().casefold(), providers):
        return ()
    rows = _listing(named, providers)
    model = catalog.find(named) if rows else None
    vendor = () if model is None else (providers[model.provider],)
    return tuple(each for each in (*vendor, *rows) if each.fault is None)


def row_name(row: ProviderConfig, named: str) -> str:
    """Return the name of a model at one provider."""
    return f"{row.name}/{named.strip()}"


def served(model: Model, providers: Mapping[str, ProviderConfig]) -> Model:
    """Return a vendor's model with its provider as it is configured."""
    return replace(model, served_by=providers[model.provider])


def _listing(named: str, providers: Mapping[str, ProviderConfig]) -> list[ProviderConfig]:
    """Return the rows that take the calls to a bare name that they list."""
    name = named.strip().casefold()
    return [row for row in providers.values() if row.weight and name in row.models]


def _of_row(
    name: str, row: ProviderConfig, providers: Mapping[str, ProviderConfig], catalog: Catalog
) -> Model | None:
    model_id = canonical(name)
    if model_id is None:
        return None
    facts = catalog.find(name) or _UNLISTED
    is_known = facts.is_listed or row.context_tokens is not None
    is_own = model_id in row.models and "/" in model_id and not _has_prefix(model_id, providers)
    spelling = row.models.get(model_id, name.strip())
    sent = canonical(row.sent_name(model_id, spelling=spelling)) or model_id
    called = dict.fromkeys((model_id, sent))
    return replace(
        facts,
        id=model_id,
        provider=row.name,
        aliases=(),
        current=None,
        base_names=tuple(
            dict.fromkeys(each for base in called for each in _bases(base, providers, catalog))
        ),
        context_tokens=row.context_tokens or facts.context_tokens,
        max_output_tokens=row.max_output_tokens or facts.max_output_tokens,
        is_listed=is_known,
        served_by=row,
        spelling=spelling,
        listed_name=model_id if is_own else "",
    )


def _bases(name: str, providers: Mapping[str, ProviderConfig], catalog: Catalog) -> Iterator[str]:
    """Yield the names by which a row's model is blocked everywhere: also without what resellers
    write before and behind it (`vendor/name:free`), and never with a provider's own prefix.
    """
    whole = name if name.startswith(FINE_TUNE) else name.partition(":")[0]
    for each in dict.fromkeys((name, whole, *(n.rpartition("/")[2] for n in (whole, name)))):
        if not (_has_prefix(each, providers) or each.startswith(REGION)):
            yield each
        if (model := catalog.find(each)) is not None:
            yield from (known for known in model.names if "/" not in known)


def _has_prefix(name: str, providers: Mapping[str, ProviderConfig]) -> bool:
    head, slash, _ = name.partition("/")
    return bool(slash) and (head in providers or head in PREFIXES)

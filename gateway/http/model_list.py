"""`GET /v1/models` and `/v1beta/models`: the models that the caller can use, and each one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache, partial
from typing import Any, Final

from django.http import HttpRequest, HttpResponse

from gateway.apis.model_listing import ANTHROPIC, GOOGLE, OPENAI, Listing, page_of
from gateway.call.reads import read
from gateway.call.runtime import Gateway, current
from gateway.call.snapshot import OrganizationSnapshot
from gateway.core.calls import Principal
from gateway.core.errors import GatewayError, Refused
from gateway.core.model_names import Model, Offered
from gateway.guards.offered import Offer
from gateway.guards.rule_sets import RuleSet
from gateway.http.answers import CODE_HEADER, json_response, with_error_headers
from gateway.http.callers import authenticate
from gateway.http.headers import header
from gateway.http.outside import only, unless_posted
from gateway.http.queries import query_of
from gateway.providers.known import callable_names
from gateway.providers.served import callable_models
from orgs.fields import new_id
from orgs.models import Organization
from orgs.threads import READS

CHANNEL: Final = "models"
NAME_SHOWN_MAX_CHARS: Final = 200
BodyOf = Callable[[Offer, Mapping[str, str]], dict[str, Any]]
# What the vendors' clients send.
VENDOR_PARAMETERS: Final = (
    "client_version",  # OpenAI's Codex
    *("limit", "after_id", "before_id", "beta"),  # Anthropic
    *("pageSize", "pageToken", "filter", "queryBase", "alt", "fields", "prettyPrint"),  # Google
)


@only("GET", "HEAD")
async def models(request: HttpRequest) -> HttpResponse:
    """List the models that the caller can use, in the format of its client."""
    listing = _listing_for(request)
    return await _listed(request, listing)


@unless_posted
@only("GET", "HEAD")
async def model(request: HttpRequest, model: str) -> HttpResponse:
    """Return one model; 404 if the caller may not use it."""
    listing = _listing_for(request)
    return await _one(request, listing, model)


@only("GET", "HEAD")
async def google_models(request: HttpRequest) -> HttpResponse:
    """List the models in Google's format."""
    return await _listed(request, GOOGLE)


@unless_posted
@only("GET", "HEAD")
async def google_model(request: HttpRequest, model: str) -> HttpResponse:
    """Return one model in Google's format."""
    return await _one(request, GOOGLE, model)


async def _listed(request: HttpRequest, listing: Listing) -> HttpResponse:
    def body_of(offer: Offer, query: Mapping[str, str]) -> dict[str, Any]:
        return listing.all(page_of(_usable(offer, listing), query))

    return await _answer(request, listing, body_of)


async def _one(request: HttpRequest, listing: Listing, name: str) -> HttpResponse:
    def body_of(offer: Offer, _query: Mapping[str, str]) -> dict[str, Any]:
        return listing.one(_found(offer, listing, name))

    return await _answer(request, listing, body_of)


def _listing_for(request: HttpRequest) -> Listing:
    """Return the vendor of the client: `/v1/models` is the path of all three."""
    if any(header(request, name) is not None for name in ("anthropic-version", "x-api-key")):
        return ANTHROPIC
    return OPENAI if header(request, "x-goog-api-key") is None else GOOGLE


def _usable(offer: Offer, listing: Listing) -> list[Offered]:
    return [offered for offered in offer.all() if listing.has(offered)]


def _found(offer: Offer, listing: Listing, name: str) -> Offered:
    """Resolve `name`. Raises Refused (404), the same for unknown and not allowed models."""
    offered = offer.find(name)
    if offered is None or not listing.has(offered):
        shown = name.strip()[:NAME_SHOWN_MAX_CHARS]
        sentence = f'Model "{shown}" does not exist or you do not have access to it'
        raise Refused("model_not_found", sentence, status=404)
    return offered


async def _answer(request: HttpRequest, listing: Listing, body_of: BodyOf) -> HttpResponse:
    gateway, request_id, known_id = current(), new_id(), None
    try:
        principal = await authenticate(
            gateway, request, channel=CHANNEL, needs=None, more_headers=listing.key_headers
        )
        known_id = request_id
        query = query_of(request, VENDOR_PARAMETERS)
        organization = await gateway.live_organization_of(principal)
        offer = await _offer(gateway, organization, principal)
        body = await read(READS, organization.id, _body, organization, offer, query, body_of)
        return json_response(body, request_id)
    except GatewayError as exc:
        shown_id = None if exc.status == 401 else known_id
        response = json_response(listing.error(exc, exc.status), shown_id, status=exc.status)
        response[CODE_HEADER] = exc.code
        return with_error_headers(response, exc)


def _body(
    organization: OrganizationSnapshot, offer: Offer, query: Mapping[str, str], body_of: BodyOf
) -> dict[str, Any]:
    """Return the answer; in a thread, since each model is judged by every policy."""
    if not Organization.objects.filter(id=organization.id, ai_gateway_enabled=True).exists():
        sentence = f'AI Gateway is not enabled for organization "{organization.name}"'
        raise Refused("gateway_disabled", sentence)
    return body_of(offer, query)


async def _offer(
    gateway: Gateway, organization: OrganizationSnapshot, principal: Principal
) -> Offer:
    """Return what decides which models the caller may use.

    A policy counts if it applies whatever the caller says of a call: one that names a channel, or
    a dimension that the key leaves open, does not.
    """
    prices, now = await gateway.directory.prices(), datetime.now(UTC)
    providers = (await gateway.providers_of(organization)).by_name
    rows = [provider for provider in providers.values() if provider.is_row]
    key_id = principal.key_lineage or principal.key_id
    known = {**principal.fixed.as_dict(), **({"key_id": str(key_id)} if key_id else {})}

    @cache
    def rules_at(provider: str) -> RuleSet:
        return organization.rules.of({**known, "provider": provider})

    def verdicts_on(model: Model) -> list[str]:
        rules = rules_at(model.provider)
        verdicts = zip(rules.rules, rules.of_all(organization.verdicts_on(model)), strict=True)
        return [verdict for rule, verdict in verdicts if not rule.is_watched]

    def is_priced(model: Model) -> bool:
        return prices.rates_for(model.price_names, model.provider, now) is not None

    return Offer(
        names=lambda: callable_names(gateway.catalog, rows, prices.models()),
        resolve=partial(callable_models, providers=providers, catalog=gateway.catalog),
        verdicts_on=verdicts_on,
        is_priced=is_priced,
        aliases=organization.aliases,
    )

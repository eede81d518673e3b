"""Distribute a call among the provider rows that share its model: an alias for it alone."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain

from gateway.call.affinity import CONTINUED, affinity_of
from gateway.call.reservation import RunningCall
from gateway.call.runtime import Gateway
from gateway.call.settlement.held_call import HeldCall
from gateway.call.stages import RequestedCall
from gateway.core.attempts import ROWS_MAX, Alias
from gateway.core.calls import Completion
from gateway.core.errors import ProviderFailed
from gateway.core.model_names import Catalog
from gateway.providers.routing.routes import ordered
from gateway.providers.served import row_name, served_model, sharing


async def over_rows(
    gateway: Gateway, requested: RequestedCall, alias: Alias | None
) -> Alias | None:
    """Return the alias with each model once for each row that shares it, in the order in which
    they are called; `alias` itself where there is no other provider.

    A call that only the provider that answered its conversation can read has that one's models
    alone.
    """
    call = requested.call
    if call.provider is not None:
        return None
    names = alias.models if alias else (call.model,)
    by_name = requested.providers.by_name
    shared = {name: sharing(name, by_name, catalog=gateway.catalog) for name in names}
    at = _providers_of(names, requested, gateway.catalog) if len(names) > 1 else []
    if not any(shared.values()) and len({*at}) <= 1:
        return alias
    conversation, is_bound = await affinity_of(call, requested.principal)
    answered_by = gateway.answering_rows.row_of(conversation)
    if call.named is not None:
        answered_by = call.named.given_by or answered_by

    if at and is_bound and requested.principal.channel in CONTINUED:
        kept = answered_by if answered_by in at else at[0]
        names = tuple(
            name for name, each in zip(names, at, strict=True) if each == kept or shared[name]
        )

    def routes(name: str) -> tuple[str, ...]:
        if not (rows := shared[name]):
            return (name,)
        if is_bound:
            rows = tuple(row for row in rows if row.name == answered_by) or rows
        found = ordered(
            rows,
            affinity=conversation,
            failing_until_s=_never if is_bound else gateway.health.failing_until_s,
            chance=gateway.chance,
        )
        return tuple(row_name(row, name) for row in found[: 1 if is_bound else ROWS_MAX])

    routes_of_first, *others = map(routes, names)
    return replace(
        alias or Alias(name=call.model, models=names),
        models=tuple(chain(routes_of_first, *others))[:ROWS_MAX],
        first_rows=len(routes_of_first),
        conversation=conversation,
    )


def record_end(
    running: RunningCall, held: HeldCall, ended: Completion | ProviderFailed, *, took_s: float
) -> None:
    """Record what the end of a call shows of its provider, and give the place there back."""
    gateway, alias, provider = running.gateway, running.trail.alias, held.provider.name
    gateway.health.record(provider, ended, took_s=took_s)
    gateway.health.leave(running.stream.request_id)
    if isinstance(ended, Completion) and alias is not None and alias.conversation is not None:
        gateway.answering_rows.answered(alias.conversation, provider)


def _providers_of(
    names: tuple[str, ...], requested: RequestedCall, catalog: Catalog
) -> list[str | None]:
    """Return the provider of each model of an alias; None if it is unknown."""
    by_name = requested.providers.by_name
    models = (served_model(name, by_name, catalog=catalog) for name in names)
    return [model.provider if model else None for model in models]


def _never(_: str) -> None:
    """Return that a row is not failing: nothing else can read what is bound to it."""

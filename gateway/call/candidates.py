"""Choose the model of an alias to call: the first usable one from a given place on."""

from __future__ import annotations

from gateway.call.judgement import judge
from gateway.call.runtime import Gateway
from gateway.call.stages import BoundedCall, JudgedCall, RefusedCall, RequestedCall
from gateway.core.attempts import Alias
from gateway.core.errors import NotConfigured, ProviderFull, Refused
from gateway.providers.registry import check
from orgs.core.frozen import frozen


@frozen
class Candidate:
    """The model at `place` of an alias, or the requested one, and the result of its checks.

    `passed` are the models skipped before it, by name.
    """

    alias: Alias | None
    place: int
    name: str
    judged: JudgedCall
    passed: tuple[tuple[str, RefusedCall], ...] = ()


async def candidate(
    gateway: Gateway,
    requested: RequestedCall,
    *,
    alias: Alias | None,
    place: int = 0,
    is_first_attempt: bool = True,
) -> Candidate:
    """Check the call for the models from `place` on, until one can be called or none is left.

    A refusal for the first model of all, by each row that shares it, refuses the request; a refused
    fallback is skipped.
    """
    names = alias.models if alias else (requested.call.model,)
    first_rows = alias.first_rows if alias else 1
    passed: tuple[tuple[str, RefusedCall], ...] = ()
    while True:
        judged = await judge(requested, names[place], catalog=gateway.catalog)
        if isinstance(judged, BoundedCall):
            judged = _callable(gateway, judged)
        is_first_of_all = is_first_attempt and place + 1 == first_rows
        if (
            isinstance(judged, BoundedCall)
            or (is_first_of_all and isinstance(judged.refusal, Refused))
            or place + 1 == len(names)
        ):
            return Candidate(
                alias=alias, place=place, name=names[place], judged=judged, passed=passed
            )
        passed = (*passed, (names[place], judged))
        place += 1


def _callable(gateway: Gateway, bounded: BoundedCall) -> JudgedCall:
    """Refuse a provider that is not configured, or is full, before money is held for it."""
    provider, request_id = bounded.resolved.model.served_by, bounded.requested.request_id
    try:
        check(provider)
        most = provider.concurrent_calls
        if request_id is not None and not gateway.health.enter(
            provider.name, request_id, most=most
        ):
            raise ProviderFull(provider.title)
    except (NotConfigured, ProviderFull) as exc:
        return RefusedCall(refusal=exc, reached=bounded)
    return bounded

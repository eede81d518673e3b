"""Choose the model of an alias to call: the first usable one from a given place on."""

from __future__ import annotations

from gateway.call.judgement import judge
from gateway.call.runtime import Gateway
from gateway.call.stages import BoundedCall, JudgedCall, RefusedCall, RequestedCall
from gateway.core.attempts import Alias
from gateway.core.errors import NotConfigured, Refused
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

    A refusal for the first model of all refuses the request; a refused fallback is skipped.
    """
    names = alias.models if alias else (requested.call.model,)
    passed: tuple[tuple[str, RefusedCall], ...] = ()
    while True:
        judged = await judge(
            requested, names[place], catalog=gateway.catalog, limits=gateway.providers.limits
        )
        if isinstance(judged, BoundedCall):
            judged = _configured(gateway, judged)
        is_first_of_all = is_first_attempt and place == 0
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


def _configured(gateway: Gateway, bounded: BoundedCall) -> JudgedCall:
    """Refuse a model whose provider is not configured, before money is held for it."""
    try:
        gateway.providers.check(bounded.resolved.model.provider)
    except NotConfigured as exc:
        return RefusedCall(refusal=exc, reached=bounded)
    return bounded

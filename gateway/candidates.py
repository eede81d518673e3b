"""Which of an alias's models is asked: the first, from a place on, that may be."""

from __future__ import annotations

from costs.prices import PriceBook
from gateway.core.attempts import Alias
from gateway.core.calls import Call
from gateway.core.errors import NotConfigured, Refused
from gateway.judgement import Judgement, judge
from gateway.runtime import Gateway
from gateway.snapshot import OrganizationSnapshot
from orgs.core.frozen import frozen


@frozen
class Candidate:
    """The model at `place` of an alias, or the one that was named, and how it was judged.

    `passed` are the models before it that may not be asked, by name.
    """

    alias: Alias | None
    place: int
    name: str
    found: Judgement
    passed: tuple[tuple[str, Judgement], ...] = ()


async def candidate(  # noqa: PLR0913  keyword-only: what a request is judged by
    gateway: Gateway,
    call: Call,
    *,
    organization: OrganizationSnapshot,
    prices: PriceBook,
    alias: Alias | None,
    place: int = 0,
    is_first_attempt: bool = True,
    counts: bool = False,
) -> Candidate:
    """Judge the call to the models from `place` on, until one may be asked or none is left.

    What the gateway refuses for the first model of all is refused; a fallback is passed over.
    """
    names = alias.models if alias else (call.model,)
    passed: tuple[tuple[str, Judgement], ...] = ()
    while True:
        found = await judge(
            call,
            named=names[place],
            organization=organization,
            prices=prices,
            catalog=gateway.catalog,
            timeout_s=gateway.timeout_s,
            counts=counts,
        )
        _check_configured(gateway, found)
        is_decisive = isinstance(found.refusal, Refused) and is_first_attempt and place == 0
        if found.refusal is None or is_decisive or place + 1 == len(names):
            return Candidate(
                alias=alias, place=place, name=names[place], found=found, passed=passed
            )
        passed = (*passed, (names[place], found))
        place += 1


def _check_configured(gateway: Gateway, found: Judgement) -> None:
    """Refuse a model whose provider has no key here, before money is held for it."""
    if found.refusal is None and found.model is not None:
        try:
            gateway.providers.check(found.model.provider)
        except NotConfigured as exc:
            found.refusal = exc

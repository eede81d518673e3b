"""Check a request's dimensions against policies: those that must be given, and known values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from gateway.core.calls import DIMENSIONS, Dimensions
from gateway.core.errors import Refused
from gateway.core.request_body import NAME_IN_JSON
from orgs.core.frozen import frozen
from orgs.core.spelling import folded

MISSING: Final = "invalid_request"
UNKNOWN: Final = "dimension_fixed_by_key"


@frozen
class Requirements:
    """The dimensions that a policy requires, and the only values that it allows for some.

    A required `user_id` must be proved by a session or a key's owner. A dimension with known
    values may be absent unless it is required as well. `known` values are folded.
    """

    required: tuple[str, ...] = ()
    known: tuple[tuple[str, frozenset[str]], ...] = ()

    def failed(self, dimensions: Dimensions) -> tuple[str, str] | None:
        """Return the code and the name of the first dimension that does not meet them, or None."""
        for name in self.required:
            is_given = dimensions.user_proved if name == "user_id" else getattr(dimensions, name)
            if not is_given:
                return MISSING, name
        for name, values in self.known:
            value = getattr(dimensions, name)
            if value is not None and folded(value) not in values:
                return UNKNOWN, name
        return None


def requirements_of(
    required: Sequence[str], known: Mapping[str, Sequence[str]]
) -> Requirements | None:
    """Return the requirements of a policy's columns, in the order of the dimensions, or None."""
    found = Requirements(
        required=tuple([name for name in DIMENSIONS if name in required]),
        known=tuple(
            [(name, frozenset(map(folded, known[name]))) for name in DIMENSIONS if known.get(name)]
        ),
    )
    return found if found.required or found.known else None


def refusal_for_dimensions(
    dimensions: Dimensions, named: Iterable[tuple[str, Requirements]]
) -> Refused | None:
    """Return the refusal by the first policy whose requirements are not met, or None.

    `named` are the requirements by the policy's name.
    """
    for policy, requirements in named:
        failed = requirements.failed(dimensions)
        if failed is not None:
            code, name = failed
            return _missing(name, policy) if code == MISSING else _unknown(dimensions, name, policy)
    return None


def _missing(name: str, policy: str) -> Refused:
    if name == "user_id":
        sentence = f'Policy "{policy}" requires a signed-in user or a key with an owner'
    else:
        sentence = f'{NAME_IN_JSON[name]} must be given: policy "{policy}" requires it'
    return Refused(MISSING, sentence, status=400)


def _unknown(dimensions: Dimensions, name: str, policy: str) -> Refused:
    value = getattr(dimensions, name)
    return Refused(UNKNOWN, f'{NAME_IN_JSON[name]} "{value}" is not allowed by policy "{policy}"')

"""Query parameters: a view declares those that it takes; any other is refused by its name."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final, TypeVar

from django.http import HttpResponseBase, QueryDict

from orgs.core.values import quoted

View = TypeVar("View", bound=Callable[..., HttpResponseBase])

# A link names its organization with it, whichever page it leads to.
LINK_ORGANIZATION: Final = "org"
_ATTRIBUTE: Final = "parameters"  # decorators copy a view's attributes


class InvalidQuery(Exception):
    """A query parameter is unknown, repeated or has an invalid value; `name` is the parameter."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name
        self.message = message


@dataclass(frozen=True, slots=True)
class Parameters:
    """What a view takes. One that only redirects passes on all (`names` is None)."""

    names: tuple[str, ...] | None = ()
    repeated: tuple[str, ...] = ()


def takes(*names: str, repeated: tuple[str, ...] = ()) -> Callable[[View], View]:
    """Declare a view's parameters; those in `repeated` may be given more than once."""
    return _declared(Parameters((*names, *repeated), repeated))


def passes_on(view: View) -> View:
    """Declare that a view redirects with its whole query, which the page there checks."""
    return _declared(Parameters(None))(view)


def parameters_of(view: Callable[..., object]) -> Parameters:
    """Return what a view has declared; without a declaration it takes none."""
    declared: Parameters = view.__dict__.get(_ATTRIBUTE, Parameters())
    return declared


def check_query(
    query: QueryDict, known: Collection[str], *, repeated: Collection[str] = ()
) -> None:
    """Raise InvalidQuery for the first parameter that is unknown or given more than once."""
    for name, values in query.lists():
        if name not in known:
            raise InvalidQuery(name, _unknown(name, known))
        if len(values) > 1 and name not in repeated:
            raise InvalidQuery(name, f"Parameter {quoted(name)} must be given only once")


def _declared(parameters: Parameters) -> Callable[[View], View]:
    def declared(view: View) -> View:
        view.__dict__[_ATTRIBUTE] = parameters
        return view

    return declared


def _unknown(name: str, known: Collection[str]) -> str:
    folded = {each.casefold(): each for each in known}
    close = get_close_matches(name.casefold()[:100], folded, n=1)
    guess = f"; did you mean {quoted(folded[close[0]])}?" if close else "."
    listed = f"Known parameters: {', '.join(known)}" if known else "No parameter is known here"
    return f"Unknown parameter {quoted(name)}{guess} {listed}"

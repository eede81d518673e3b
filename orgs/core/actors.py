"""Who is acting and from where, for the history of changes."""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from uuid import UUID


class ActorKind(StrEnum):
    """How somebody acts."""

    PERSON = "person"
    STRANGER = "stranger"  # on a page, without being signed in
    OPERATOR = "operator"  # on the machine: a command


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who acts: an account's id and email address, or the machine's user; and from where."""

    kind: ActorKind
    id: UUID | None = None
    name: str = ""
    address: str = ""


def operator() -> Actor:
    """Return the user of the operating system who runs this process."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container's user may have no name
        name = str(os.getuid())
    return Actor(kind=ActorKind.OPERATOR, name=name)


# Not an argument of every operation: a forgotten one would be an unnamed change. Only the
# middleware sets it; whatever runs outside a page is the operator's.
_actor: Final[ContextVar[Callable[[], Actor]]] = ContextVar("actor", default=operator)


def current_actor() -> Actor:
    """Return who is acting."""
    return _actor.get()()


@contextmanager
def acting(who: Callable[[], Actor]) -> Iterator[None]:
    """Attribute what happens meanwhile to the actor that `who` returns at that moment."""
    token = _actor.set(who)
    try:
        yield
    finally:
        _actor.reset(token)

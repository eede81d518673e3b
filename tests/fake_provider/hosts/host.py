"""A server as a fake has it: what it serves at which path, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.fake_provider.formats import Errors
from tests.fake_provider.formats.common import CREATED_AT, Format

Body = Mapping[str, Any]
# The sentence with which a body is refused, or None.
Check = Callable[[Body], str | None]
ModelList = Callable[[tuple[str, ...]], Any]


def models_listed(names: tuple[str, ...]) -> dict[str, Any]:
    """List models as OpenAI does."""
    return {"object": "list", "data": [model_object(name) for name in names]}


def model_object(name: str, owner: str = "system") -> dict[str, Any]:
    return {"id": name, "object": "model", "created": CREATED_AT, "owned_by": owner}


@dataclass(frozen=True, slots=True, kw_only=True)
class HostEndpoint:
    """One path: its format, the fields that it reads, and its own checks of a body.

    Fields that it does not read are omitted before the format sees the body; a server that refuses
    them has a check that does so. `needs` are headers without which it answers 400.
    """

    format: Format
    errors: Errors
    reads: frozenset[str] | None = None  # None: all
    checks: tuple[Check, ...] = ()
    needs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeHost:
    """A server on a port of its own, with the paths that the real one has.

    The key comes in one of the headers `credentials`; none: it needs no key. With `takes_tokens`
    what its token endpoint has issued is also a key, and with `takes_key` False nothing else.
    """

    name: str
    path: str  # of its base URL
    endpoints: Mapping[str, HostEndpoint]  # by their paths, as aiohttp's routes
    models: tuple[str, ...]
    credentials: tuple[str, ...] = ("authorization",)
    wrong_key_status: int = 401
    wrong_key: Errors  # the body of the refusal
    unknown_model_status: int = 404
    unknown_model: str | None  # with {}; None: it answers with whatever model it has
    renamed: Mapping[str, str] = field(default_factory=dict)  # names' beginnings, served by others
    takes_key: bool = True
    takes_tokens: bool = False
    models_path: str | None = None  # None: no list
    model_list: ModelList = models_listed

    @property
    def key(self) -> str:
        """The only key that it takes."""
        return f"key-of-{self.name}-canary0123456789"


def refuses_unknown(known: frozenset[str], sentence: str) -> Check:
    """Return a check that refuses fields other than these; `sentence` has their name as {}."""

    def check(body: Body) -> str | None:
        unknown = next((name for name in body if name not in known), None)
        return None if unknown is None else sentence.format(unknown)

    return check


def refuses(*names: str, sentence: str) -> Check:
    """Return a check that refuses these fields, of any value but null."""

    def check(body: Body) -> str | None:
        found = next((name for name in names if body.get(name) is not None), None)
        return None if found is None else sentence.format(found)

    return check

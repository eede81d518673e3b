"""Lists of models in the format of each vendor's clients.

https://developers.openai.com/api/reference/resources/models
https://platform.claude.com/docs/en/api/models/list
https://ai.google.dev/api/models
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from gateway.apis import openai_errors
from gateway.apis.generate import errors as generate_errors
from gateway.apis.messages import errors as messages_errors
from gateway.core.errors import GatewayError
from gateway.core.model_names import Offered
from gateway.core.providers import GENERATE, MESSAGES
from gateway.core.request_body import invalid

# Release dates are not known here; Anthropic's API documents this value for that case.
UNKNOWN_AT: Final = "1970-01-01T00:00:00Z"


# Google's clients may ask for more in one page, and get as many.
PAGE_MAX: Final = 1000


@dataclass(frozen=True, slots=True)
class Page:
    """The models of one page, and whether others follow."""

    models: Sequence[Offered]
    has_more: bool


def page_of(found: Sequence[Offered], query: Mapping[str, str]) -> Page:
    """Return the page that a client asks for: the whole list, unless it asks for less.

    Nothing is before or after a model that has left the list. Raises Refused for a size that is
    none.
    """
    size = _size(query)
    names = [each.name for each in found]
    if name := query.get("before_id"):
        before = found[: names.index(name)] if name in names else []
        return Page(before[-size:], has_more=len(before) > size)
    rest = found
    if name := query.get("after_id") or query.get("pageToken"):
        rest = found[names.index(name) + 1 :] if name in names else []
    return Page(rest[:size], has_more=len(rest) > size)


def _size(query: Mapping[str, str]) -> int:
    for name, least in (("limit", 1), ("pageSize", 0)):
        if name in query:
            given = query[name]
            is_number = given.isascii() and given.isdecimal() and len(given) < len("1000000000")
            if not is_number or int(given) < least or (name == "limit" and int(given) > PAGE_MAX):
                raise invalid(f"{name} must be an integer between {least} and {PAGE_MAX}")
            return min(int(given), PAGE_MAX) or PAGE_MAX
    return PAGE_MAX


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """How one API formats models: one, a page of all, an error.

    Its clients can call the models of providers with this `dialect`; None is any.
    """

    dialect: str | None
    key_headers: tuple[str, ...]
    one: Callable[[Offered], dict[str, Any]]
    all: Callable[[Page], dict[str, Any]]
    error: Callable[[GatewayError, int], dict[str, Any]]

    def has(self, offered: Offered) -> bool:
        """Whether a client of this API can call the model."""
        return self.dialect is None or self.dialect in offered.model.served_by.dialects


def _openai_one(offered: Offered) -> dict[str, Any]:
    owner = offered.model.provider
    return {"id": offered.name, "object": "model", "created": 0, "owned_by": owner}


def _openai_all(page: Page) -> dict[str, Any]:
    body: dict[str, Any] = {"object": "list", "data": [_openai_one(each) for each in page.models]}
    return {**body, "has_more": True} if page.has_more else body


def _anthropic_one(offered: Offered) -> dict[str, Any]:
    return {
        "type": "model",
        "id": offered.name,
        "display_name": offered.name,
        "created_at": UNKNOWN_AT,
        "lifecycle": "active",
        "max_input_tokens": offered.model.context_tokens,
        "max_tokens": offered.model.max_output_tokens,
    }


def _anthropic_all(page: Page) -> dict[str, Any]:
    found = page.models
    return {
        "data": [_anthropic_one(each) for each in found],
        "has_more": page.has_more,
        "first_id": found[0].name if found else None,
        "last_id": found[-1].name if found else None,
    }


def _google_one(offered: Offered) -> dict[str, Any]:
    embeds = offered.model.makes_embeddings
    methods = ["embedContent", "batchEmbedContents"] if embeds else ["generateContent"]
    return {
        "name": f"models/{offered.name}",
        "displayName": offered.name,
        "inputTokenLimit": offered.model.context_tokens,
        "outputTokenLimit": offered.model.max_output_tokens,
        "supportedGenerationMethods": [*methods, "countTokens"],
    }


def _google_all(page: Page) -> dict[str, Any]:
    body: dict[str, Any] = {"models": [_google_one(each) for each in page.models]}
    return {**body, "nextPageToken": page.models[-1].name} if page.has_more else body


OPENAI: Final = Listing(
    dialect=None,
    key_headers=(),
    one=_openai_one,
    all=_openai_all,
    error=lambda failure, status: openai_errors.error(failure, status=status),
)
ANTHROPIC: Final = Listing(
    dialect=MESSAGES,
    key_headers=("x-api-key",),
    one=_anthropic_one,
    all=_anthropic_all,
    error=lambda failure, status: messages_errors.error(failure, status=status),
)
GOOGLE: Final = Listing(
    dialect=GENERATE,
    key_headers=("x-goog-api-key",),
    one=_google_one,
    all=_google_all,
    error=lambda failure, status: generate_errors.error(failure, status=status),
)

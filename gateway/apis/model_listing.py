"""Lists of models in the format of each vendor's clients.

https://developers.openai.com/api/reference/resources/models
https://platform.claude.com/docs/en/api/models/list
https://ai.google.dev/api/models
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from gateway.apis import openai_errors
from gateway.apis.generate import errors as generate_errors
from gateway.apis.messages import errors as messages_errors
from gateway.core.errors import GatewayError
from gateway.core.model_names import Offered

# Release dates are not known here; Anthropic's API documents this value for that case.
UNKNOWN_AT: Final = "1970-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """How one API formats models: one, all, an error.

    `vendor` is the only one whose models its clients can call, None for all vendors.
    """

    vendor: str | None
    key_headers: tuple[str, ...]
    one: Callable[[Offered], dict[str, Any]]
    all: Callable[[Sequence[Offered]], dict[str, Any]]
    error: Callable[[GatewayError, int], dict[str, Any]]

    def has(self, offered: Offered) -> bool:
        """Whether a client of this API can call the model."""
        if self.vendor is None:
            return True
        return offered.model.provider == self.vendor and not offered.model.makes_embeddings


def _openai_one(offered: Offered) -> dict[str, Any]:
    owner = offered.model.provider
    return {"id": offered.name, "object": "model", "created": 0, "owned_by": owner}


def _openai_all(found: Sequence[Offered]) -> dict[str, Any]:
    return {"object": "list", "data": [_openai_one(each) for each in found]}


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


def _anthropic_all(found: Sequence[Offered]) -> dict[str, Any]:
    return {
        "data": [_anthropic_one(each) for each in found],
        "has_more": False,
        "first_id": found[0].name if found else None,
        "last_id": found[-1].name if found else None,
    }


def _google_one(offered: Offered) -> dict[str, Any]:
    return {
        "name": f"models/{offered.name}",
        "displayName": offered.name,
        "inputTokenLimit": offered.model.context_tokens,
        "outputTokenLimit": offered.model.max_output_tokens,
        "supportedGenerationMethods": ["generateContent", "countTokens"],
    }


def _google_all(found: Sequence[Offered]) -> dict[str, Any]:
    return {"models": [_google_one(each) for each in found]}


OPENAI: Final = Listing(
    vendor=None,
    key_headers=(),
    one=_openai_one,
    all=_openai_all,
    error=lambda failure, status: openai_errors.error(failure, status=status),
)
ANTHROPIC: Final = Listing(
    vendor="anthropic",
    key_headers=("x-api-key",),
    one=_anthropic_one,
    all=_anthropic_all,
    error=lambda failure, status: messages_errors.error(failure, status=status),
)
GOOGLE: Final = Listing(
    vendor="google",
    key_headers=("x-goog-api-key",),
    one=_google_one,
    all=_google_all,
    error=lambda failure, status: generate_errors.error(failure, status=status),
)

"""Refusals in words that Codex shows: of a 429 `insufficient_quota` it hides the sentence.

It then says "Quota exceeded. Check your plan and billing details." Of a `usage_limit_reached` it
shows what a header says, and when the limit is reset:
https://github.com/openai/codex/blob/main/codex-rs/codex-api/src/api_bridge.rs
"""

from __future__ import annotations

import time
from typing import Any, Final

from gateway.apis import openai_errors
from gateway.apis.refusals import Kind, Wordings, Words, words_for
from gateway.core.errors import GatewayError

# Its programs: codex_exec, codex-tui, codex_vscode, Codex Desktop.
_ORIGINATORS: Final = "codex"
REFUSALS: Final[Wordings] = {
    **openai_errors.REFUSALS,
    Kind.SPENT: Words(
        429, "usage_limit_reached", "insufficient_quota", sentence_header="x-codex-promo-message"
    ),
}


def is_codex(originator: str | None) -> bool:
    """Return whether a request's header `originator` names Codex."""
    return originator is not None and originator.lower().startswith(_ORIGINATORS)


def error(failure: GatewayError, *, status: int) -> dict[str, Any]:
    """Return the body of an error; where money is spent it says when there is room again."""
    body = openai_errors.error(failure, status=status, refusals=REFUSALS)
    is_spent = words_for(failure, REFUSALS) is REFUSALS[Kind.SPENT]
    if is_spent and failure.retry_after_s is not None:
        body["error"]["resets_at"] = int(time.time()) + failure.retry_after_s
    return body

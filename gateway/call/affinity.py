"""Which conversation a call continues, and whether only the row that answered it can read it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Final, NamedTuple

import orjson

from gateway.core.calls import Call, Principal
from orgs.threads import BODIES

# Of these the next turn sends back what its vendor signed or encrypted. A call of another channel
# continues a conversation only if it names a session.
CONTINUED: Final = frozenset(
    {"responses", "responses.compact", "messages", "generateContent", "streamGenerateContent"}
)
# What a server encrypted or signed for itself: OpenAI's reasoning and compactions, Anthropic's
# thinking and search results, Gemini's thoughts. Only fields match: in a text the quotation marks
# are escaped.
# https://developers.openai.com/api/docs/guides/reasoning (encrypted reasoning items)
# https://platform.claude.com/docs/en/build-with-claude/extended-thinking (thinking encryption)
# https://ai.google.dev/gemini-api/docs/thought-signatures
_SEALED: Final = re.compile(
    rb'"(?:encrypted_content|signature|thoughtSignature|thought_signature)":"[^"]'
    rb'|"type":"redacted_thinking"'
)
# Clients mark the newest messages, so the first ones only in the first turns.
_CACHE_MARK: Final = re.compile(rb'"cache_control":(?:null|\{[^{}]*\})')


class Affinity(NamedTuple):
    """The conversation that a call continues, None if it is not known, and whether it `is_bound` to
    the row that answered it: it carries what that one encrypted, or names what it keeps.
    """

    conversation: str | None
    is_bound: bool


async def affinity_of(call: Call, principal: Principal) -> Affinity:
    """Return a call's affinity; that of a large one is computed in a thread."""
    if call.is_large:
        return await BODIES.run(principal.org_id, lambda: _affinity(call, principal))
    return _affinity(call, principal)


def _affinity(call: Call, principal: Principal) -> Affinity:
    prompt = call.body.canonical()
    conversation = None
    if principal.session is not None:
        conversation = f"{principal.org_id} {principal.session.id}"
    elif principal.channel in CONTINUED:
        beginning = _CACHE_MARK.sub(b"", orjson.dumps(_beginning(prompt))).replace(b",", b"")
        conversation = f"{principal.org_id} {hashlib.sha256(beginning).hexdigest()}"
    names_kept = call.named is not None and bool(call.named.ids)
    is_bound = names_kept or _SEALED.search(orjson.dumps(prompt)) is not None
    return Affinity(conversation, is_bound)


def _beginning(prompt: object) -> object:
    """Return a prompt up to its first message of the user, which each turn repeats."""
    entries = prompt if isinstance(prompt, list) else [prompt]
    for n, entry in enumerate(entries):
        role = entry.get("role") if isinstance(entry, Mapping) else entry[0]
        if role == "user":
            return entries[: n + 1]
    return entries

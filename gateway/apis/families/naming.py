"""The fields that name a user or a cache to a vendor, under the organization's own names.

A value of a wrong type is left to the vendor, which refuses it.

https://help.openai.com/en/articles/5428082-how-to-incorporate-a-safety-identifier,
https://developers.openai.com/api/docs/guides/prompt-caching,
https://platform.claude.com/docs/en/api/messages (metadata),
https://docs.mistral.ai/studio-api/conversations/advanced/prompt-caching
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orgs.core.pseudonyms import Pseudonyms


def for_openai(fields: Mapping[str, Any], names: Pseudonyms) -> dict[str, Any]:
    """Return the user and the cache key of a request: OpenAI gets them with every one."""
    written = {
        "safety_identifier": names.user(user_in(fields)),
        "prompt_cache_key": names.cache(_text(fields.get("prompt_cache_key"))),
    }
    if fields.get("user") is not None:
        written["user"] = names.user(_text(fields["user"]))
    return _unless_wrong(fields, written)


def for_compatible(fields: Mapping[str, Any], names: Pseudonyms) -> dict[str, Any]:
    """Return those names that a request has: a compatible server may refuse others."""
    written = for_openai(fields, names)
    return {name: value for name, value in written.items() if name in fields}


def for_mistral(fields: Mapping[str, Any], names: Pseudonyms) -> dict[str, Any]:
    """Return the cache key of a request that has one; Mistral has no field for a user."""
    given = fields.get("prompt_cache_key")
    return {"prompt_cache_key": names.cache(given)} if isinstance(given, str) else {}


def for_openai_embeddings(fields: Mapping[str, Any], names: Pseudonyms) -> dict[str, Any]:
    """Return the user of a request for embeddings, which has no other such field."""
    return _unless_wrong(fields, {"user": names.user(_text(fields.get("user")))})


def for_anthropic(
    fields: Mapping[str, Any], names: Pseudonyms, *, adds: bool = True
) -> dict[str, Any]:
    """Return the metadata of a message with its user, which is added only if it `adds`."""
    metadata = fields.get("metadata")
    given = {} if metadata is None else metadata
    if not isinstance(given, dict) or not (adds or given.get("user_id")):
        return {}
    user = {"user_id": names.user(_text(given.get("user_id")))}
    return {"metadata": {**given, **_unless_wrong(given, user)}}


def user_in(fields: Mapping[str, Any]) -> str | None:
    """Return the user that a request in OpenAI's format names."""
    return _text(fields.get("safety_identifier")) or _text(fields.get("user"))


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _unless_wrong(fields: Mapping[str, Any], written: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value for name, value in written.items() if isinstance(fields.get(name), str | None)
    }

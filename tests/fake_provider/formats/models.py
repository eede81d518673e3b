"""The vendors' lists of models."""

from __future__ import annotations

from typing import Any, Final

from tests.fake_provider.formats.common import CREATED_AT

IDS: Final = {
    "openai": ("gpt-4o-mini", "gpt-4o", "text-embedding-3-small"),
    "anthropic": ("claude-sonnet-4-5",),
    "google": ("gemini-2.5-flash", "gemini-2.5-pro"),
    "mistral": ("mistral-small-latest", "mistral-large-latest"),
}


def model(vendor: str, name: str) -> dict[str, Any] | None:
    """Return one model as its vendor describes it, or None when it has no such model."""
    if name not in IDS[vendor]:
        return None
    match vendor:
        case "anthropic":
            created = "2025-09-29T00:00:00Z"
            return {"type": "model", "id": name, "display_name": name, "created_at": created}
        case "google":
            return {"name": f"models/{name}", "displayName": name}
        case "mistral":
            more = {"capabilities": {"completion_chat": True}, "type": "base"}
            return _object(name, "mistralai") | more
        case _:
            return _object(name, "system")


def models(vendor: str) -> dict[str, Any]:
    """Return the vendor's whole list."""
    listed = [model(vendor, name) for name in IDS[vendor]]
    match vendor:
        case "google":
            return {"models": listed}
        case "anthropic":
            first, last = IDS[vendor][0], IDS[vendor][-1]
            return {"data": listed, "has_more": False, "first_id": first, "last_id": last}
        case _:
            return {"object": "list", "data": listed}


def _object(name: str, owner: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": CREATED_AT, "owned_by": owner}

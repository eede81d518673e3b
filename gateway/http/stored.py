"""The endpoints of what OpenAI stores: responses, conversations and their items."""

from __future__ import annotations

from typing import Final

from django.urls import URLPattern, path

from gateway.apis.responses.compact import Compaction
from gateway.apis.responses.stored import Stored
from gateway.core.kept import KeptKind
from gateway.http.compatible import View, endpoint

_READ, _POST, _DELETE = ("GET", "HEAD"), "POST", "DELETE"
_RESPONSE, _CONVERSATION = "v1/responses/<response_id>", "v1/conversations/<conversation_id>"


def _stored(where: str, kind: KeptKind, *methods: str, has_items: bool = False) -> View:
    return endpoint(Stored(where, kind, has_items=has_items), *methods)


_VIEWS: Final[dict[str, tuple[str, View]]] = {
    "v1/responses/compact": ("responses-compact", endpoint(Compaction())),
    "v1/responses/input_tokens": ("responses-input-tokens", endpoint(Compaction(counts=True))),
    _RESPONSE: ("response", _stored("/responses/{}", KeptKind.RESPONSE, _DELETE, *_READ)),
    f"{_RESPONSE}/input_items": (
        "response-input-items",
        _stored("/responses/{}/input_items", KeptKind.RESPONSE, *_READ, has_items=True),
    ),
    "v1/conversations": ("conversations", _stored("/conversations", KeptKind.CONVERSATION, _POST)),
    _CONVERSATION: (
        "conversation",
        _stored("/conversations/{}", KeptKind.CONVERSATION, _DELETE, *_READ, _POST),
    ),
    f"{_CONVERSATION}/items": (
        "conversation-items",
        _stored("/conversations/{}/items", KeptKind.CONVERSATION, *_READ, _POST, has_items=True),
    ),
    f"{_CONVERSATION}/items/<item_id>": (
        "conversation-item",
        _stored(
            "/conversations/{}/items/{}", KeptKind.CONVERSATION, _DELETE, *_READ, has_items=True
        ),
    ),
}
urlpatterns: Final[list[URLPattern]] = [
    path(route, view, name=name) for route, (name, view) in _VIEWS.items()
]

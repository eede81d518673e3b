"""What the fake OpenAI keeps: responses, items and conversations, which later requests name."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import uuid4

from aiohttp import web

from tests.fake_provider.formats.common import CREATED_AT, plain_text, word_count
from tests.fake_provider.records import Call

Item = dict[str, Any]


class NotKept(Exception):
    """An id that is not known here, or a body that names one badly."""

    def __init__(self, status: int, message: str, *, param: str | None, code: str | None) -> None:
        super().__init__(message)
        self.status = status
        error = {"message": message, "type": "invalid_request_error", "param": param, "code": code}
        self.body = {"error": error}


@dataclass(slots=True)
class KeptResponse:
    """A response with its own input, and the tokens of its whole chain."""

    report: dict[str, Any]
    input_items: list[Item]
    tokens: int


@dataclass(slots=True)
class Conversation:
    """A conversation, with the tokens of its turns and of the items that clients added."""

    metadata: dict[str, Any]
    items: list[Item] = field(default_factory=list)
    tokens: int = 0


@dataclass(slots=True)
class Kept:
    """All that one fake provider keeps, of every organization together, as one account's."""

    responses: dict[str, KeptResponse] = field(default_factory=dict)
    items: dict[str, Item] = field(default_factory=dict)
    conversations: dict[str, Conversation] = field(default_factory=dict)

    def tokens_named_in(self, body: Mapping[str, Any]) -> int:
        """Return the tokens of what a body names. Raises NotKept."""
        tokens = 0
        if (previous := body.get("previous_response_id")) is not None:
            if previous not in self.responses:
                sentence = f"Previous response with id '{previous}' not found."
                field_, code = "previous_response_id", "previous_response_not_found"
                raise NotKept(400, sentence, param=field_, code=code)
            tokens += self.responses[previous].tokens
        if (named := conversation_in(body)) is not None:
            tokens += self.conversation(named).tokens
        return tokens + sum(map(self._item_tokens, items_in(body)))

    def conversation(self, id_: str) -> Conversation:
        if id_ not in self.conversations:
            sentence = f"Conversation with id '{id_}' not found."
            raise NotKept(404, sentence, param=None, code=None)
        return self.conversations[id_]

    def response(self, id_: str) -> KeptResponse:
        if id_ not in self.responses:
            sentence = f"Response with id '{id_}' not found."
            raise NotKept(404, sentence, param=None, code=None)
        return self.responses[id_]

    def _item_tokens(self, item: Item) -> int:
        is_reasoning = item.get("type") == "reasoning" and not item.get("encrypted_content")
        if item.get("type") != "item_reference" and not is_reasoning:
            return 0
        if item["id"] not in self.items:
            sentence = f"Item with id '{item['id']}' not found."
            raise NotKept(404, sentence, param="input", code=None)
        return text_tokens([self.items[item["id"]]])

    def add(self, body: Mapping[str, Any], report: dict[str, Any]) -> None:
        """Keep an answer, and add it to its conversation."""
        usage = report.get("usage") or {}
        tokens = usage.get("input_tokens", 0) + usage.get("output_tokens", 0)
        given = [{"id": f"msg_{uuid4().hex}", **item} for item in items_in(body)]
        if (named := conversation_in(body)) is not None:
            conversation = self.conversation(named)
            conversation.items += [*given, *report["output"]]
            conversation.tokens = tokens
        if body.get("store") is False:
            return
        self.responses[report["id"]] = KeptResponse(report, given, tokens)
        self.items |= {item["id"]: item for item in (*given, *report["output"])}


def items_in(body: Mapping[str, Any]) -> list[Item]:
    """Return a body's input as items."""
    given = body.get("input") or []
    return [{"role": "user", "content": given}] if isinstance(given, str) else given


def conversation_in(body: Mapping[str, Any]) -> str | None:
    named = body.get("conversation")
    return named["id"] if isinstance(named, dict) else named


def text_tokens(items: list[Item]) -> int:
    return word_count(
        plain_text(item.get("content")) or str(item.get("arguments") or item.get("output") or "")
        for item in items
    )


# --- the endpoints that are only about what is kept ----------------------------------------------

_CONVERSATION: Final = "/{vendor:openai}/v1/conversations/{conversation}"
_RESPONSE: Final = "/{vendor:openai}/v1/responses/{response}"
Record = Callable[..., Call]


def routes(kept: web.AppKey[Kept], record: Record) -> list[web.RouteDef]:
    """Return the routes; `record` records a request as a call."""

    def answering(answer: Callable[..., dict[str, Any]]) -> Callable[..., Any]:
        async def handle(request: web.Request) -> web.Response:
            raw = await request.read()
            record(request, "openai", raw=raw)
            body = json.loads(raw) if raw else {}
            try:
                return web.json_response(answer(request.app[kept], request, body))
            except NotKept as exc:
                return web.json_response(exc.body, status=exc.status)

        return handle

    return [
        web.get(_RESPONSE, answering(_get_response)),
        web.delete(_RESPONSE, answering(_delete_response)),
        web.get(_RESPONSE + "/input_items", answering(_input_items)),
        web.post("/{vendor:openai}/v1/conversations", answering(_create)),
        web.get(_CONVERSATION, answering(_get)),
        web.post(_CONVERSATION, answering(_update)),
        web.delete(_CONVERSATION, answering(_delete)),
        web.get(_CONVERSATION + "/items", answering(_list)),
        web.post(_CONVERSATION + "/items", answering(_add)),
        web.get(_CONVERSATION + "/items/{item}", answering(_get_item)),
        web.delete(_CONVERSATION + "/items/{item}", answering(_delete_item)),
    ]


def _get_response(kept: Kept, request: web.Request, _: Any) -> dict[str, Any]:
    return kept.response(request.match_info["response"]).report


def _delete_response(kept: Kept, request: web.Request, _: Any) -> dict[str, Any]:
    id_ = request.match_info["response"]
    kept.response(id_)
    del kept.responses[id_]
    return {"id": id_, "object": "response.deleted", "deleted": True}


def _input_items(kept: Kept, request: web.Request, _: Any) -> dict[str, Any]:
    return _page(kept.response(request.match_info["response"]).input_items)


def _page(items: list[Item]) -> dict[str, Any]:
    first, last = (items[0]["id"], items[-1]["id"]) if items else (None, None)
    return {"object": "list", "data": items, "first_id": first, "last_id": last, "has_more": False}


def _shown(id_: str, conversation: Conversation) -> dict[str, Any]:
    shown = {"id": id_, "object": "conversation", "created_at": CREATED_AT}
    return shown | {"metadata": conversation.metadata}


def _create(kept: Kept, request: web.Request, body: dict[str, Any]) -> dict[str, Any]:
    id_ = f"conv_{uuid4().hex}"
    kept.conversations[id_] = made = Conversation(body.get("metadata") or {})
    _take(kept, made, body.get("items") or [])
    return _shown(id_, made)


def _take(kept: Kept, conversation: Conversation, items: list[Item]) -> list[Item]:
    added = [{"id": f"msg_{uuid4().hex}", "type": "message", **item} for item in items]
    conversation.items += added
    conversation.tokens += text_tokens(added)
    kept.items |= {item["id"]: item for item in added}
    return added


def _get(kept: Kept, request: web.Request, _: Any) -> dict[str, Any]:
    id_ = request.match_info["conversation"]
    return _shown(id_, kept.conversation(id_))


def _update(kept: Kept, request: web.Request, body: dict[str, Any]) -> dict[str, Any]:
    id_ = request.match_info["conversation"]
    kept.conversation(id_).metadata = body["metadata"]
    return _shown(id_, kept.conversation(id_))


def _delete(kept: Kept, request: web.Request, _: Any) -> dict[str, Any]:
    id_ = request.match_info["conversation"]
    kept.conversation(id_)
    del kept.conversations[id_]
    return {"id": id_, "object": "conversation.deleted", "deleted": True}


def _list(kept: Kept, request: web.Request, _: Any) -> dict[str, Any]:
    return _page(kept.conversation(request.match_info["conversation"]).items)


def _add(kept: Kept, request: web.Request, body: dict[str, Any]) -> dict[str, Any]:
    conversation = kept.conversation(request.match_info["conversation"])
    return _page(_take(kept, conversation, body["items"]))


def _get_item(kept: Kept, request: web.Request, _: Any) -> dict[str, Any]:
    wanted = request.match_info["item"]
    conversation = kept.conversation(request.match_info["conversation"])
    for item in conversation.items:
        if item["id"] == wanted:
            return item
    sentence = f"Item with id '{wanted}' not found."
    raise NotKept(404, sentence, param=None, code=None)


def _delete_item(kept: Kept, request: web.Request, body: Any) -> dict[str, Any]:
    item = _get_item(kept, request, body)
    id_ = request.match_info["conversation"]
    kept.conversation(id_).items.remove(item)
    return _shown(id_, kept.conversation(id_))

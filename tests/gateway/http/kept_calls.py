"""Calls of the Responses API that store their answer or name what is stored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from costs.models import Hold
from gateway.models import KeptId
from orgs.models import Organization
from tests.factories import PolicyFactory
from tests.gateway.attempts import row_of
from tests.gateway.wire import Reply

RESPONSES, CONVERSATIONS = "/v1/responses", "/v1/conversations"
MODEL = "gpt-5.4"
ASKED: dict[str, Any] = {"model": MODEL, "input": "My name is Ann", "max_output_tokens": 500}
NEXT: dict[str, Any] = {"model": MODEL, "input": "What is my name?", "max_output_tokens": 500}


def error(reply: Reply) -> tuple[int, dict[str, Any]]:
    return reply.status, reply.json["error"]


def hold_of(reply: Reply) -> int:
    return int(Hold.objects.get(request_id=row_of(reply).id).amount_nanoeur)


def tokens_of(id_: str) -> int | None:
    return KeptId.objects.get(provider_id=id_).tokens


def limited(org: Organization) -> None:
    PolicyFactory.create(org=org, max_cost_per_day_nanoeur=100 * 10**9)


# Ways to name an id.
NAMING: dict[str, Callable[[str], dict[str, Any]]] = {
    "previous": lambda id_: {"previous_response_id": id_},
    "conversation": lambda id_: {"conversation": id_},
    "conversation-object": lambda id_: {"conversation": {"id": id_}},
    "item": lambda id_: {"input": [{"type": "item_reference", "id": id_}]},
    "bare-item": lambda id_: {"input": [{"id": id_}]},
    "reasoning": lambda id_: {"input": [{"type": "reasoning", "id": id_, "summary": []}]},
}

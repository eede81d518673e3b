"""A defect of ours while a request is read or checked: the API's own error, a log and a row."""

from __future__ import annotations

import json
import logging
from typing import Any, Final

import pytest
from asgiref.sync import async_to_sync
from django.test import AsyncRequestFactory

from costs.models import Hold
from gateway.apis.arrival import Arrival
from gateway.apis.chat.chat import ChatCompletions
from gateway.call.runtime import Gateway
from gateway.core.calls import Call, Outgoing, ProviderCall, Unread
from gateway.core.messages import Message
from gateway.core.model_names import Model
from gateway.core.usage_bound import NOTHING, OutputCap
from gateway.http.compatible import endpoint
from gateway.models import AiRequestLog
from orgs.core.pseudonyms import Pseudonyms

pytestmark = pytest.mark.django_db(transaction=True)

DEFECT: Final = "a planted defect"


class NotHashable(Unread):
    """A body of which no hash can be made."""

    def canonical(self) -> object:
        raise TypeError(DEFECT)

    def outgoing(
        self, model: Model, cap: OutputCap, *, timeout_s: float, names: Pseudonyms
    ) -> Outgoing:
        return ProviderCall(
            model=model.id,
            messages=(Message("user", "Hello"),),
            max_output_tokens=cap.tokens,
            temperature=None,
            timeout_s=timeout_s,
        )


class NotSendable(Unread):
    """A body of which no request to a vendor can be made."""

    def outgoing(
        self, model: Model, cap: OutputCap, *, timeout_s: float, names: Pseudonyms
    ) -> Outgoing:
        raise TypeError(DEFECT)


class Defective(ChatCompletions):
    """A dialect that cannot read any request, or that reads the given body."""

    def __init__(self, body: Unread | None) -> None:
        self._body = body

    def read(self, arrival: Arrival) -> Call:
        if self._body is None:
            raise TypeError(DEFECT)
        return arrival.call(self._body, NOTHING)


@pytest.mark.parametrize("body", [None, NotHashable(), NotSendable()], ids=["read", "hash", "send"])
@pytest.mark.parametrize("stream", [False, True])
def test_defect_before_hold_is_500_in_clients_format_with_row_and_traceback(
    gateway: Gateway,
    api_key: str,
    caplog: pytest.LogCaptureFixture,
    body: Unread | None,
    stream: bool,
) -> None:
    sent: Any = {"model": "sandbox-small", "stream": stream}
    request = AsyncRequestFactory().post(
        "/v1/chat/completions",
        data=json.dumps(sent),
        content_type="application/json",
        headers={"x-pulse-key": api_key, "idempotency-key": "once"},
    )
    with caplog.at_level(logging.ERROR):
        response: Any = async_to_sync(endpoint(Defective(body)))(request)
    assert response.status_code == 500
    error = json.loads(response.content)["error"]
    assert error["code"] == "internal_error"
    assert error["message"] == "Internal error of the gateway; nothing was sent"
    assert DEFECT in caplog.text
    row = AiRequestLog.objects.get()
    assert str(row.id) == response["x-pulse-request-id"]
    assert (row.status, row.code, row.cost_nanoeur) == ("error", "internal_error", 0)
    assert not Hold.objects.exists()

"""Counts of tokens: free, and checked and recorded like any request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pytest

from costs.core.holds import State
from costs.models import CostEvent, Hold
from gateway.audit.verify import verify
from orgs.models import Organization
from tests.fake_provider.vendors import KEYS
from tests.gateway.attempts import row_of
from tests.gateway.conftest import Asking
from tests.gateway.http.vendor_apis import (
    GENERATE,
    MESSAGES,
    Api,
    every_api,
)
from tests.gateway.small_vendor import SmallVendor

pytestmark = pytest.mark.django_db(transaction=True)

EUR: Final = 10**9

COUNTS: Final = {MESSAGES.vendor: b'{"input_tokens": 12}', GENERATE.vendor: b'{ "totalTokens": 3}'}


@every_api
def test_counting_is_free_and_recorded(
    ask: Asking, small: SmallVendor, limited: Callable[..., None], api: Api
) -> None:
    limited(max_cost_per_day_nanoeur=1, max_tokens_per_request=1)
    small.answers(api.counted, COUNTS[api.vendor])
    reply = ask(path=api.counted, body=api.body)
    assert (reply.status, reply.body) == (200, COUNTS[api.vendor])
    assert float(reply.headers["x-pulse-cost-eur"]) == 0
    row = row_of(reply)
    assert (row.status, row.model, row.hold_nanoeur, row.cost_nanoeur) == ("ok", api.model, 0, 0)
    assert not CostEvent.objects.exists()  # it is none of the requests whose costs are reported
    assert verify().findings == []
    [seen] = small.seen
    assert "service_tier" not in seen.body
    assert seen.headers[api.key_header] == KEYS[api.vendor]


@every_api
def test_counting_is_subject_to_policies_and_switch(
    ask: Asking, small: SmallVendor, limited: Callable[..., None], api: Api
) -> None:
    small.answers(api.counted, COUNTS[api.vendor])
    Organization.objects.update(ai_gateway_enabled=False)
    reply = ask(path=api.counted, body=api.body)
    assert reply.headers["x-pulse-error-code"] == "gateway_disabled"
    Organization.objects.update(ai_gateway_enabled=True)
    limited(blocked_models=["*"])
    reply = ask(path=api.counted, body=api.body)
    assert reply.headers["x-pulse-error-code"] == "model_blocked"
    assert small.seen == []


@every_api
def test_count_that_breaks_off_is_error_of_no_unknown_cost(
    ask: Asking, small: SmallVendor, api: Api
) -> None:
    small.answers(api.counted, b"", status=502)
    reply = ask(path=api.counted, body=api.body)
    assert reply.headers["x-pulse-error-code"] == "provider_error"
    row = row_of(reply)
    assert (row.status, row.cost_nanoeur, row.estimated_nanoeur) == ("error", 0, 0)
    assert Hold.objects.get(request_id=row.id).state == State.RELEASED


@every_api
@pytest.mark.parametrize("body", [b'{"error": {"message": "no"}}', b"not JSON", b""])
def test_invalid_count_is_error(ask: Asking, small: SmallVendor, api: Api, body: bytes) -> None:
    small.answers(api.counted, body)
    reply = ask(path=api.counted, body=api.body)
    assert (reply.status, reply.headers["x-pulse-error-code"]) == (502, "provider_error")
    assert row_of(reply).cost_nanoeur == 0

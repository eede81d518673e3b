"""A price that is set on a page counts at the next request, at what the page shows."""

from __future__ import annotations

import re
from http import HTTPStatus

from django.test import Client

from costs.models import Rate
from gateway.models import AiRequestLog
from orgs.models import Organization
from tests.gateway.conftest import Asking
from tests.gateway.price_pages.test_setting import TYPED, confirmed

MODEL = "sandbox-large"
SET = f"/models/set?provider=sandbox&name={MODEL}"


def test_unpriced_model_from_list_is_priced_and_called(
    ask: Asking, operator: Client, acme: Organization
) -> None:
    Rate.objects.filter(model=MODEL).delete()
    body = {"model": MODEL, "prompt": "Say hello"}
    refused = ask(body)
    assert (refused.status, refused.json["code"]) == (HTTPStatus.FORBIDDEN, "model_unpriced")
    listed = operator.get("/models/unpriced").content.decode()
    assert SET.replace("&", "&amp;") in listed
    confirmed(operator, SET, TYPED)
    assert MODEL not in operator.get("/models/unpriced").content.decode()
    answered = ask(body)
    assert answered.status == HTTPStatus.OK
    row = AiRequestLog.objects.get(org=acme, status="ok")
    page = operator.get(f"/models/sandbox/{MODEL}").content.decode()
    shown = {
        bucket: int(nanoeur)
        for bucket, nanoeur in re.findall(r'<th scope="row">(\w+)</th>\D*<data value="(\d+)"', page)
    }
    assert row.input_tokens
    assert row.output_tokens
    exact = row.input_tokens * shown["input"] + row.output_tokens * shown["output"]
    assert row.cost_nanoeur == -(-exact // 1_000_000)

"""Unusual provider values: an answered call is settled and shown in any case."""

from __future__ import annotations

from typing import Any

import pytest

from costs.models import Hold
from gateway.call.runtime import Gateway
from gateway.core.errors import Broken, Rejected
from gateway.models import AiRequestLog
from tests.gateway.conftest import Asking
from tests.gateway.stand_ins import Only, StandIn

pytestmark = pytest.mark.django_db(transaction=True)

HELLO = {"model": "sandbox-small", "prompt": "Say hello"}
ODD = ("x" * 100, "a\x00b", "\ud800", "a\nb")


def faults_with(ask: Asking, gateway: Gateway, provider: StandIn, *, status: int) -> list[str]:
    faults = []
    gateway.providers = Only(provider)
    for fields in ({}, {"stream": True}):
        reply = ask(HELLO | fields)
        row = AiRequestLog.objects.get(id=reply.headers["x-pulse-request-id"])
        if reply.status != status or row.status == "pending" or b"internal_error" in reply.body:
            faults.append(f"{reply.status} {row.status} {reply.body[-200:]!r}")
    return faults


def test_unusual_texts_and_names_are_passed_on_or_omitted(ask: Asking, gateway: Gateway) -> None:
    for odd in ODD:
        for provider in (StandIn(pieces=(odd, odd)), StandIn(model=odd)):
            assert faults_with(ask, gateway, provider, status=200) == []
    assert not Hold.objects.filter(state=Hold.State.HELD).exists()


def test_unusual_provider_values_do_not_prevent_completing_row(
    ask: Asking, gateway: Gateway
) -> None:
    faults: list[str] = []
    reports: list[dict[str, Any]] = [*({"note": odd} for odd in ODD), {"n": float("nan")}]
    for provider in (
        *(StandIn(finish_reason=odd) for odd in ODD),
        *(StandIn(raw_usage=report) for report in reports),
    ):
        faults += faults_with(ask, gateway, provider, status=200)
    for odd in ODD:
        failing = StandIn(pieces=(), failure=Rejected(odd))
        faults += faults_with(ask, gateway, failing, status=502)
        failing = StandIn(pieces=(), failure=Broken(odd * 500))
        faults += faults_with(ask, gateway, failing, status=502)
    assert faults == []
    assert not Hold.objects.filter(state=Hold.State.HELD).exists()

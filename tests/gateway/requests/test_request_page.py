"""A request's page: its timeline, also with a damaged trace."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils.timezone import now

from costs.models import CostEvent, Hold
from gateway.models import AiRequestLog
from orgs.fields import new_id
from orgs.models import Organization, User
from tests.cast import CLIENTS
from tests.factories import (
    AiRequestLogFactory,
    ApiKeyFactory,
    CostEventFactory,
    RateCardFactory,
)

pytestmark = pytest.mark.django_db

RATES = {
    "provider": "openai",
    "model": "gpt-4o-mini",
    "starts_at": "2024-07-18T00:00:00+00:00",
    "source": "the vendor's page",
    "usd_per_eur": "1.1172",
    "exchange_rate_date": "2026-10-30",
    "bands": [
        {"service_tier": "standard", "above_input_tokens": 0, "input_usd_per_mtok": "0.15"},
        {"service_tier": "standard", "above_input_tokens": 200_000, "input_usd_per_mtok": "0.30"},
    ],
}
TRACE = {
    "model": {"requested": "openai/gpt-4o-mini", "meant": "gpt-4o-mini", "provider": "openai"},
    "input": {"counted_tokens": 9, "bytes": 12},
    "output_cap": 1000,
    "bound_nanoeur": 601_000,
    "policies": [
        {"id": "1", "name": "Models", "verdict": "ok", "detail": None, "limit_nanoeur": None},
        {"id": "2", "name": "Daily", "verdict": "ok", "limit_nanoeur": 50 * 10**9},
    ],
    "before": {"charged_nanoeur": 1, "held_nanoeur": 2, "left_nanoeur": 48 * 10**9},
    "after": {"charged_nanoeur": 1, "held_nanoeur": 3, "left_nanoeur": 47 * 10**9},
    "rates": RATES,
}


def hold_for(row: AiRequestLog, *, rates: Any = RATES, **fields: Any) -> Hold:
    values = {
        "state": Hold.State.SETTLED,
        "amount_nanoeur": 601_000,
        "charged_nanoeur": 2_328,
        "held_at": row.occurred_at,
        "deadline_at": row.occurred_at,
        "instance_id": new_id(),
        "charge_to": {},
    }
    card = RateCardFactory.create(rates=rates)
    return Hold.objects.create(org=row.org, request_id=row.pk, rate_card=card, **values | fields)


def titles(client: Client, row: AiRequestLog) -> list[str]:
    response = client.get(f"/admin/ai/requests/{row.pk}")
    assert response.status_code == 200
    return [step.title for step in response.context["steps"]]


def test_charged_request_shows_all_steps(
    acme: Organization, client_for: CLIENTS, auditor_user: User
) -> None:
    key = ApiKeyFactory.create(org=acme, name="nightly report")
    usage = {"buckets": {"input_uncached": 7, "cache_read": 2, "output_text": 2}, "adds_up": False}
    row = AiRequestLogFactory.create(
        org=acme, decision=TRACE, usage=usage, key_id=key.pk, team_id="blue"
    )
    hold = hold_for(row)
    CostEventFactory.create(org=acme, request_id=row.pk, hold_id=hold.pk)
    client = client_for(auditor_user)
    assert titles(client, row) == [
        "Received",
        "Policy check",
        "Held",
        "Sent",
        "Answered",
        "Charged",
    ]
    page = client.get(f"/admin/ai/requests/{row.pk}").content.decode()
    for expected in (
        *("openai/gpt-4o-mini", "12 bytes", "9 tokens", "1,000 tokens"),
        *("Allowed by every policy.", "Models", "Daily", "50.00\N{NO-BREAK SPACE}€"),
        *("1.1172 USD per EUR", "of <time>2026-10-30</time>", "the vendor&#x27;s page", "0.15"),
        *("Standard, above 200,000 input tokens", "cache read", "nightly report", "blue"),
        *('value="601000"', 'value="2328"', "total differs", row.prompt_hash),
    ):
        assert expected in page, expected


def test_page_says_what_decided_cap_and_that_it_ended_answer(
    acme: Organization, client_for: CLIENTS, member_user: User
) -> None:
    row = AiRequestLogFactory.create(
        org=acme,
        finish_reason="length",
        usage={"cut_by": "gateway"},
        decision=TRACE | {"output_cap_by": "room", "web_searches": 3},
    )
    hold_for(row)
    page = client_for(member_user).get(f"/admin/ai/requests/{row.pk}").content.decode()
    assert "web searches</dt><dd>at most 3" in " ".join(page.split()).replace("> <", "><")
    assert "1,000 tokens: what was left of a limit" in page
    assert "length, at the cap that the gateway wrote" in page


def test_page_says_that_hold_in_slices_ended_answer(
    acme: Organization, client_for: CLIENTS, member_user: User
) -> None:
    row = AiRequestLogFactory.create(
        org=acme,
        finish_reason="length",
        usage={"cut_by": "gateway", "buckets": None},
        decision=TRACE | {"hold": "slices"},
    )
    hold_for(row)
    page = client_for(member_user).get(f"/admin/ai/requests/{row.pk}").content.decode()
    assert "length, where its hold could not grow" in page


def test_blocked_request_names_policy(
    acme: Organization, client_for: CLIENTS, member_user: User
) -> None:
    sentence = 'Model gpt-4 is blocked by policy "Production Policy"'
    refusal = {"name": "Production Policy", "verdict": "model_blocked", "detail": sentence}
    row = AiRequestLogFactory.create(
        org=acme,
        status="blocked",
        code="model_blocked",
        error=sentence,
        cost_nanoeur=None,
        decision={
            "policies": [
                {"name": "Earlier", "verdict": "token_limit"},  # too, but blocked comes first
                refusal,
                {"name": "Next", "verdict": "not reached"},
            ],
            "policies_left_out": 1900,
        },
    )
    client = client_for(member_user)
    assert titles(client, row) == ["Received", "Policy check", "Blocked", "Nothing charged"]
    page = client.get(f"/admin/ai/requests/{row.pk}").content.decode()
    assert "Blocked by policy &quot;Production Policy&quot;." in page
    assert "model blocked" in page
    assert "not checked" in page
    assert "1,900 more policies" in page
    assert "nothing was held" in page


def test_policies_say_why_they_apply_and_which_are_watched(
    acme: Organization, client_for: CLIENTS, member_user: User
) -> None:
    first = ApiKeyFactory.create(org=acme, name="CI")
    key = ApiKeyFactory.create(org=acme, name="CI", lineage_id=first.pk, replaces=first)
    why = {"key_id": str(first.pk), "user_id": str(member_user.pk), "task_type": "review"}
    row = AiRequestLogFactory.create(
        org=acme,
        key_id=key.pk,
        user_id=str(member_user.pk),
        refused_by_watched=True,
        decision={
            "policies": [
                {"id": "1", "name": "On", "verdict": "ok", "applies_to": why},
                {"id": "2", "name": "Trial", "verdict": "model_blocked", "mode": "watch"},
                {"id": "3", "name": "Quiet", "verdict": "ok", "mode": "watch"},
            ],
            "policies_of_other_calls": 7,
        },
    )
    page = client_for(member_user).get(f"/admin/ai/requests/{row.pk}").content.decode()
    assert f"applies to key CI, user {member_user.email}, task type review" in page
    assert str(first.pk) not in page
    assert "<dt>of other requests only</dt><dd>7 policies</dd>" in page
    assert "would have been refused by &quot;Trial&quot;, which only watches" in page
    assert page.count("would have refused") == 1
    assert '<span class="status bad">model blocked' not in page


def test_watched_policy_is_never_who_refused(
    acme: Organization, client_for: CLIENTS, member_user: User
) -> None:
    held = {"verdict": "rate_limited", "limit_nanoeur": 5}
    for others, sentence in (
        ([], "Refused by the gateway"),
        ([{"name": "Real", **held}], "Running calls held what was left of &quot;Real&quot;."),
    ):
        row = AiRequestLogFactory.create(
            org=acme,
            status="blocked",
            code="rate_limited",
            decision={"policies": [{"name": "Trial", "mode": "watch", **held}, *others]},
        )
        page = client_for(member_user).get(f"/admin/ai/requests/{row.pk}").content.decode()
        assert sentence in page


def test_unknown_outcome_and_correction_are_both_shown(
    acme: Organization, client_for: CLIENTS, member_user: User
) -> None:
    row = AiRequestLogFactory.create(org=acme, status="unknown", code="provider_timeout")
    hold = hold_for(row, state=Hold.State.SETTLED)
    for kind, amount in ((CostEvent.Kind.BOUND, 601_000), (CostEvent.Kind.CORRECTION, -598_672)):
        CostEventFactory.create(
            org=acme, request_id=row.pk, hold_id=hold.pk, kind=kind, amount_nanoeur=amount
        )
    client = client_for(member_user)
    assert titles(client, row)[3:] == ["Sent", "Outcome unknown", "Charged", "Corrected"]
    assert 'value="-598672"' in client.get(f"/admin/ai/requests/{row.pk}").content.decode()


def test_estimate_says_what_it_is(
    acme: Organization, client_for: CLIENTS, member_user: User
) -> None:
    row = AiRequestLogFactory.create(
        org=acme,
        status="unknown",
        code="client_disconnected",
        estimated_nanoeur=2_328,
        usage={"buckets": None, "at_most": {"input_tokens": 9, "output_tokens": 1_234}},
    )
    hold = hold_for(row, state=Hold.State.UNKNOWN)
    CostEventFactory.create(
        org=acme,
        request_id=row.pk,
        hold_id=hold.pk,
        kind=CostEvent.Kind.ESTIMATE,
        estimated_nanoeur=2_328,
    )
    client = client_for(member_user)
    assert titles(client, row)[3:] == ["Sent", "Outcome unknown", "Charged"]
    page = client.get(f"/admin/ai/requests/{row.pk}").content.decode()
    for expected in (
        "The maximum cost was held; charged at an estimate; actual cost unknown.",
        "What the provider can have produced by then at most",
        "<dt>of it estimated</dt>",
        "<dt>output, at most</dt><dd>1,234</dd>",
        ">estimated</span>",
    ):
        assert expected in page, expected


def test_usage_without_price_is_named_with_place_and_factors(
    acme: Organization, client_for: CLIENTS, member_user: User
) -> None:
    buckets = {
        **{"cache_read_audio": 1, "cache_write_30m": 2, "cache_write_12h": 3},
        **{"web_search_previews": 4, "service_tier": "ultrafast", "place": "eu"},
    }
    unpriced = ["service tier ultrafast", "cache write 12h"]
    row = AiRequestLogFactory.create(
        org=acme, usage={"buckets": buckets, "unpriced": unpriced}, estimated_nanoeur=2_328
    )
    band = {
        **{"input_usd_per_mtok": "0.15", "cache_read_audio_usd_per_mtok": "0.3"},
        **{"cache_write_30m_usd_per_mtok": "0.4", "cache_write_12h_usd_per_mtok": "0.5"},
        "web_search_preview_usd_per_k": "25",
    }
    factors = {"places": {"eu": "1.1"}, "discount": "0.95"}
    hold = hold_for(row, rates={**RATES, "bands": [band], **factors})
    CostEventFactory.create(org=acme, request_id=row.pk, hold_id=hold.pk, estimated_nanoeur=2_328)
    page = client_for(member_user).get(f"/admin/ai/requests/{row.pk}").content.decode()
    for expected in (
        "No price for: service tier ultrafast, cache write 12h; charged at the highest known",
        *("cache read, audio", "cache write, 30 min", "cache write, 12 h"),
        *("web searches (preview)", "1,000 web searches (preview)", "ultrafast"),
        *(
            "<dt>processed in</dt><dd>eu</dd>",
            "<dt>tokens processed in eu</dt><dd>\N{MULTIPLICATION SIGN} 1.1</dd>",
        ),
        "<dt>all prices</dt><dd>\N{MULTIPLICATION SIGN} 0.95</dd>",
    ):
        assert expected in page, expected


@pytest.mark.parametrize(
    "trace",
    [
        {},
        [],
        "text",
        None,
        7,
        {"model": [], "input": 5, "policies": {"a": 1}, "before": "x", "rates": []},
        {"model": None, "input": None, "policies": [None, "x", {}], "after": [], "rates": None},
        {"policies": [{"verdict": 3, "name": {}, "limit_nanoeur": "x", "max_tokens": True}]},
        {"policies": [], "policies_left_out": "x", "policies_of_other_calls": []},
        {"policies": [{"mode": "watch", "applies_to": ["x"], "verdict": 2}]},
        {"policies": [{"applies_to": {"key_id": 3}}]},
        {"rates": {"bands": "x"}, "bound_nanoeur": "much", "output_cap": 1.5},
        {"unpriced": [3, None], "buckets": {"place": 7}, "rates": {"places": [], "discount": {}}},
        {"rates": {"bands": [1, {}, {"above_input_tokens": "x"}], "usd_per_eur": {}}},
    ],
)
@pytest.mark.parametrize("status", AiRequestLog.Status.values)
def test_damaged_trace_is_shown_as_far_as_possible(
    acme: Organization, client_for: CLIENTS, member_user: User, trace: object, status: str
) -> None:
    row = AiRequestLogFactory.create(org=acme, status=status, decision={}, usage=trace)
    AiRequestLog.objects.filter(pk=row.pk).update(decision=trace if trace is not None else "")
    hold = hold_for(row, rates={}, state=Hold.State.UNKNOWN)
    CostEventFactory.create(org=acme, request_id=row.pk, hold_id=hold.pk, recorded_at=now())
    assert titles(client_for(member_user), row)[:3] == ["Received", "Policy check", "Held"]


def test_foreign_and_missing_requests_get_same_response(
    globex: Organization, client_for: CLIENTS, member_user: User
) -> None:
    foreign = AiRequestLogFactory.create(org=globex)
    client = client_for(member_user)
    answers = [
        client.get(f"/admin/ai/requests/{row_id}") for row_id in (foreign.pk, new_id(), "1", "%00")
    ]
    assert {answer.status_code for answer in answers} == {404}
    # Django masks the CSRF token differently in every form.
    pages = {
        re.sub(rb'(name="csrfmiddlewaretoken" value=")\w+', rb"\1", a.content) for a in answers
    }
    assert len(pages) == 1


def test_caller_values_are_escaped(
    acme: Organization, client_for: CLIENTS, member_user: User
) -> None:
    bad = "<script>alert(1)</script>"
    row = AiRequestLogFactory.create(
        org=acme,
        error=bad,
        team_id=bad,
        finish_reason=bad,
        decision={"model": {"requested": bad}, "policies": [{"name": bad, "verdict": bad}]},
    )
    page = client_for(member_user).get(f"/admin/ai/requests/{row.pk}").content.decode()
    assert "<script>alert" not in page


def test_alias_attempts_are_shown_in_order_with_their_traces(
    acme: Organization, client_for: CLIENTS, member_user: User
) -> None:
    row = AiRequestLogFactory.create(org=acme, requested_model="fast", decision=TRACE)
    first = hold_for(row, state=Hold.State.RELEASED, amount_nanoeur=1_000, charged_nanoeur=0)
    hold_for(row, held_at=row.occurred_at + timedelta(seconds=2))
    own = {"before": {"left_nanoeur": 9 * 10**9}}
    row.attempts = [
        {
            "at": row.occurred_at.isoformat(),
            "hold_id": str(first.pk),
            "model": "gpt-4",
            "code": "provider_rate_limited",
            "error": "Too busy",
            "decision": own,
        },
        {
            "at": (row.occurred_at + timedelta(seconds=1)).isoformat(),
            "hold_id": None,
            "model": "gpt-4o",
            "code": "model_blocked",
            "error": "Model gpt-4o is blocked",
        },
    ]
    row.save()
    page = client_for(member_user).get(f"/admin/ai/requests/{row.pk}")
    assert page.status_code == 200
    shown = page.context["steps"]
    titles = [step.title for step in shown]
    assert titles[2:6] == ["Held", "No answer", "Skipped", "Held"]
    names = ("daily limit left before", "charged that day before")
    left = [fact.value for step in shown for fact in step.facts if fact.name in names]
    assert len(set(map(str, left))) == 3  # 9 EUR at first, 48 at last, and what was charged
    row.attempts = [{"at": "never"}, "odd", 7]
    row.save()
    assert client_for(member_user).get(f"/admin/ai/requests/{row.pk}").status_code == 200

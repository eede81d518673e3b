"""Claude Code's requests, at a vendor that refuses what comes without its beta."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

import pytest

from costs.models import Hold
from gateway.alerts.evaluate import EvaluationCache, evaluate
from gateway.apis.messages.betas import KNOWN
from gateway.models import AiRequestLog, Alert
from orgs.models import Organization
from tests.factories import PolicyFactory, RateFactory
from tests.fake_provider import FakeProvider
from tests.fake_provider.behaviour import FOREVER
from tests.fake_provider.betas import ENABLED
from tests.fake_provider.formats.common import sse
from tests.gateway.attempts import row_of
from tests.gateway.conftest import Asking
from tests.gateway.wire import Reply

pytestmark = pytest.mark.django_db(transaction=True)

MODEL: Final = "claude-opus-5-5"
EUR: Final = 10**9
DAY_EUR: Final = 20
EPHEMERAL: Final = {"type": "ephemeral"}
SCHEMA: Final = {"type": "object", "properties": {"x": {"type": "string"}}}
BASH: Final = {"name": "Bash", "description": "runs " * 40, "input_schema": SCHEMA}
LATER: Final = {**BASH, "name": "Later", "defer_loading": True}
INLINE: Final = {
    "type": "tool_addition",
    "tool": {"type": "tool_definition", "definition": {**BASH, "name": "Inline"}},
}
BY_NAME: Final = {"type": "tool_addition", "tool": {"type": "tool_reference", "name": "Later"}}
SEARCH: Final = {"type": "web_search_20250305", "name": "web_search", "max_uses": 8}

# As recorded from Claude Code 2.1.332, of a turn after a tool call.
TURN_BETAS: Final = (
    "claude-code-20250219,interleaved-thinking-2025-05-14,context-management-2025-06-27,"
    "per-turn-control-2026-07-01,mid-conversation-tool-changes-2026-07-01,"
    "thinking-token-count-2026-05-13,advanced-tool-use-2025-11-20,effort-2025-11-24"
)
TURN: Final[dict[str, Any]] = {
    "model": MODEL,
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": "first " * 100}]},
        {"role": "system", "content": "more " * 1500, "output_config": {"effort": "medium"}},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "hmm", "signature": "c2lnbmF0dXJl"},
                {"type": "tool_use", "id": "t", "name": "Bash", "input": {"command": "ls"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {
                    "tool_use_id": "t",
                    "type": "tool_result",
                    "content": [
                        {"type": "text", "text": "ran"},
                        {"type": "tool_reference", "tool_name": "Later"},
                    ],
                    "is_error": False,
                    "cache_control": EPHEMERAL,
                }
            ],
        },
        {"role": "system", "content": [BY_NAME]},
    ],
    "system": [
        {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1.332; cch=00000;"},
        {"type": "text", "text": "You are", "cache_control": EPHEMERAL},
    ],
    "tools": [BASH, LATER],
    "metadata": {"user_id": "u"},
    "max_tokens": 128_000,
    "thinking": {"type": "adaptive", "display": "omitted"},
    "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
    "output_config": {"effort": "medium"},
    "stream": True,
}
# Its WebSearch, which has a request of its own.
SEARCH_BETAS: Final = TURN_BETAS.replace("advanced-tool-use-2025-11-20,", "")
SEARCHING: Final[dict[str, Any]] = {
    "model": MODEL,
    "messages": [{"role": "user", "content": [{"type": "text", "text": "search for it"}]}],
    "system": [{"type": "text", "text": "You are " * 20}],
    "tools": [SEARCH],
    "tool_choice": {"type": "auto"},
    "metadata": {"user_id": "u"},
    "max_tokens": 128_000,
    "output_config": {"effort": "medium"},
    "stream": True,
}
# Written into every request; the rest is as it came.
OVERRIDDEN: Final = {"service_tier", "inference_geo", "metadata"}


@pytest.fixture
def strict(vendors: FakeProvider, api_key: str, acme: Organization) -> FakeProvider:
    """A vendor that refuses what comes without its beta, under a policy of 20 EUR a day."""
    for tier, times in (("standard", 1), ("fast", 6)):
        RateFactory.create(
            provider="anthropic",
            model=MODEL,
            service_tier=tier,
            input_usd_per_mtok=Decimal(5 * times),
            output_usd_per_mtok=Decimal(25 * times),
            cache_read_usd_per_mtok=Decimal(times) / 2,
            cache_write_5m_usd_per_mtok=Decimal("6.25") * times,
            cache_write_1h_usd_per_mtok=Decimal(10 * times),
            web_search_usd_per_k=10,
        )
    PolicyFactory.create(org=acme, name="P", max_cost_per_day_nanoeur=DAY_EUR * EUR)
    vendors.answers(times=FOREVER, vendor="anthropic", needs_betas=True, content="Done")
    return vendors


@pytest.fixture
def say(ask: Asking, strict: FakeProvider) -> Callable[..., Reply]:
    """Send a messages request with betas."""

    def send(body: dict[str, Any], betas: str = "", path: str = "/v1/messages?beta=true") -> Reply:
        headers = {"anthropic-version": "2023-06-01", "anthropic-beta": betas}
        return ask(body, path=path, headers=headers)

    return send


def held_eur(reply: Reply) -> float:
    return (Hold.objects.get(request_id=row_of(reply).id).amount_nanoeur or 0) / EUR


def body_without_overrides(body: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name not in OVERRIDDEN}


def test_turn_of_claude_code_arrives_unchanged(
    say: Callable[..., Reply], strict: FakeProvider
) -> None:
    reply = say(TURN, TURN_BETAS)
    assert reply.status == 200, reply.body
    [call] = strict.calls
    assert call.headers["anthropic-beta"] == TURN_BETAS
    assert body_without_overrides(call.body) == body_without_overrides(TURN)
    row = row_of(reply)
    assert (row.status, row.decision["unknown"], row.decision["adjustments"]) == ("ok", [], [])
    assert held_eur(reply) < 4


@pytest.mark.parametrize("beta", [beta for beta in TURN_BETAS.split(",") if "-2026-0" in beta])
def test_strict_vendor_refuses_turn_without_beta(say: Callable[..., Reply], beta: str) -> None:
    needed = {name for _, names in ENABLED.values() for name in names}
    reply = say(TURN, TURN_BETAS.replace(beta, "claude-code-20250219"))
    assert reply.status == (400 if beta in needed else 200)
    if beta in needed:
        assert reply.json["error"]["message"].endswith("Extra inputs are not permitted")


def test_search_of_claude_code_is_limited_and_held_at_its_figures(
    say: Callable[..., Reply], strict: FakeProvider
) -> None:
    reply = say(SEARCHING, SEARCH_BETAS)
    assert reply.status == 200, reply.body
    [call] = strict.calls
    assert call.body["tools"] == [SEARCH | {"max_uses": 5}]
    assert row_of(reply).decision["adjustments"] == ["web_search limited to 5 uses"]
    # 128,000 tokens of answer and five queries, six readings of what five searches found, at the
    # price of cache writes; 1.10 USD per EUR.
    assert 3 < held_eur(reply) < 7


def test_search_is_as_asked_where_no_limit_applies(
    say: Callable[..., Reply], strict: FakeProvider, acme: Organization
) -> None:
    acme.policies.all().delete()
    assert say(SEARCHING, SEARCH_BETAS).status == 200
    assert strict.calls[0].body["tools"] == [SEARCH]


def test_search_of_unknown_usage_costs_readings_that_were_seen(
    say: Callable[..., Reply], strict: FakeProvider, acme: Organization
) -> None:
    acme.policies.all().delete()
    block = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}
    used = sse({"type": "content_block_start", "index": 1, "content_block": block})
    costs = []
    for uses in (0, 1, 2, 50):
        strict.reset()
        strict.answers(no_usage=True, extra_events=(used,) * uses)
        row = row_of(say(SEARCHING, SEARCH_BETAS))
        assert (row.status, row.cost_nanoeur or 0) <= ("unknown", row.hold_nanoeur or 0)
        costs.append((row.cost_nanoeur or 0) / EUR)
    # 10 USD for a thousand searches and at most 10 USD for a million tokens of input.
    assert costs == sorted(costs)
    assert 0.009 < costs[1] - costs[0] < 0.01 + 30_000 * 10 / 1e6
    assert costs[2] - costs[1] < 2 * (costs[1] - costs[0])
    assert costs[3] > 10 * costs[0]


# --- everything on record ---------------------------------------------------------------------

_TURNS: Final = [{"role": "user", "content": "Hello"}]


def _tool(kind: str, **more: Any) -> dict[str, Any]:
    return {"tools": [{"type": kind, "name": "it", **more}]}


def _system(**more: Any) -> dict[str, Any]:
    return {"messages": [*_TURNS, {"role": "system", "content": "More", **more}]}


PASSES: Final[dict[str, dict[str, Any]]] = {
    "context_management": {"context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]}},
    "diagnostics": {"diagnostics": {"previous_message_id": "msg_1"}},
    "speed": {"speed": "fast"},
    "computer_20241022": _tool("computer_20241022"),
    "computer_20250124": _tool("computer_20250124"),
    "computer_20251124": _tool("computer_20251124"),
    "web_fetch_20250910": _tool("web_fetch_20250910", max_uses=1, max_content_tokens=100),
    "memory": _tool("memory_20250818"),
    "tools by reference": {"tools": [BASH], **_system(content=[BY_NAME])},
    "tools by value": _system(content=[INLINE]),
    "messages.output_config": _system(output_config={"effort": "low"}),
    "messages.clear_at": _system(clear_at="next_user_message"),
    "defer_loading": {"tools": [BASH, LATER]},
    "tool_reference": {
        "messages": [
            {
                "role": "user",
                "content": [
                    {
                        "type": "tool_result",
                        "tool_use_id": "t",
                        "content": [{"type": "tool_reference", "tool_name": "Bash"}],
                    }
                ],
            }
        ]
    },
    "input_examples": {"tools": [{**BASH, "input_examples": [{"x": "y"}]}]},
    "cache_control.scope": {
        "system": [{"type": "text", "text": "x", "cache_control": {**EPHEMERAL, "scope": "global"}}]
    },
    "cache_control.ttl": {"cache_control": {**EPHEMERAL, "ttl": "1h"}},
    "output_format": {"output_format": {"type": "json_schema", "schema": SCHEMA}},
    "output_config.effort": {"output_config": {"effort": "low"}},
    "output_config.task_budget": {"output_config": {"task_budget": {"total": 20_000}}},
    "thinking.block_binding": {"thinking": {"type": "adaptive", "block_binding": {}}},
    "thinking.display": {"thinking": {"type": "adaptive", "display": "updates"}},
    "safeguards": {
        "safeguards": [
            {
                "type": "dangerous_tool_use",
                "classifier_context": {"prior_turn_context": [{"tool_use_ids": ["toolu_1"]}]},
            }
        ]
    },
    "context_hint": {"context_hint": {"x": 1}},
    "max_tokens above 128000": {"max_tokens": 200_000},
}
OMITTED: Final[dict[str, dict[str, Any]]] = {
    "fallbacks": {"fallbacks": "default"},
    "fallback_credit_token": {"fallback_credit_token": "t"},
}
REFUSED: Final[dict[str, dict[str, Any]]] = {
    "compaction edits": {"context_management": {"edits": [{"type": "compact_20260112"}]}},
    "compaction": {"compaction": {"type": "summarize"}},
    "user_profile_id": {"user_profile_id": "u"},
    "billing_policy": {"billing_policy": {"type": "billing_policy", "bill_to": "user_profile"}},
    "thread": {"thread": {"type": "create"}},
    "mcp_servers": {"mcp_servers": [{"type": "url", "url": "https://example.org", "name": "x"}]},
    "container": {"container": {"skills": [{"type": "anthropic", "skill_id": "pptx"}]}},
    "file_id": {
        "messages": [
            {
                "role": "user",
                "content": [{"type": "document", "source": {"type": "file", "file_id": "f"}}],
            }
        ]
    },
    "advisor": _tool("advisor_20260301"),
    "code_execution": _tool("code_execution_20250522"),
}
SMALL: Final[dict[str, Any]] = {"model": MODEL, "max_tokens": 100, "messages": _TURNS}
EACH_BETA: Final = [(name, beta) for name, (_, betas) in ENABLED.items() for beta in betas]


def test_every_feature_with_beta_has_its_case() -> None:
    assert PASSES.keys() | OMITTED.keys() | REFUSED.keys() == ENABLED.keys()


@pytest.mark.parametrize(("name", "beta"), EACH_BETA)
def test_feature_and_beta_arrive_together_or_not_at_all(
    say: Callable[..., Reply], strict: FakeProvider, name: str, beta: str
) -> None:
    given = SMALL | (PASSES | OMITTED | REFUSED)[name]
    holds, _ = ENABLED[name]
    assert holds(given)
    betas = (
        beta if beta.startswith("context-management") else f"{beta},context-management-2025-06-27"
    )
    for path in ("/v1/messages", "/v1/messages/count_tokens"):
        strict.reset()
        strict.answers(times=FOREVER, vendor="anthropic", needs_betas=True)
        reply = say(given, betas, path)
        if name in REFUSED:
            assert (reply.status, strict.calls) == (400, [])
            assert len(reply.json["error"]["message"].split()) > 4
            continue
        assert reply.status == 200, reply.body
        [call] = strict.calls
        assert (beta in call.headers["anthropic-beta"]) == (name in PASSES)
        assert holds(call.body) == (name in PASSES)
        sent = {each: value for each, value in given.items() if each not in OMITTED}
        assert body_without_overrides(call.body) == sent
        assert (beta in KNOWN) == (name in PASSES)


EMPTY: Final[dict[str, Any]] = {
    "compaction": {},
    "container": None,
    "mcp_servers": [],
    "thread": None,
    "user_profile_id": None,
}


@pytest.mark.parametrize("name", EMPTY)
def test_empty_field_of_omitted_beta_is_omitted_with_it(
    say: Callable[..., Reply], strict: FakeProvider, name: str
) -> None:
    _, betas = ENABLED[name]
    for path in ("/v1/messages", "/v1/messages/count_tokens"):
        reply = say(SMALL | {name: EMPTY[name]}, ",".join(betas), path)
        assert reply.status == 200, reply.body
        assert name not in strict.calls[-1].body


# --- what is not known ------------------------------------------------------------------------


def test_unknown_beta_passes_held_at_highest_rates_and_marked(
    say: Callable[..., Reply], strict: FakeProvider
) -> None:
    known, unknown = say(SMALL), say(SMALL, "of-tomorrow-2027-01-01")
    assert (known.status, unknown.status) == (200, 200)
    assert strict.calls[-1].headers["anthropic-beta"] == "of-tomorrow-2027-01-01"
    assert row_of(unknown).decision["unknown"] == ["of-tomorrow-2027-01-01"]
    assert held_eur(unknown) > 6 * held_eur(known) * 0.99
    assert row_of(unknown).cost_nanoeur == row_of(known).cost_nanoeur


def test_bill_above_hold_alerts_once_daily(
    say: Callable[..., Reply], strict: FakeProvider, acme: Organization
) -> None:
    for betas in ("", "of-tomorrow-2027-01-01"):
        strict.reset()
        strict.answers(output_tokens=100_000)
        row = row_of(say(SMALL, betas))
        assert (row.cost_nanoeur or 0) > (row.hold_nanoeur or 0)
    [alert] = [
        alert
        for alert in evaluate(row.occurred_at, EvaluationCache())
        if alert.kind == Alert.Kind.ABOVE_HOLD
    ]
    amounts = AiRequestLog.objects.values_list("cost_nanoeur", "hold_nanoeur")
    above = sum((cost or 0) - (hold or 0) for cost, hold in amounts if (cost or 0) > (hold or 0))
    assert alert.figures["above_nanoeur"] == above
    assert evaluate(row.occurred_at, EvaluationCache()) == []


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"speed": "ludicrous"}, "model_unpriced"),
        ({"inference_geo": "moon"}, "model_unpriced"),
        ({"tools": [{"type": "of_tomorrow_20270101", "name": "it"}]}, "invalid_request"),
        ({"cache_control": {"type": "ephemeral", "ttl": "1y"}}, "invalid_request"),
    ],
)
def test_unknown_value_of_priced_field_is_refused_where_limit_applies(
    say: Callable[..., Reply], strict: FakeProvider, changes: dict[str, Any], code: str
) -> None:
    reply = say(SMALL | changes, "fast-mode-2026-02-01,extended-cache-ttl-2025-04-11")
    assert (reply.headers["x-pulse-error-code"], strict.calls) == (code, [])


def test_vendors_sentence_reaches_client_unchanged(
    say: Callable[..., Reply], strict: FakeProvider
) -> None:
    sentence = "messages.1: `tool_use` ids were found without `tool_result` blocks"
    body = {
        "type": "error",
        "error": {"type": "invalid_request_error", "message": sentence},
        "request_id": "req_1",
    }
    strict.reset()
    strict.answers(status=400, body=body)
    reply = say(TURN, TURN_BETAS)
    assert (reply.status, reply.json) == (400, body)

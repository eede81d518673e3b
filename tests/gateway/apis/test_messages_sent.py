"""messages: the request that is sent to Anthropic, and the prompt's hash."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from gateway.apis.chat.chat import ChatCompletions
from gateway.apis.messages.betas import BETAS_MAX, DENIED, KNOWN
from gateway.apis.messages.messages import VERSION, Messages
from gateway.core.calls import Dimensions, Principal
from gateway.core.errors import Refused
from gateway.core.request_body import call_from_fields
from gateway.core.usage_bound import OutputLimits, UsesLimit
from tests.gateway.arrivals import NAMES, body_of, model, read, refusal, sent

DIALECT = Messages()
COUNTING = Messages(counts=True)
OPUS = model("claude-opus-4-6")
SONNET = model("claude-3-5-sonnet")
ASKED: dict[str, Any] = {
    "model": "my-alias",
    "max_tokens": 100,
    "messages": [{"role": "user", "content": "Hello"}],
}


def outgoing(fields: dict[str, Any], *, cap: int | None = None, **more: Any) -> Any:
    return sent(read(DIALECT, fields, **more), SONNET, cap=cap)


# --- the body ---------------------------------------------------------------------------------


def test_body_is_forwarded_with_vendors_id_and_standard_tier() -> None:
    more = {"unheard_of": {"of": ["tomorrow", None, 1.5]}, "metadata": {"user_id": "u"}, "top_k": 3}
    body = body_of(outgoing(ASKED | more))
    assert body == ASKED | more | {
        "model": "claude-3-5-sonnet-20241022",
        "service_tier": "standard_only",
        "metadata": {"user_id": NAMES.user("u")},
    }


@pytest.mark.parametrize("tier", ["auto", "priority", "standard_only", None, 7])
def test_tier_is_always_standard(tier: Any) -> None:
    assert body_of(outgoing(ASKED | {"service_tier": tier}))["service_tier"] == "standard_only"


def test_callers_cap_is_sent_and_bounds_request() -> None:
    for cap in (0, 100):
        request = outgoing({**ASKED, "max_tokens": cap}, cap=cap)
        assert body_of(request)["max_tokens"] == cap
        assert request.output == OutputLimits(max_tokens=cap)


@pytest.mark.parametrize(
    ("cap", "thinking"),
    [
        (16_000, {"type": "enabled", "budget_tokens": 10_000, "display": "omitted"}),
        (12_000, {"type": "enabled", "budget_tokens": 10_000, "display": "omitted"}),
        (8_000, {"type": "enabled", "budget_tokens": 4_000, "display": "omitted"}),
        (1_100, {"type": "enabled", "budget_tokens": 1_024, "display": "omitted"}),
        (1_024, {"type": "disabled"}),  # the vendor's least budget is not below it
    ],
)
def test_thinking_is_within_lowered_cap(cap: int, thinking: dict[str, Any]) -> None:
    asked = {"type": "enabled", "budget_tokens": 10_000, "display": "omitted"}
    request = outgoing({**ASKED, "max_tokens": 16_000, "thinking": asked}, cap=cap)
    assert body_of(request)["max_tokens"] == cap
    assert body_of(request)["thinking"] == thinking
    assert request.output == OutputLimits(
        max_tokens=cap, thinking_tokens=thinking.get("budget_tokens", 0)
    )


def test_thinking_without_budget_is_kept_with_lowered_cap() -> None:
    adaptive = {"type": "adaptive"}
    request = outgoing({**ASKED, "max_tokens": 16_000, "thinking": adaptive}, cap=8_192)
    assert body_of(request)["thinking"] == adaptive


def test_count_is_forwarded_with_only_id_changed() -> None:
    request = sent(read(COUNTING, {**ASKED, "max_tokens": None}), SONNET)
    assert request.path == "/v1/messages/count_tokens"
    assert body_of(request) == {**ASKED, "max_tokens": None, "model": SONNET.id}


def test_number_that_cannot_be_forwarded_is_refused_by_its_place() -> None:
    for number in (2**64, 2**70, -(2**63) - 1):
        asked = ASKED | {"unheard_of": {"of": [1, number]}}
        sentence = "unheard_of.of[1] must fit in 64 bits"
        assert refusal(DIALECT, asked) == sentence
    for number in (2**64 - 1, -(2**63)):
        assert body_of(sent(read(DIALECT, ASKED | {"top_p": number}), SONNET))["top_p"] == number


def test_half_of_surrogate_pair_is_refused_by_its_place() -> None:
    half = "\ud800"
    places = {
        "unheard_of.of[1]": {"of": [1, half]},
        'unheard_of."a b"': {"a b": half},
        'The name "?"': {half: 1},
    }
    for place, value in places.items():
        sentence = f"{place} must not contain half of a surrogate pair"
        assert refusal(DIALECT, ASKED | {"unheard_of": value}) == sentence


@pytest.mark.parametrize("name", ["gpt-4o", "gemini-2.0-flash", "mistral-large"])
def test_other_vendors_model_is_refused(name: str) -> None:
    for dialect in (DIALECT, COUNTING):
        with pytest.raises(Refused) as refused:
            sent(read(dialect, ASKED), model(name))
        assert refused.value.status == 400
        assert "is not available at /v1/messages" in refused.value.message


# --- the headers ------------------------------------------------------------------------------


def test_only_version_header_is_forwarded() -> None:
    given = {
        "anthropic-version": "2024-10-22",
        "authorization": "Bearer pulse_x",
        "x-api-key": "pulse_x",
        "anthropic-user-profile-id": "u",
        "anthropic-workspace-id": "w",
        "x-stainless-lang": "python",
        "host": "example.org",
    }
    headers = outgoing(ASKED, headers=given).headers
    assert headers == {"content-type": "application/json", "anthropic-version": "2024-10-22"}


@pytest.mark.parametrize("version", ["", "2023-06-01\r\nx: y", "latest", "2023-6-1", "1999-01-01"])
def test_invalid_version_becomes_default(version: str) -> None:
    headers = outgoing(ASKED, headers={"anthropic-version": version}).headers
    assert headers["anthropic-version"] == VERSION


def betas_sent(*betas: str, **changes: Any) -> list[str]:
    request = sent(
        read(DIALECT, ASKED | changes, headers={"anthropic-beta": ",".join(betas)}), OPUS
    )
    given: str = request.headers.get("anthropic-beta", "")
    return [beta for beta in given.split(",") if beta]


@pytest.mark.parametrize(
    "beta",
    [
        *("code-execution-2025-05-22", "files-api-2025-04-14", "skills-2025-10-02"),
        *("mcp-client-2025-11-20", "mcp-client-2031-01-01", "advisor-tool-2026-03-01"),
        *("server-side-fallback-2026-07-01", "compact-2026-01-12", "compact-2026-09-04"),
        *("user-profiles-2026-09-04", "user-profiles-billing-2026-10-01", "compact"),
        *("fallback-credit-2026-07-01", "message-threads-2026-08-12", "agent-memory-2026-07-22"),
        *("managed-agents-2026-04-01", "dreaming-2026-04-21", "oauth-2025-04-20"),
        *("mcp-tunnels-2026-06-22", "Server-Side-Fallback-2026-07-01", "skills_2"),
    ],
)
def test_beta_that_changes_price_or_payer_is_omitted(beta: str) -> None:
    both = f"{beta}, pdfs-2024-09-25 ,{beta}"
    call = read(DIALECT, ASKED, headers={"anthropic-beta": both})
    assert call.usage_bound.unknown == ()
    request = sent(call, OPUS)
    assert request.headers["anthropic-beta"] == "pdfs-2024-09-25"
    assert request.adjustments == (f"Beta {beta} omitted: it could change the price or who pays",)
    assert betas_sent(beta) == []


def test_all_other_betas_are_forwarded_in_order() -> None:
    betas = [*sorted(KNOWN, reverse=True), "of-tomorrow-2027-01-01", "Another_One"]
    assert betas_sent(*betas) == betas
    assert betas_sent(*betas, betas[0], "", " ") == betas
    call = read(DIALECT, ASKED, headers={"anthropic-beta": ",".join(betas)})
    assert call.usage_bound.unknown == ("of-tomorrow-2027-01-01", "Another_One")
    assert not any(known.startswith(DENIED) for known in KNOWN)


def test_known_beta_of_another_date_is_unknown() -> None:
    headers = {"anthropic-beta": "effort-2027-11-24"}
    assert read(DIALECT, ASKED, headers=headers).usage_bound.unknown == ("effort-2027-11-24",)


@pytest.mark.parametrize("betas", ["a b", "ü", "x" * 65, ",".join(map(str, range(BETAS_MAX + 1)))])
def test_header_that_is_no_list_of_names_is_refused(betas: str) -> None:
    assert "anthropic-beta" in refusal(DIALECT, ASKED, headers={"anthropic-beta": betas})


def test_fallbacks_are_omitted_of_body_with_their_betas() -> None:
    more = {"fallbacks": "default", "fallback_credit_token": "t"}
    betas = {"anthropic-beta": "server-side-fallback-2026-07-01,fallback-credit-2026-07-01"}
    for dialect in (DIALECT, COUNTING):
        request = sent(read(dialect, ASKED | more, headers=betas), OPUS)
        assert not more.keys() & body_of(request).keys()
        assert "anthropic-beta" not in request.headers
        assert len(request.adjustments) == 4


def test_place_is_written_for_models_that_take_one() -> None:
    for given, expected in ((None, "global"), ("global", "global"), ("us", "us")):
        fields = ASKED if given is None else ASKED | {"inference_geo": given}
        assert body_of(sent(read(DIALECT, fields), OPUS))["inference_geo"] == expected
    assert "inference_geo" not in body_of(outgoing(ASKED))


# --- tools where a limit applies ---------------------------------------------------------------

SEARCH: dict[str, Any] = {"type": "web_search_20250305", "name": "web_search"}
FETCH: dict[str, Any] = {"type": "web_fetch_20250910", "name": "web_fetch"}
LATER: dict[str, Any] = {"type": "web_search_20260318", "name": "web_search"}
MINE: dict[str, Any] = {"name": "mine", "input_schema": {"type": "object"}}


def tools_sent(*tools: dict[str, Any], **limits: Any) -> Any:
    return limited_request({**ASKED, "tools": list(tools)}, **limits)["tools"]


def limited_request(fields: dict[str, Any], *, is_limited: bool = True, **limits: Any) -> Any:
    return body_of(sent(read(DIALECT, fields), OPUS, cap=100, is_limited=is_limited, **limits))


@pytest.mark.parametrize(
    ("tool", "changes"),
    [
        (SEARCH, {"max_uses": 5}),
        (SEARCH | {"max_uses": 8}, {"max_uses": 5}),
        (SEARCH | {"max_uses": 50_000}, {"max_uses": 5}),
        (SEARCH | {"max_uses": 2}, {}),
        (LATER, {"max_uses": 5, "allowed_callers": ["direct"]}),
        (SEARCH | {"allowed_callers": ["x"]}, {"max_uses": 5, "allowed_callers": ["direct"]}),
        (FETCH, {"max_uses": 5, "max_content_tokens": 20_000}),
        (FETCH | {"max_uses": 1, "max_content_tokens": 50_000}, {}),
        (MINE, {}),
    ],
)
def test_web_tools_are_limited_where_limit_applies(
    tool: dict[str, Any], changes: dict[str, Any]
) -> None:
    assert tools_sent(MINE, tool) == [MINE, tool | changes]
    assert tools_sent(MINE, tool, is_limited=False) == [MINE, tool]


@pytest.mark.parametrize("is_limited", [True, False])
@pytest.mark.parametrize(
    ("asked", "most", "written"), [(None, 3, 3), (9, 3, 3), (2, 3, 2), (None, 20, 20), (9, 20, 9)]
)
def test_searches_are_limited_to_policys_number(
    is_limited: bool, asked: int | None, most: int, written: int
) -> None:
    limit = UsesLimit(most=most, policy="Few")
    tool = SEARCH | ({} if asked is None else {"max_uses": asked})
    fields = ASKED | {"tools": [tool, FETCH]}
    request = sent(read(DIALECT, fields), OPUS, cap=100, is_limited=is_limited, searches=limit)
    [search, fetch] = body_of(request)["tools"]
    assert search["max_uses"] == written
    assert fetch.get("max_uses") == (5 if is_limited else None)
    note = f'web_search limited to {written} uses by policy "Few"'
    assert (note in request.adjustments) is (written != asked)
    assert request.uses.searches == written


def test_tool_defined_in_message_is_limited_there() -> None:
    by_value: dict[str, Any] = {"type": "tool_definition", "definition": SEARCH}
    added = {"type": "tool_addition", "tool": by_value}
    by_name = {"type": "tool_addition", "tool": {"type": "tool_reference", "name": "x"}}
    asked = {
        **ASKED,
        "messages": [*ASKED["messages"], {"role": "system", "content": [by_name, added]}],
    }
    assert limited_request(asked, is_limited=False)["messages"] == asked["messages"]
    first, system = limited_request(asked)["messages"]
    assert first == ASKED["messages"][0]
    definition = SEARCH | {"max_uses": 5}
    assert system["content"] == [
        by_name,
        {**added, "tool": {**by_value, "definition": definition}},
    ]


# --- recognised again -------------------------------------------------------------------------

TURNS = [("system", "Be brief"), ("user", "Hello"), ("assistant", "Hi"), ("user", "Bye")]
AS_PAIRS = [{"role": role, "content": text} for role, text in TURNS]


ANYONE = Principal(org_id=UUID(int=1), fixed=Dimensions(), channel="api")


def as_chat() -> object:
    return read(ChatCompletions(), {"model": "m", "messages": AS_PAIRS}).body.canonical()


def test_same_conversation_is_canonically_equal_in_every_api() -> None:
    api = call_from_fields({"model": "m", "messages": AS_PAIRS}, principal=ANYONE)
    plain = ASKED | {"system": "Be brief", "messages": AS_PAIRS[1:]}
    blocks = ASKED | {
        "system": [{"type": "text", "text": "Be brief", "cache_control": {"type": "ephemeral"}}],
        "messages": [
            turn | {"content": [{"type": "text", "text": turn["content"]}]} for turn in AS_PAIRS[1:]
        ],
    }
    for fields in (plain, blocks):
        for dialect in (DIALECT, COUNTING):
            assert read(dialect, fields).body.canonical() == as_chat() == api.body.canonical()


def test_non_text_content_is_another_prompt() -> None:
    text = {"type": "text", "text": "Hello"}
    picture = {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}}
    contents: list[Any] = ["Hello", [text, picture], [text, text], [text | {"citations": []}]]
    seen = [
        read(DIALECT, ASKED | {"messages": [{"role": "user", "content": c}]}).body.canonical()
        for c in contents
    ]
    assert all(seen.count(each) == 1 for each in seen)


def test_repeat_has_same_path_body_and_dimensions() -> None:
    first = read(DIALECT, ASKED, path="/v1/messages").identity()
    assert first == read(DIALECT, ASKED, path="/v1/messages").identity()
    others = [
        read(DIALECT, ASKED, path="/v1/messages?beta=true"),
        read(DIALECT, ASKED | {"max_tokens": 101}, path="/v1/messages"),
        read(DIALECT, ASKED, path="/v1/messages", dimensions=Dimensions(team_id="t")),
    ]
    assert first not in [call.identity() for call in others]

"""Chat completions fitted to Claude: settings, turns, media and cache markers.

Where each right value is from: `tests/reports/anthropic.py`.
"""

from __future__ import annotations

from typing import Any, Final

import pytest

from gateway.apis.families.fitting import fitted
from gateway.apis.messages.request import headers_from, request_from
from gateway.core.calls import ProviderCall
from gateway.core.errors import Refused
from gateway.core.messages import Message
from gateway.core.usage_bound import OutputCap
from tests.gateway.translating import CALLED, CLAUDE, PIXEL, TALK, TIME, USER, WEATHER, fit
from tests.vendor_rules.anthropic.body import NEWEST_VERSION, faults

OPUS_5_5: Final = "claude-opus-5-5"
OPUS_5: Final = "claude-opus-5"
OPUS_4_7: Final = "claude-opus-4-7"
OPUS_4_5: Final = "claude-opus-4-5"
SONNET_3_7: Final = "claude-3-7-sonnet"
PREVIEW: Final = "claude-mythos-preview"
MARK: Any = {"cache_control": {"type": "ephemeral"}}


def sent(call: ProviderCall) -> dict[str, Any]:
    """Return the request, which the checker of the vendor's rules accepts."""
    request = request_from(call)
    version = headers_from(call).get("anthropic-version", NEWEST_VERSION)
    assert faults(request, version) == []
    return request


def asked(model: str = CLAUDE, **fields: Any) -> dict[str, Any]:
    return sent(fit(model, cap=OutputCap(4000, is_written=True), **fields))


def refusal(model: str = CLAUDE, **fields: Any) -> str:
    with pytest.raises(Refused) as refused:
        fit(model, **fields)
    assert (refused.value.status, refused.value.code) == (400, "invalid_request")
    return refused.value.message


def user(*parts: Any, **more: Any) -> dict[str, Any]:
    return {"role": "user", "content": [*parts], **more}


def text(value: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": value, **more}


def called(*ids: str, name: str = "get_weather") -> dict[str, Any]:
    function = {"name": name, "arguments": "{}"}
    calls = [{"id": each, "type": "function", "function": function} for each in ids]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def result(call_id: str, content: Any = "ok") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": content}


# --- sampling, effort, stops ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "given", "kept"),
    [
        (SONNET_3_7, {"temperature": 0.5, "top_p": 0.9}, {"temperature": 0.5, "top_p": 0.9}),
        ("claude-opus-4-1", {"temperature": 0.5, "top_p": 0.9}, {"temperature": 0.5}),
        (CLAUDE, {"temperature": 0, "top_p": 0.9}, {"temperature": 0}),
        (CLAUDE, {"top_p": 0.9}, {"top_p": 0.9}),
        (CLAUDE, {"temperature": 1.5}, {"temperature": 1}),
        (CLAUDE, {"temperature": 2}, {"temperature": 1}),
        (OPUS_4_7, {"temperature": 0.5, "top_p": 0.9}, {}),
        (OPUS_4_7, {"temperature": 1}, {}),
        (OPUS_5_5, {"temperature": 0}, {}),
        ("claude-fable-5-1", {"top_p": 0.5}, {}),
    ],
)
def test_sampling_fits_generation(model: str, given: dict[str, Any], kept: dict[str, Any]) -> None:
    call = fit(model, **given)
    request = sent(call)
    assert {name: request[name] for name in ("temperature", "top_p") if name in request} == kept
    assert bool(call.adjustments) is (kept != given)
    # The newest version has neither: https://platform.claude.com/docs/en/api/versioning
    assert headers_from(call) == ({"anthropic-version": "2023-06-01"} if kept else {})


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"temperature": 0.5}, {}),
        ({"temperature": 0.5, "top_p": 0.95}, {"top_p": 0.95}),
        ({"top_p": 0.94}, {}),
    ],
)
def test_thinking_leaves_no_temperature(given: dict[str, Any], kept: dict[str, Any]) -> None:
    request = asked(reasoning_effort="low", **given)
    assert request["thinking"] == {"type": "adaptive"}
    assert {name: request[name] for name in given if name in request} == kept


def test_effort_without_thinking_keeps_temperature() -> None:
    assert asked(OPUS_4_5, reasoning_effort="low", temperature=0.5)["temperature"] == 0.5
    assert asked(reasoning_effort="none", temperature=0.5)["temperature"] == 0.5


@pytest.mark.parametrize(
    ("model", "effort", "kept", "thinking"),
    [
        (CLAUDE, "max", "max", "adaptive"),
        (CLAUDE, "xhigh", "high", "adaptive"),
        (OPUS_4_5, "max", "high", None),
        (OPUS_4_7, "xhigh", "xhigh", "adaptive"),
        (PREVIEW, "xhigh", "high", "adaptive"),
        (OPUS_5, "none", None, "disabled"),
        ("claude-sonnet-5-5", "none", None, "between_tools"),
        (OPUS_5_5, "none", "low", "adaptive"),
        ("claude-fable-5", "none", "low", "adaptive"),
        (PREVIEW, "none", "low", "adaptive"),
        (CLAUDE, "minimal", "low", "adaptive"),
    ],
)
def test_model_gets_nearest_effort(
    model: str, effort: str, kept: str | None, thinking: str | None
) -> None:
    call = fit(model, reasoning_effort=effort)
    request = sent(call)
    assert request.get("output_config", {}).get("effort") == kept
    assert request.get("thinking", {}).get("type") == thinking
    assert bool(call.adjustments) is (kept not in (effort, None))


def test_forced_tool_takes_effort_without_thinking() -> None:
    # Doubtful: the documents allow adaptive thinking, and a report shows it rejected.
    request = asked(tools=[TIME], tool_choice="required", reasoning_effort="high", temperature=0.5)
    assert request["tool_choice"] == {"type": "any"}
    assert request["output_config"] == {"effort": "high"}
    assert "thinking" not in request
    assert request["temperature"] == 0.5


def test_blank_stops_and_seed_are_omitted_and_reported() -> None:
    call = fit(stop=["\n", "END", " "], seed=7)
    assert sent(call)["stop_sequences"] == ["END"]
    assert call.adjustments == (
        "The seed was omitted: Anthropic has none",
        "Blank stop sequences were omitted: Anthropic rejects them",
    )
    assert "stop_sequences" not in asked(stop="\n\n")


def test_cap_is_at_most_maximum_of_model() -> None:
    from_client = OutputCap(100_000, is_written=True)
    call = fit("claude-3-haiku", cap=from_client)
    assert sent(call)["max_tokens"] == 4096
    assert call.output is not None
    assert call.output.max_tokens == 4096  # and so is its bound
    assert call.adjustments == ("The output cap was lowered to the model's maximum",)
    assert sent(fit(SONNET_3_7, cap=from_client))["max_tokens"] == 64_000


# --- texts and turns --------------------------------------------------------------------------


def test_blank_texts_and_empty_messages_are_omitted() -> None:
    messages = [
        {"role": "system", "content": "  "},
        user(text(" "), text("Hi"), text("")),
        {"role": "assistant", "content": "\n"},
        {"role": "user", "content": ""},
        {**CALLED, "content": " \n"},
        result("call_1", " "),
        result("call_2", [text(""), text("Noon")]),
    ]
    request = asked(messages=messages, tools=[WEATHER, TIME])
    assert "system" not in request
    first, calls, results = request["messages"]
    assert first == {"role": "user", "content": [{"type": "text", "text": "Hi"}]}
    assert [block["type"] for block in calls["content"]] == ["tool_use", "tool_use"]
    assert [block.get("content") for block in results["content"]] == [
        None,
        [{"type": "text", "text": "Noon"}],
    ]


def test_only_blank_messages_are_refused() -> None:
    sentence = "messages must have a text that is not blank, an image or a file"
    assert refusal(messages=[{"role": "user", "content": " "}]) == sentence
    assert refusal(messages=[user(text("", **MARK))]) == sentence


def test_last_of_only_system_messages_becomes_turn_of_user() -> None:
    system = [{"role": "system", "content": "Be brief"}, {"role": "developer", "content": "Go"}]
    request = asked(messages=system)
    assert request["system"] == "Be brief"
    assert request["messages"] == [{"role": "user", "content": "Go"}]
    assert "system" not in asked(messages=system[:1])


@pytest.mark.parametrize("model", [CLAUDE, PREVIEW, OPUS_5_5])
def test_last_turn_of_assistant_is_followed_by_one_of_user(model: str) -> None:
    prefill = [USER, {"role": "assistant", "content": "{"}, {"role": "system", "content": "x"}]
    roles = [turn["role"] for turn in asked(model, messages=prefill)["messages"]]
    assert roles == ["user", "assistant", "user"]


def test_older_model_continues_last_turn_without_space_at_its_end() -> None:
    prefill = [USER, {"role": "assistant", "content": "So: \n"}]
    assert asked(OPUS_4_5, messages=prefill)["messages"][-1]["content"] == "So:"
    parts = [USER, {"role": "assistant", "content": [text("a "), text("b ", **MARK)]}]
    blocks = asked(OPUS_4_5, messages=parts)["messages"][-1]["content"]
    assert [block["text"] for block in blocks] == ["a ", "b"]


def test_native_call_is_fitted_too() -> None:
    turn = Message("assistant", "Yes ")
    call = ProviderCall(
        model=OPUS_5, messages=(turn,), max_output_tokens=100, timeout_s=1, temperature=2.0
    )
    request = sent(fitted(call, "anthropic"))
    assert [each["role"] for each in request["messages"]] == ["assistant", "user"]
    assert "temperature" not in request


# --- tool calls and results -------------------------------------------------------------------


def turns_of(*messages: Any, **fields: Any) -> list[Any]:
    """Return the turns, each as its role and its blocks: texts, ids of calls and of results."""
    return [
        (turn["role"], [_short(block) for block in turn["content"]])
        for turn in asked(messages=[*messages], tools=[WEATHER], **fields)["messages"]
        if isinstance(turn["content"], list)
    ]


def _short(block: dict[str, Any]) -> Any:
    if block["type"] == "tool_result":
        return ("of", block["tool_use_id"], block.get("content"))
    return block.get("id") or block.get("text")


def test_reused_ids_become_unique_and_results_follow() -> None:
    turns = turns_of(USER, called("a"), result("a", "1"), called("a"), result("a", "2"), USER)
    assert turns == [
        ("assistant", ["a"]),
        ("user", [("of", "a", "1")]),
        ("assistant", ["a_2"]),
        ("user", [("of", "a_2", "2"), "Weather in Paris?"]),
    ]


def test_ids_that_collide_or_are_empty_become_unique() -> None:
    talk = [
        USER,
        called("a.b", "a_b", "", "é", "a_b"),
        *(result(each, each or "none") for each in ("a_b", "a.b", "a_b", "é", "")),
    ]
    assert turns_of(*talk) == [
        ("assistant", ["a_b", "a_b_2", "tool", "_", "a_b_3"]),
        (
            "user",
            [
                ("of", "a_b_2", "a_b"),
                ("of", "a_b", "a.b"),
                ("of", "a_b_3", "a_b"),
                ("of", "_", "é"),
                ("of", "tool", "none"),
            ],
        ),
    ]


def test_ids_that_anthropic_takes_are_kept_and_not_reported() -> None:
    assert fit(messages=TALK, tools=[WEATHER, TIME]).adjustments == ()


@pytest.mark.parametrize(
    ("messages", "turns"),
    [
        (  # a history that was cut
            [called("a", "b"), result("b", "B"), USER],
            [
                ("assistant", ["a", "b"]),
                ("user", [("of", "b", "B"), ("of", "a", "No result"), "Weather in Paris?"]),
            ],
        ),
        ([called("a")], [("assistant", ["a"]), ("user", [("of", "a", "No result")])]),
        (  # a text before the result
            [called("a"), USER, result("a", "A")],
            [("assistant", ["a"]), ("user", [("of", "a", "A"), "Weather in Paris?"])],
        ),
        (  # a result after the next turn
            [called("a", "b"), result("a", "A"), called("c"), result("b", "B"), result("c", "C")],
            [
                ("assistant", ["a", "b"]),
                ("user", [("of", "a", "A"), ("of", "b", "B")]),
                ("assistant", ["c"]),
                ("user", [("of", "c", "C")]),
            ],
        ),
        (  # two results of a call
            [called("a"), result("a", "1"), result("a", [text("2")])],
            [
                ("assistant", ["a"]),
                ("user", [("of", "a", [text("1"), text("2")])]),
            ],
        ),
    ],
)
def test_every_call_has_one_result_right_after_it(messages: list[Any], turns: list[Any]) -> None:
    assert turns_of(*messages) == turns


def test_names_of_earlier_calls_are_accepted_as_tools() -> None:
    talk = [USER, called("a", name="get.weather für"), result("a")]
    request = asked(messages=talk)
    assert [tool["name"] for tool in request["tools"]] == ["get_weather_f_r"]
    assert request["messages"][1]["content"][0]["name"] == "get_weather_f_r"


# --- images and files -------------------------------------------------------------------------


def part(kind: str, url: str) -> dict[str, Any]:
    if kind == "file":
        return {"type": "file", "file": {"file_data": url, "filename": "a.pdf"}}
    return {"type": "image_url", "image_url": {"url": url}}


def test_documents_become_blocks() -> None:
    pdf = {"file_data": f"data:application/pdf;base64,{PIXEL}", "filename": "f" * 501}
    plain = {"file_data": "data:text/plain;base64,SGVsbG8="}
    far = {"file_data": "https://example.com/a.pdf"}
    files = [{"type": "file", "file": each} for each in (pdf, plain, far)]
    request = asked(messages=[user(*files)])
    base64 = {"type": "base64", "media_type": "application/pdf", "data": PIXEL}
    assert request["messages"][0]["content"] == [
        {"type": "document", "source": base64, "title": "f" * 500},
        {
            "type": "document",
            "source": {"type": "text", "media_type": "text/plain", "data": "Hello"},
        },
        {"type": "document", "source": {"type": "url", "url": "https://example.com/a.pdf"}},
    ]


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (part("image", f"data:image/heic;base64,{PIXEL}"), '"image/heic"'),
        (part("image", "data:image/png;base64,"), "without data"),
        (part("file", "data:application/pdf;base64,"), "without data"),
        ({"type": "input_audio", "input_audio": {"data": PIXEL, "format": "wav"}}, '"audio/wav"'),
    ],
)
def test_media_without_counterpart_is_refused_by_name(given: dict[str, Any], named: str) -> None:
    sentence = refusal(messages=[USER, user(text("Hi"), given)])
    assert sentence.startswith("messages[1].content has")
    assert named in sentence

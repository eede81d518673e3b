"""Chat completions fitted to Gemini's models: turns, files and settings."""

from __future__ import annotations

from typing import Any, Final

import pytest

from gateway.apis.generate.request import config_from, contents_from
from gateway.core.calls import ProviderCall
from gateway.core.usage_bound import OutputCap
from tests.gateway.apis.gemini_calls import FLASH_25, GEMMA, PRO_3, call, refusal, result, turn
from tests.gateway.translating import PICTURE, PIXEL, TIME, USER, WEATHER, fit

FLASH_2: Final = "gemini-2.0-flash"
PRO_25: Final = "gemini-2.5-pro"
FLASH_38: Final = "gemini-3.8-flash"
LITE_35: Final = "gemini-3.5-flash-lite"
PDF: Final = "JVBERi0xLjQK"


def talk(*messages: dict[str, Any], model: str = FLASH_25) -> ProviderCall:
    return fit(model, messages=list(messages), tools=[WEATHER, TIME])


def shape(made: ProviderCall) -> list[tuple[str, list[str]]]:
    """Return the turns: whose each is, and its parts as texts, or as names of calls and results."""
    return [
        (each["role"], [_shown(part) for part in each["parts"]]) for each in contents_from(made)
    ]


def _shown(part: dict[str, Any]) -> str:
    if "function_call" in part:
        return f"call {part['function_call']['id']}"
    if "function_response" in part:
        return f"result {part['function_response']['id']}"
    return str(part.get("text", "file"))


# --- turns ------------------------------------------------------------------------------------


def test_only_system_messages_are_users() -> None:
    made = fit(FLASH_25, messages=[turn("system", "Be brief"), turn("developer", "Say hello")])
    assert shape(made) == [("user", ["Be brief"]), ("user", ["Say hello"])]
    assert "system_instruction" not in config_from(made)
    assert made.adjustments == (
        "The system messages were sent as the user's: there was no other message",
    )


def test_empty_texts_are_omitted() -> None:
    parts = [{"type": "text", "text": text} for text in ("", "a", " ")]
    made = talk(turn("user", ""), turn("user", parts), turn("assistant", ""), turn("user", []))
    assert shape(made) == [("user", ["a", " "])]
    assert len(made.adjustments) == 1


@pytest.mark.parametrize("messages", [[turn("user", "")], [turn("system", ""), turn("user", [])]])
def test_no_content_is_refused(messages: list[Any]) -> None:
    assert refusal(messages=messages) == (
        "messages must have a text that is not empty, an image or a file"
    )


def test_history_that_begins_with_assistant_has_user_before_it() -> None:
    made = talk(turn("system", "Be brief"), call("a"), result("a"), USER)
    assert shape(made)[0] == ("user", ["."])
    assert config_from(made)["system_instruction"] == "Be brief"
    assert len(made.adjustments) == 1


def test_turns_of_assistant_are_merged() -> None:
    made = talk(
        USER, turn("assistant", "Let me see"), call("a"), turn("system", "x"), call("b"),
        result("a"), result("b"), turn("assistant", "Fine"), USER, USER,
    )  # fmt: skip
    question = ("user", ["Weather in Paris?"])
    assert shape(made) == [
        question,
        ("model", ["Let me see", "call a", "call b"]),
        ("user", ["result a", "result b"]),
        ("model", ["Fine"]),
        question,
        question,
    ]


def test_results_are_in_order_of_their_calls() -> None:
    made = talk(USER, call("a", "b"), result("b"), result("a"))
    assert shape(made)[-1] == ("user", ["result a", "result b"])


def test_calls_without_id_get_one_with_their_results() -> None:
    made = talk(USER, call("", ""), result(""), result("", "Rainy"))
    (_, (_, calls), (_, results)) = shape(made)
    ids = [each.removeprefix("call ") for each in calls]
    assert len({*ids}) == 2
    assert all(ids)
    assert [each.removeprefix("result ") for each in results] == ids
    outputs = [part["function_response"]["response"] for part in contents_from(made)[2]["parts"]]
    assert outputs == [{"output": "Sunny"}, {"output": "Rainy"}]


def test_id_that_is_used_again_is_of_nearest_call() -> None:
    made = talk(USER, call("a"), result("a"), call("a", name="get_time"), result("a"))
    names = [
        part["function_response"]["name"]
        for each in contents_from(made)
        for part in each["parts"]
        if "function_response" in part
    ]
    assert names == ["get_weather", "get_time"]


@pytest.mark.parametrize(
    ("messages", "place"),
    [
        ([USER, call("a", "b"), result("a")], "messages[1]"),
        ([USER, call("a")], "messages[1]"),
        ([USER, call("a"), USER, result("a")], "messages[1]"),
        ([USER, call("a"), result("a"), result("a")], "messages[3]"),
        ([USER, call("a"), result("a"), USER, result("a")], "messages[4]"),
    ],
    ids=["of two one", "none", "later", "twice", "twice, later"],
)
def test_calls_without_results_are_refused(messages: list[Any], place: str) -> None:
    assert refusal(messages=messages, tools=[WEATHER]).startswith(f"{place} must be ")


@pytest.mark.parametrize(
    ("model", "goes_on"),
    [
        *((FLASH_2, True), (FLASH_25, True), (PRO_3, True), ("gemini-3.5-flash", True)),
        *((LITE_35, False), (FLASH_38, False), ("gemini-flash-latest", False)),
        *(("gemini-pro-latest", True), ("gemini-4-argon", False)),
    ],
)
def test_models_that_do_not_continue_their_turn_get_one_of_user(model: str, goes_on: bool) -> None:
    made = fit(model, messages=[USER, turn("assistant", "It is")])
    assert shape(made)[-1] == (("model", ["It is"]) if goes_on else ("user", ["Continue."]))
    assert bool(made.adjustments) is not goes_on


def test_old_gemma_gets_instructions_as_users_and_no_signature() -> None:
    signed = call("a", extra_content=None)
    signed["tool_calls"][0]["extra_content"] = {"google": {"thought_signature": "c2ln"}}
    talked = [turn("system", "Be brief"), USER, signed, result("a")]
    made = fit(GEMMA, messages=talked)
    assert shape(made)[0] == ("user", ["Be brief"])
    assert "system_instruction" not in config_from(made)
    assert "signature" not in str(contents_from(made))


# --- files ------------------------------------------------------------------------------------


def test_files_of_users_and_tools_are_sent() -> None:
    pdf = {"type": "file", "file": {"file_data": f"data:application/pdf;base64,{PDF}"}}
    text = {"type": "file", "file": {"file_data": "data:text/plain;base64,SGk=", "filename": "a"}}
    wav = {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}
    mp3 = {"type": "input_audio", "input_audio": {"data": "SUQz", "format": "mp3"}}
    asked = turn("user", [pdf, text, wav, mp3, PICTURE])
    made = talk(asked, call("a"), result("a", [pdf]))
    first, *_, last = contents_from(made)
    kinds = [part["inline_data"]["mime_type"] for part in first["parts"]]
    assert kinds == ["application/pdf", "text/plain", "audio/wav", "audio/mp3", "image/png"]
    assert last["parts"] == [
        {"inline_data": {"data": b"%PDF-1.4\n", "mime_type": "application/pdf"}}
    ]


@pytest.mark.parametrize(
    ("url", "model", "sentence"),
    [
        (f"data:image/gif;base64,{PIXEL}", FLASH_25, 'an image of type "image/gif"'),
        ("https://example.com/a.svg", FLASH_25, 'an image of type "image/svg+xml"'),
        ("https://example.com/a.gif?x", FLASH_25, 'an image of type "image/gif"'),
        ("data:image/png;base64,", FLASH_25, "the image must not be empty"),
        ("https://example.com/a.png", FLASH_2, "an address is not supported"),
        ("https://", FLASH_25, "an address must have a host"),
        (
            "https://GenerativeLanguage.googleapis.com./v1beta/files/x",
            FLASH_25,
            "what is stored at the provider is shared",
        ),
        ("https://www.youtube.com/watch?v=x", FLASH_25, "an address of a video"),
    ],
)
def test_images_that_models_do_not_read_are_refused(url: str, model: str, sentence: str) -> None:
    part = {"type": "image_url", "image_url": {"url": url}}
    found = refusal(model, messages=[USER, turn("user", [part])])
    assert found.startswith("messages[1].content")
    assert sentence in found


# --- settings ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "takes"),
    [(FLASH_25, True), (PRO_3, True), (LITE_35, False), (FLASH_38, False)],
)
def test_temperature_and_top_p_are_omitted_where_model_has_none(model: str, takes: bool) -> None:
    made = fit(model, temperature=0.5, top_p=0.5)
    assert ("temperature" in config_from(made)) is ("top_p" in config_from(made)) is takes
    assert bool(made.adjustments) is not takes


@pytest.mark.parametrize("seed", [0, -1, 2**31 - 1, 2**31, 2**63 - 1, -(2**63)])
def test_seed_is_sent_within_32_bits(seed: int) -> None:
    made = fit(FLASH_25, seed=seed)
    sent = config_from(made)["seed"]
    is_within = -(2**31) <= seed < 2**31
    assert -(2**31) <= sent < 2**31
    assert (sent == seed) is is_within
    assert bool(made.adjustments) is not is_within


def test_penalties_are_sent_where_models_have_them() -> None:
    made = fit(FLASH_2, frequency_penalty=-2, presence_penalty=2)
    config = config_from(made)
    assert (config["frequency_penalty"], config["presence_penalty"]) == (-2, 1.99)
    assert made.adjustments == ("presence_penalty was sent as 1.99",)
    assert refusal(FLASH_25, presence_penalty=0.5).startswith("presence_penalty is not supported")
    none = config_from(fit(FLASH_25, presence_penalty=0, frequency_penalty=0.0))
    assert not {"presence_penalty", "frequency_penalty"} & none.keys()


def test_more_than_five_stops_are_refused() -> None:
    assert "at most 5" in refusal(stop=[*"abcdef"])
    assert config_from(fit(FLASH_25, stop=[*"abcd", "\n"]))["stop_sequences"] == [*"abcd", "\n"]


@pytest.mark.parametrize(
    ("model", "effort", "thinking"),
    [
        (FLASH_25, "none", {"thinking_budget": 0}),
        (PRO_25, "none", {"thinking_budget": 128}),
        (FLASH_25, "max", {"thinking_budget": 24_576}),
        (PRO_25, "max", {"thinking_budget": 32_768}),
        (PRO_3, "medium", {"thinking_level": "HIGH"}),
        (PRO_3, "minimal", {"thinking_level": "LOW"}),
        ("gemini-3.1-pro-preview", "medium", {"thinking_level": "MEDIUM"}),
        ("gemini-3-flash-preview", "none", {"thinking_level": "MINIMAL"}),
        (LITE_35, "minimal", {"thinking_level": "MINIMAL"}),
        (FLASH_38, "minimal", {"thinking_level": "LOW"}),
        (FLASH_38, "max", {"thinking_level": "HIGH"}),
        ("gemini-flash-latest", "none", {"thinking_level": "LOW"}),
    ],
)
def test_effort_is_nearest_that_model_has(model: str, effort: str, thinking: Any) -> None:
    made = fit(model, cap=OutputCap(65_000, is_written=True), reasoning_effort=effort)
    assert config_from(made)["thinking_config"] == thinking
    assert bool(made.adjustments) is (effort == "none" and model != FLASH_25)

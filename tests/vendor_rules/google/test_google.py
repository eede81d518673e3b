"""The checker of Gemini's rules: what it accepts, and what it refuses."""

from __future__ import annotations

from typing import Any, Final

import pytest

from tests.vendor_rules.google.body import faults

FLASH_2: Final = "gemini-2.0-flash"
FLASH_25: Final = "gemini-2.5-flash"
PRO_25: Final = "gemini-2.5-pro"
PRO_3: Final = "gemini-3-pro-preview"
FLASH_38: Final = "gemini-3.8-flash"
LITE_35: Final = "gemini-3.5-flash-lite"

HELLO: Final = {"role": "user", "parts": [{"text": "Hello"}]}
MODEL: Final = {"role": "model", "parts": [{"text": "Hi"}]}
SIGNED: Final = "c2lnbmVk"
PICTURE: Final = {"inlineData": {"mimeType": "image/png", "data": "aGk="}}
WEATHER: Final = {"functionDeclarations": [{"name": "weather", "description": "It"}]}


def _call(name: str = "weather", call_id: str = "1", **more: Any) -> dict[str, Any]:
    return {"functionCall": {"id": call_id, "name": name, "args": {}}, **more}


def _result(name: str = "weather", call_id: str = "1") -> dict[str, Any]:
    return {"functionResponse": {"id": call_id, "name": name, "response": {"output": "sun"}}}


def _model(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"role": "model", "parts": list(parts)}


def _user(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "parts": list(parts)}


def _turns(*contents: dict[str, Any]) -> dict[str, Any]:
    return {"contents": list(contents)}


def _with(**fields: Any) -> dict[str, Any]:
    return {"contents": [HELLO], **fields}


def _set(**settings: Any) -> dict[str, Any]:
    return _with(generationConfig=settings)


def _thinks(**thinking: Any) -> dict[str, Any]:
    return _set(thinkingConfig=thinking)


def _declares(**declaration: Any) -> dict[str, Any]:
    return _with(tools=[{"functionDeclarations": [{"name": "weather", **declaration}]}])


def _takes(schema: object) -> dict[str, Any]:
    return _declares(parametersJsonSchema=schema)


def _answers(schema: object) -> dict[str, Any]:
    return _set(responseMimeType="application/json", responseJsonSchema=schema)


def _chooses(**calling: Any) -> dict[str, Any]:
    return _with(tools=[WEATHER], toolConfig={"functionCallingConfig": calling})


ANY_SCHEMA: Final = {
    "type": "object",
    "properties": {
        "at": {"$ref": "#/$defs/Place"},
        "how": {"type": ["string", "null"], "enum": ["", 1, None]},
        "list": {"type": "array"},
        "other": {"const": 1, "not": {}, "allOf": [True], "exclusiveMinimum": 0},
    },
    "required": ["at"],
    "additionalProperties": False,
    "$defs": {"Place": {"type": "object", "properties": {"in": {"$ref": "#/$defs/Place"}}}},
}
UNDEFINED: Final = {"properties": {"a": {"$ref": "#/$defs/A"}}}
REQUIRES_ITSELF: Final = {
    "$ref": "#/$defs/A",
    "$defs": {"A": {"properties": {"a": {"$ref": "#/$defs/A"}}, "required": ["a"]}},
}

ACCEPTED: Final = {
    "one turn": (_turns(HELLO), FLASH_25),
    "a turn without a role": (_turns({"parts": [{"text": "Hello"}]}), FLASH_25),
    "turns of one role after each other": (_turns(HELLO, HELLO, MODEL, MODEL, HELLO), FLASH_38),
    "a picture": (_turns(_user({"text": "What?"}, PICTURE)), FLASH_25),
    "a picture at an address": (
        _turns(_user({"fileData": {"fileUri": "https://a.b/c", "mimeType": "image/png"}})),
        FLASH_25,
    ),
    "a video at YouTube": (
        _turns(_user({"fileData": {"fileUri": "https://youtu.be/x"}})),
        FLASH_2,
    ),
    "calls and results": (
        _turns(HELLO, _model(_call(), _call(call_id="2")), _user(_result(), _result(call_id="2"))),
        FLASH_25,
    ),
    "calls after results": (
        _turns(HELLO, _model(_call()), _user(_result()), _model(_call()), _user(_result())),
        FLASH_25,
    ),
    "results without ids": (
        _turns(HELLO, _model(_call()), _user(_result(call_id=""))),
        FLASH_25,
    ),
    "text before results": (
        _turns(HELLO, _model(_call(thoughtSignature=SIGNED)), _user({"text": "Here"}, _result())),
        PRO_3,
    ),
    "a signature of the first of two calls": (
        _turns(
            HELLO,
            _model(_call(thoughtSignature=SIGNED), _call(call_id="2")),
            _user(_result(), _result(call_id="2")),
        ),
        FLASH_38,
    ),
    "no signature in an earlier turn": (
        _turns(HELLO, _model(_call()), _user(_result()), MODEL, HELLO),
        FLASH_38,
    ),
    "an empty text with a signature": (
        _turns(HELLO, _model({"text": "", "thoughtSignature": SIGNED}), HELLO),
        FLASH_38,
    ),
    "the model's own turn continued": (_turns(HELLO, MODEL), "gemini-3.5-flash"),
    "a system instruction": (_with(systemInstruction={"parts": [{"text": "Be"}]}), FLASH_25),
    "a function without parameters": (_with(tools=[WEATHER]), FLASH_25),
    "a name of 128 characters": (_declares(name="a.b:c-d_" * 16), FLASH_25),
    "any JSON Schema for a function": (_takes(ANY_SCHEMA), FLASH_25),
    "any JSON Schema for an answer": (_answers(ANY_SCHEMA), FLASH_25),
    "one function of some": (_chooses(mode="ANY", allowedFunctionNames=["weather"]), FLASH_25),
    "valid calls": (_chooses(mode="VALIDATED"), FLASH_38),
    "functions with JSON": (
        _with(tools=[WEATHER], generationConfig={"responseMimeType": "application/json"}),
        PRO_3,
    ),
    "functions with a built-in tool": (
        _with(
            tools=[WEATHER, {"googleSearch": {}}],
            toolConfig={"includeServerSideToolInvocations": True},
        ),
        FLASH_38,
    ),
    "settings at their limits": (
        _set(
            temperature=2,
            topP=1,
            seed=-(2**31),
            stopSequences=["a"] * 5,
            maxOutputTokens=1,
            candidateCount=8,
            presencePenalty=0,
        ),
        FLASH_25,
    ),
    "a penalty": (_set(frequencyPenalty=-2), FLASH_2),
    "no thoughts": (_thinks(thinkingBudget=0), FLASH_25),
    "the least of thoughts": (_thinks(thinkingBudget=128), PRO_25),
    "thoughts as the model likes": (_thinks(thinkingBudget=-1), PRO_25),
    "a level": (_thinks(thinkingLevel="low", includeThoughts=True), FLASH_38),
    "the least level": (_thinks(thinkingLevel="MINIMAL"), LITE_35),
    "safety settings": (
        _with(safetySettings=[{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}]),
        FLASH_25,
    ),
}

REFUSED: Final = {
    "an unknown field": (_with(messages=[]), FLASH_25),
    "a field of another case": (_with(generation_config={}), FLASH_25),
    "a wrong type": ({"contents": ["Hello"]}, FLASH_25),
    "no contents": ({"contents": []}, FLASH_25),
    "a system instruction alone": ({"systemInstruction": {"parts": [{"text": "Be"}]}}, FLASH_25),
    "no parts": (_turns({"role": "user", "parts": []}), FLASH_25),
    "another role": (_turns({"role": "tool", "parts": [{"text": "Hello"}]}), FLASH_25),
    "an empty text": (_turns(_user({"text": ""})), FLASH_25),
    "an empty part": (_turns(_user({})), FLASH_25),
    "two kinds in a part": (_turns(_user({"text": "Hello", **PICTURE})), FLASH_25),
    "an unknown field of a part": (_turns(_user({"text": "Hello", "type": "text"})), FLASH_25),
    "data that is no base64": (
        _turns(_user({"inlineData": {"mimeType": "image/png", "data": "%"}})),
        FLASH_25,
    ),
    "a GIF": (_turns(_user({"inlineData": {"mimeType": "image/gif", "data": "aGk="}})), FLASH_25),
    "a picture at an address for 2.0": (
        _turns(_user({"fileData": {"fileUri": "https://a.b/c", "mimeType": "image/png"}})),
        FLASH_2,
    ),
    "a picture at an open address": (
        _turns(_user({"fileData": {"fileUri": "http://a.b/c", "mimeType": "image/png"}})),
        FLASH_25,
    ),
    "a picture at an address without a type": (
        _turns(_user({"fileData": {"fileUri": "https://a.b/c"}})),
        FLASH_25,
    ),
    "a call without a name": (_turns(HELLO, _model(_call("")), _user(_result(""))), FLASH_25),
    "a call whose arguments are no object": (
        _turns(HELLO, _model({"functionCall": {"name": "weather", "args": "{}"}})),
        FLASH_25,
    ),
    "a result that is no object": (
        _turns(
            HELLO,
            _model(_call()),
            _user({"functionResponse": {"name": "weather", "response": "sun"}}),
        ),
        FLASH_25,
    ),
    "the model's turn first": (_turns(MODEL, HELLO), FLASH_25),
    "a call first": (_turns(_model(_call()), _user(_result())), FLASH_25),
    "a call after the model's turn": (
        _turns(HELLO, MODEL, _model(_call()), _user(_result())),
        FLASH_25,
    ),
    "a call of the user's": (_turns(HELLO, _user(_call()), _user(_result())), FLASH_25),
    "a result of the model's": (_turns(HELLO, _model(_call()), _model(_result())), FLASH_25),
    "a result without its call": (_turns(HELLO, _user(_result())), FLASH_25),
    "a result later than its call": (
        _turns(HELLO, _model(_call()), HELLO, _user(_result())),
        FLASH_25,
    ),
    "results in two turns": (
        _turns(
            HELLO,
            _model(_call(), _call(call_id="2")),
            _user(_result()),
            _user(_result(call_id="2")),
        ),
        FLASH_25,
    ),
    "a call without its result": (_turns(HELLO, _model(_call()), HELLO), FLASH_25),
    "a result of another name": (
        _turns(HELLO, _model(_call()), _user(_result("time"))),
        FLASH_25,
    ),
    "a result of another id": (
        _turns(HELLO, _model(_call()), _user(_result(call_id="2"))),
        FLASH_25,
    ),
    "a result without the id of its call": (
        _turns(HELLO, _model(_call(thoughtSignature=SIGNED)), _user(_result(call_id=""))),
        FLASH_38,
    ),
    "the model's turn last": (_turns(HELLO, MODEL), FLASH_38),
    "the model's turn last, for the newest": (_turns(HELLO, MODEL), "gemini-flash-latest"),
    "text after results": (
        _turns(HELLO, _model(_call(thoughtSignature=SIGNED)), _user(_result(), {"text": "Here"})),
        PRO_3,
    ),
    "a call without a signature": (_turns(HELLO, _model(_call()), _user(_result())), FLASH_38),
    "an earlier step without a signature": (
        _turns(
            HELLO,
            _model(_call()),
            _user(_result()),
            _model(_call(thoughtSignature=SIGNED)),
            _user(_result()),
        ),
        FLASH_38,
    ),
    "an empty system instruction": (_with(systemInstruction={"parts": [{"text": ""}]}), FLASH_25),
    "a system instruction for Gemma 3": (
        _with(systemInstruction={"parts": [{"text": "Be"}]}),
        "gemma-3-27b-it",
    ),
    "functions for Gemma 3": (_with(tools=[WEATHER]), "gemma-3-27b-it"),
    "no functions in a tool": (_with(tools=[{"functionDeclarations": []}]), FLASH_25),
    "an unknown tool": (_with(tools=[{"type": "function"}]), FLASH_25),
    "a name that begins with a digit": (_declares(name="1st"), FLASH_25),
    "a name that begins with a dash": (_declares(name="-a"), FLASH_25),
    "a name of 129 characters": (_declares(name="a" * 129), FLASH_25),
    "a name with a blank": (_declares(name="a b"), FLASH_25),
    "a name twice": (_with(tools=[WEATHER, WEATHER]), FLASH_25),
    "an unknown field of a function": (_declares(strict=True), FLASH_25),
    "two schemas for a function": (
        _declares(parameters={"type": "object"}, parametersJsonSchema={"type": "object"}),
        FLASH_25,
    ),
    "parameters that are no object": (_takes({"type": "string"}), FLASH_25),
    "an undefined schema of a function": (_takes(UNDEFINED), FLASH_25),
    "an undefined schema of an answer": (_answers(UNDEFINED), FLASH_25),
    "a schema outside of OpenAPI's": (_declares(parameters={"type": ["object"]}), FLASH_25),
    "an answer that requires itself": (_answers(REQUIRES_ITSELF), FLASH_25),
    "a schema without JSON": (_set(responseJsonSchema={"type": "object"}), FLASH_25),
    "two schemas for an answer": (
        _set(
            responseMimeType="application/json",
            responseSchema={"type": "object"},
            responseJsonSchema={"type": "object"},
        ),
        FLASH_25,
    ),
    "functions with JSON for 2.5": (
        _with(tools=[WEATHER], generationConfig={"responseMimeType": "application/json"}),
        FLASH_25,
    ),
    "functions with a built-in tool for 2.5": (
        _with(tools=[WEATHER, {"googleSearch": {}}]),
        FLASH_25,
    ),
    "functions with a built-in tool and no setting": (
        _with(tools=[WEATHER, {"googleSearch": {}}]),
        FLASH_38,
    ),
    "a choice without functions": (
        _with(toolConfig={"functionCallingConfig": {"mode": "NONE"}}),
        FLASH_25,
    ),
    "an unknown mode": (_chooses(mode="required"), FLASH_25),
    "allowed functions in another mode": (
        _chooses(mode="AUTO", allowedFunctionNames=["weather"]),
        FLASH_25,
    ),
    "an allowed function that is not declared": (
        _chooses(mode="ANY", allowedFunctionNames=["time"]),
        FLASH_25,
    ),
    "an unknown setting": (_set(n=1), FLASH_25),
    "a temperature above 2": (_set(temperature=2.1), FLASH_25),
    "a topP above 1": (_set(topP=1.1), FLASH_25),
    "a seed above 31 bits": (_set(seed=2**31), FLASH_25),
    "a broken seed": (_set(seed=1.5), FLASH_25),
    "six stop sequences": (_set(stopSequences=["a"] * 6), FLASH_25),
    "no output": (_set(maxOutputTokens=0), FLASH_25),
    "nine answers": (_set(candidateCount=9), FLASH_25),
    "two answers": (_set(candidateCount=2), FLASH_38),
    "a penalty of 2": (_set(presencePenalty=2), FLASH_2),
    "a penalty for 2.5": (_set(presencePenalty=0.1), FLASH_25),
    "probabilities that are not requested": (_set(logprobs=1), FLASH_25),
    "another form of answer": (_set(responseMimeType="text/html"), FLASH_25),
    "thoughts of 2.0": (_thinks(thinkingBudget=1024), FLASH_2),
    "thoughts of Gemma": (_thinks(thinkingLevel="HIGH"), "gemma-4-31b-it"),
    "a level for 2.5": (_thinks(thinkingLevel="LOW"), FLASH_25),
    "a level and a budget": (_thinks(thinkingLevel="LOW", thinkingBudget=1024), FLASH_38),
    "a medium level for 3 Pro": (_thinks(thinkingLevel="MEDIUM"), PRO_3),
    "the least level for 3.8": (_thinks(thinkingLevel="MINIMAL"), FLASH_38),
    "an unknown level": (_thinks(thinkingLevel="XHIGH"), "gemini-4-argon"),
    "no thoughts of Pro": (_thinks(thinkingBudget=0), PRO_25),
    "no thoughts of 3 Pro": (_thinks(thinkingBudget=0), PRO_3),
    "too few thoughts of Flash-Lite": (_thinks(thinkingBudget=511), "gemini-2.5-flash-lite"),
    "too many thoughts of Flash": (_thinks(thinkingBudget=24_577), FLASH_25),
    "a negative budget": (_thinks(thinkingBudget=-2), FLASH_25),
    "an unknown category": (
        _with(safetySettings=[{"category": "HARM_CATEGORY_TOXICITY", "threshold": "OFF"}]),
        FLASH_25,
    ),
    "a category twice": (
        _with(safetySettings=[{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "OFF"}] * 2),
        FLASH_25,
    ),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_body_is_accepted(name: str) -> None:
    assert faults(*ACCEPTED[name]) == []


@pytest.mark.parametrize("name", REFUSED)
def test_body_is_refused(name: str) -> None:
    assert faults(*REFUSED[name])

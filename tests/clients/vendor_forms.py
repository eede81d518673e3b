"""A translated request in each vendor's format, as received by the fake provider."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from anthropic.types.message_create_params import MessageCreateParamsNonStreaming
from google.genai import types
from mistralai.client.models import ChatCompletionRequest, ChatCompletionStreamRequest

TRANSLATED: Final = ("anthropic", "google", "mistral")
_GOOGLE_FIELDS: Final = {
    *("contents", "systemInstruction", "generationConfig", "tools", "toolConfig"),
    *("safetySettings", "cachedContent", "labels", "serviceTier", "store"),
}


def assert_is_the_vendors(vendor: str, call: Mapping[str, Any]) -> None:
    """Assert that the body has only fields that the vendor knows."""
    body = call["body"]
    match vendor:
        case "anthropic":
            params = MessageCreateParamsNonStreaming
            known = params.__required_keys__ | params.__optional_keys__
            # Its newest version has no temperature; the version that is asked for has.
            assert set(body) <= known | {"temperature"}
            assert params.__required_keys__ <= set(body)
            assert all(turn["role"] in {"user", "assistant"} for turn in body["messages"])
        case "google":
            assert set(body) <= _GOOGLE_FIELDS
            types.GenerationConfig.model_validate(body.get("generationConfig", {}))
            for content in body["contents"]:
                assert types.Content.model_validate(content).role in {"user", "model"}
        case "mistral":
            request = ChatCompletionStreamRequest if body.get("stream") else ChatCompletionRequest
            assert set(body) <= set(request.model_fields)
            request.model_validate(body)


def image_in(vendor: str, body: Mapping[str, Any]) -> tuple[str, str]:
    """Return the type and the base64 data of the one image in the last message."""
    match vendor:
        case "anthropic":
            blocks = body["messages"][-1]["content"]
            [source] = [block["source"] for block in blocks if block["type"] == "image"]
            return source["media_type"], source["data"]
        case "google":
            parts = body["contents"][-1]["parts"]
            [inline] = [part["inlineData"] for part in parts if "inlineData" in part]
            # Google's own client writes this field so; the vendor takes both spellings.
            data = inline["data"].replace("-", "+").replace("_", "/")
            return inline.get("mimeType") or inline["mime_type"], data
        case _:
            [url] = [
                part["image_url"]
                for part in body["messages"][-1]["content"]
                if part["type"] == "image_url"
            ]
            head, _, data = (url if isinstance(url, str) else url["url"]).partition(";base64,")
            return head.removeprefix("data:"), data


def schema_in(vendor: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the response schema."""
    schema: Mapping[str, Any]
    match vendor:
        case "anthropic":
            format_ = body["output_config"]["format"]
            assert format_["type"] == "json_schema"
            schema = format_["schema"]
        case "google":
            config = body["generationConfig"]
            assert config["responseMimeType"] == "application/json"
            schema = config.get("responseJsonSchema") or config["responseSchema"]
        case _:
            asked = body["response_format"]["json_schema"]
            schema = asked.get("schema") or asked["schema_definition"]
    return schema


def tool_in(vendor: str, body: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Return the name and the parameters of the one tool."""
    [tool] = body["tools"]
    match vendor:
        case "anthropic":
            return tool["name"], tool["input_schema"]
        case "google":
            [declared] = tool["functionDeclarations"]
            # As above: Google's own client writes the second.
            spellings = ("parametersJsonSchema", "parameters_json_schema", "parameters")
            return declared["name"], next(declared[each] for each in spellings if each in declared)
        case _:
            return tool["function"]["name"], tool["function"]["parameters"]


def choice_in(vendor: str, body: Mapping[str, Any]) -> Any:
    """Return the tool choice."""
    if vendor == "google":
        return body["toolConfig"]["functionCallingConfig"]["mode"]
    choice = body["tool_choice"]
    return choice["type"] if vendor == "anthropic" else choice


def tool_answer_in(vendor: str, body: Mapping[str, Any]) -> tuple[str, str]:
    """Return the tool result of the last message: the id (Google: the name) and the content."""
    match vendor:
        case "anthropic":
            [block] = body["messages"][-1]["content"]
            content = block["content"]
            text = content if isinstance(content, str) else content[0]["text"]
            return block["tool_use_id"], text
        case "google":
            [part] = body["contents"][-1]["parts"]
            answered = part["functionResponse"]
            [text] = answered["response"].values()
            return answered["name"], text
        case _:
            turn = body["messages"][-1]
            return turn["tool_call_id"], turn["content"]


def knobs_in(vendor: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the cap, the temperature and the stop words."""
    match vendor:
        case "anthropic":
            names = ("max_tokens", "temperature", "stop_sequences")
        case "google":
            body = body["generationConfig"]
            names = ("maxOutputTokens", "temperature", "stopSequences")
        case _:
            names = ("max_tokens", "temperature", "stop")
    return dict(zip(("cap", "temperature", "stop"), (body[name] for name in names), strict=True))

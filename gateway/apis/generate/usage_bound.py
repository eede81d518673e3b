"""What a request to Google's generateContent can use at most, read off its body.

https://ai.google.dev/api/generate-content. Google takes every field in two spellings,
`maxOutputTokens` and `max_output_tokens`, so bodies are brought to the first one to be judged.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from gateway.apis.arrival import others, refuse, text_of, whole
from gateway.apis.chat.usage_bound import CHOICES_MAX, Measure
from gateway.apis.generate.spelling import in_camel_case
from gateway.apis.generate.tools import needs_of
from gateway.core.request_body import MESSAGES_MAX, invalid
from gateway.core.strict_json import quoted
from gateway.core.usage_bound import UsageBound

TOP: Final = frozenset(
    {
        *("cachedContent", "contents", "continuationToken", "generateContentRequest"),
        *("generationConfig", "model", "safetySettings", "serviceTier", "store"),
        *("systemInstruction", "toolConfig", "tools"),
    }
)
_CONFIG: Final = frozenset(
    {
        *("candidateCount", "maxOutputTokens", "modelSelectionConfig", "responseModalities"),
        *("routingConfig", "stopSequences", "thinkingConfig", "topK", "topP"),
        *("frequencyPenalty", "presencePenalty", "mediaResolution", "responseLogprobs"),
        "responseMimeType",
    }
)
_CONTENT: Final = frozenset({"parts", "role"})
_PART: Final = frozenset(
    {
        *("codeExecutionResult", "executableCode", "fileData", "functionCall"),
        *("functionResponse", "inlineData", "mediaResolution", "text", "thought"),
        *("thoughtSignature", "videoMetadata"),
    }
)
# Beside these, whatever a body has is counted as a prompt.
_NO_PROMPT_TOP: Final = frozenset(
    {
        *("contents", "generationConfig", "model", "safetySettings", "serviceTier", "store"),
        *("systemInstruction", "tools"),
    }
)
_NO_PROMPT_CONFIG: Final = frozenset(
    {
        *("candidateCount", "frequencyPenalty", "logprobs", "maxOutputTokens"),
        *("mediaResolution", "presencePenalty", "responseLogprobs", "responseMimeType"),
        *("responseModalities", "seed", "stopSequences", "temperature", "thinkingConfig"),
        *("topK", "topP"),
    }
)
_TEXT_PARTS: Final = frozenset(
    {"codeExecutionResult", "executableCode", "functionCall", "text", "thoughtSignature"}
)
_NO_PROMPT_PART: Final = frozenset({"thought", "mediaResolution", "videoMetadata"})

STORED: Final = (
    "Files kept at the provider belong to the whole installation, so they are not taken; "
    "send the data inline"
)
_SENTENCES: Final = {
    "cachedContent": (
        "Contents cached at the provider belong to the whole installation and cost by the hour, "
        "so cachedContent is not taken"
    ),
    "continuationToken": (
        "Answers kept at the provider belong to the whole installation, so continuationToken is "
        "not taken"
    ),
}
_CONFIG_SENTENCES: Final = dict.fromkeys(
    ("modelSelectionConfig", "routingConfig"),
    "A request goes to the model that it names; leave the choice of another one out",
)
_MODALITIES: Final = frozenset({"TEXT", "AUDIO", "MODALITY_UNSPECIFIED"})
_STANDARD_TIERS: Final = (None, "standard", "STANDARD", "unspecified", "SERVICE_TIER_UNSPECIFIED")
# The one place outside that Google reads without the installation's own rights.
_PUBLIC: Final = re.compile(r"https://(?:(?:www\.|m\.)?youtube\.com|youtu\.be)/")


def spelled(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return a body with its own fields and those of its generationConfig in one spelling."""
    body = in_camel_case(fields, TOP)
    config = body.get("generationConfig")
    if config is None:
        return body
    if not isinstance(config, dict):
        raise invalid("generationConfig is an object")
    return {**body, "generationConfig": in_camel_case(config, _CONFIG)}


def usage_bound_of(body: Mapping[str, Any]) -> UsageBound:
    """Return the measure of a body as `spelled` returns it. Raises Refused."""
    refuse(body, _SENTENCES)
    if body.get("serviceTier") not in _STANDARD_TIERS:
        raise invalid("serviceTier could change the price; only standard is offered")
    config: Mapping[str, Any] = body.get("generationConfig") or {}
    refuse(config, _CONFIG_SENTENCES)
    measure = Measure()
    contents = _each(body.get("contents"))
    if not contents:
        raise invalid("contents is a list of at least one content")
    if len(contents) > MESSAGES_MAX:
        raise invalid(f"contents has at most {MESSAGES_MAX} contents")
    for index, content in enumerate(contents):
        _read_content(measure, content, f"contents[{index}]")
    if body.get("systemInstruction") is not None:
        _read_content(measure, body["systemInstruction"], "systemInstruction")
    needs = needs_of(_each(body.get("tools")))
    cap, choices = whole(config, "maxOutputTokens"), _choices(config)
    return UsageBound(
        texts=(
            *measure.texts,
            *needs.texts,
            *others(body, _NO_PROMPT_TOP),
            *others(config, _NO_PROMPT_CONFIG),
        ),
        messages=len(contents) + 1,
        overhead_tokens=needs.overhead_tokens,
        images=measure.images,
        media_bytes=measure.media_bytes,
        context_reads=max(measure.context_reads, needs.context_reads),
        searches=needs.searches,
        buckets=frozenset(measure.buckets | _buckets_out(config)),
        max_output_tokens=cap,
        more_output_tokens=_thinking_above(config, cap) * choices,
        choices=choices,
        unbounded=needs.unbounded,
    )


def _each(value: object) -> list[Any]:
    """Return what Google takes for a list: one, or what could be its only element."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _choices(config: Mapping[str, Any]) -> int:
    choices = whole(config, "candidateCount") or 1
    if choices > CHOICES_MAX:
        raise invalid(f"candidateCount is a whole number from 1 to {CHOICES_MAX}")
    return choices


def _buckets_out(config: Mapping[str, Any]) -> set[str]:
    """Return the buckets of what is not text in the answer. Pictures have no rate here."""
    asked = _each(config.get("responseModalities"))
    named = {each.upper() for each in asked if isinstance(each, str)}
    if len(asked) > len(_MODALITIES) or any(not isinstance(each, str) for each in asked):
        raise invalid("responseModalities is a list of TEXT and AUDIO")
    if named - _MODALITIES:
        raise invalid("Only text and sound are answered here; pictures and films are not offered")
    return {"output_audio"} if "AUDIO" in named else set()


def _thinking_above(config: Mapping[str, Any], cap: int | None) -> int:
    """Return a thinking budget that the cap does not hold; as a rule the cap holds thoughts too."""
    thinking = config.get("thinkingConfig")
    if thinking is None:
        return 0
    if not isinstance(thinking, dict):
        raise invalid("thinkingConfig is an object")
    budget = whole(in_camel_case(thinking, {"thinkingBudget"}), "thinkingBudget", least=-1) or 0
    return budget if cap is not None and budget > cap else 0


def _read_content(measure: Measure, content: object, where: str) -> None:
    if not isinstance(content, dict):
        raise invalid(f"{where} is an object with role and parts")
    named = in_camel_case(content, _CONTENT)
    for index, part in enumerate(_each(named.get("parts"))):
        _read_part(measure, part, f"{where}.parts[{index}]")
    measure.texts += others(named, _CONTENT)


def _read_part(measure: Measure, part: object, where: str) -> None:
    if not isinstance(part, dict):
        raise invalid(f"{where} is an object")
    for name, value in in_camel_case(part, _PART).items():
        if value is None or name in _NO_PROMPT_PART:
            continue
        if name == "inlineData":
            _read_data(measure, value, f"{where}.inlineData")
        elif name == "fileData":
            _read_file(measure, value, f"{where}.fileData")
        elif name == "functionResponse":
            _read_function_response(measure, value, f"{where}.functionResponse")
        else:
            measure.texts.append(text_of(value))
            if name not in _TEXT_PARTS:  # whatever it is, it fits in the model's context
                measure.context_reads = max(measure.context_reads, 1)


def _read_data(measure: Measure, data: object, where: str) -> None:
    """Take in what is sent inline, by its type: a picture, a sound, or something else."""
    if not isinstance(data, dict):
        raise invalid(f"{where} is an object with mimeType and data")
    named = in_camel_case(data, {"mimeType"})
    kind = named.get("mimeType")
    family = kind.partition("/")[0].strip().lower() if isinstance(kind, str) else ""
    if family == "image":
        measure.image()
    elif family == "audio":
        measure.media(named.get("data"), bucket="input_audio")
    else:
        # A film has as many tokens as seconds, or as frames where it says so, and one that stands
        # still has few bytes; pages are read as pictures. All of it fits in the model's context.
        measure.buckets |= {"input_audio", "input_image"}
        measure.context_reads = max(measure.context_reads, 1)


def _read_file(measure: Measure, file: object, where: str) -> None:
    """Take in what Google fetches: a public film. All else is reached by the installation's key."""
    named = in_camel_case(file, {"fileUri"}) if isinstance(file, dict) else {}
    uri = named.get("fileUri")
    if not isinstance(uri, str):
        raise invalid(f"{where} is an object with fileUri")
    if _PUBLIC.match(uri) is None:
        raise invalid(f"{STORED} instead of {quoted(uri)}")
    measure.buckets |= {"input_audio", "input_image"}
    measure.context_reads = max(measure.context_reads, 1)


def _read_function_response(measure: Measure, response: object, where: str) -> None:
    if not isinstance(response, dict):
        raise invalid(f"{where} is an object")
    for index, part in enumerate(_each(response.get("parts"))):
        _read_part(measure, part, f"{where}.parts[{index}]")
    measure.texts += others(response, ("parts",))

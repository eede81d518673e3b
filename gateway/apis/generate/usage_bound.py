"""The maximum usage of a generateContent request, read from its body.

https://ai.google.dev/api/generate-content. Google accepts every field in two
spellings, `maxOutputTokens` and `max_output_tokens`, so bodies are normalized to the first one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from gateway.apis.arrival import others, refuse, text_of, whole, word_in
from gateway.apis.body_rules import STORED, BodyRules
from gateway.apis.chat.usage_bound import CHOICES_MAX, Measure
from gateway.apis.documents import PDF, pages_of
from gateway.apis.generate.answer import tier_named
from gateway.apis.generate.spelling import in_camel_case
from gateway.apis.generate.tools import needs_of
from gateway.core.request_body import MESSAGES_MAX, invalid
from gateway.core.usage_bound import OutputLimits, UsageBound
from orgs.core.values import quoted

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
# Every other field of a body is counted as prompt.
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

_PARTS: Final = "contents.parts"
RULES: Final = BodyRules(
    ids=(
        *(f"{_PARTS}.functionCall.id", f"{_PARTS}.functionResponse.id"),
        *(f"{_PARTS}.toolCall.id", f"{_PARTS}.toolResponse.id"),
        *(f"{_PARTS}.executableCode.id", f"{_PARTS}.codeExecutionResult.id"),
        # Only addresses of public videos, where these are read.
        *(f"{_PARTS}.fileData.fileUri", f"{_PARTS}.functionResponse.parts.fileData.fileUri"),
        "systemInstruction.parts.fileData.fileUri",
    ),
    own=(
        *(f"{_PARTS}.functionCall.args", f"{_PARTS}.functionResponse.response"),
        *(f"{_PARTS}.toolCall.args", f"{_PARTS}.toolResponse.response"),
        *(f"{_PARTS}.partMetadata", "labels"),
        *("generationConfig.responseSchema", "generationConfig.responseJsonSchema"),
        *(
            f"tools.functionDeclarations.{name}"
            for name in ("parameters", "parametersJsonSchema", "response", "responseJsonSchema")
        ),
    ),
)
_SENTENCES: Final = {
    "cachedContent": (
        "cachedContent is not supported: contents cached at the provider are shared by the whole "
        "installation and billed by the hour"
    ),
    "continuationToken": (
        "continuationToken is not supported: answers stored at the provider are shared by the "
        "whole installation"
    ),
}
_CONFIG_SENTENCES: Final = dict.fromkeys(
    ("modelSelectionConfig", "routingConfig"),
    "Choosing another model than the one in the path is not supported; remove this field",
)
# What Google reads as one image: https://ai.google.dev/gemini-api/docs/image-understanding
_IMAGES: Final = frozenset(
    f"image/{name}" for name in ("heic", "heif", "jpeg", "jpg", "png", "webp")
)
_MODALITIES: Final = frozenset({"TEXT", "AUDIO", "MODALITY_UNSPECIFIED"})
# The only outside source that Google reads without the installation's credentials.
_PUBLIC: Final = re.compile(r"https://(?:(?:www\.|m\.)?youtube\.com|youtu\.be)/")


def spelled(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return a body with its own fields and those of its generationConfig in one spelling."""
    body = in_camel_case(fields, TOP)
    config = body.get("generationConfig")
    if config is None:
        return body
    if not isinstance(config, dict):
        raise invalid("generationConfig must be an object")
    return {**body, "generationConfig": in_camel_case(config, _CONFIG)}


def usage_bound_of(body: Mapping[str, Any]) -> UsageBound:
    """Return the usage bound of a body as `spelled` returns it. Raises Refused."""
    refuse(body, _SENTENCES)
    config: Mapping[str, Any] = body.get("generationConfig") or {}
    refuse(config, _CONFIG_SENTENCES)
    measure = Measure()
    contents = _each(body.get("contents"))
    if not contents:
        raise invalid("contents must not be empty")
    if len(contents) > MESSAGES_MAX:
        raise invalid(f"contents must have at most {MESSAGES_MAX} contents")
    for index, content in enumerate(contents):
        _read_content(measure, content, f"contents[{index}]")
    if body.get("systemInstruction") is not None:
        _read_content(measure, body["systemInstruction"], "systemInstruction")
    needs = needs_of(tools_in(body))
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
        pages=measure.pages,
        context_reads=max(measure.context_reads, needs.context_reads),
        buckets=RULES.buckets_of(body) | measure.buckets | _buckets_out(config),
        service_tier=tier_in(body),
        output=output_of(body),
        unbounded=needs.unbounded,
    )


def tier_in(body: Mapping[str, Any]) -> str:
    """Return the service tier of a body as `spelled` returns it. Raises Refused."""
    return tier_named(word_in(body, "serviceTier"))


def tools_in(body: Mapping[str, Any]) -> list[Any]:
    """Return the tools of a body as `spelled` returns it."""
    return _each(body.get("tools"))


def _each(value: object) -> list[Any]:
    """Return a list; Google also accepts its only element alone."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _choices(config: Mapping[str, Any]) -> int:
    choices = whole(config, "candidateCount") or 1
    if choices > CHOICES_MAX:
        raise invalid(f"candidateCount must be an integer between 1 and {CHOICES_MAX}")
    return choices


def _buckets_out(config: Mapping[str, Any]) -> set[str]:
    """Return the non-text buckets of the answer. Images have no rate here."""
    given = _each(config.get("responseModalities"))
    named = {each.upper() for each in given if isinstance(each, str)}
    if len(given) > len(_MODALITIES) or any(not isinstance(each, str) for each in given):
        raise invalid("responseModalities must be a list of TEXT and AUDIO")
    if named - _MODALITIES:
        raise invalid(
            "responseModalities must be TEXT or AUDIO; images and video are not supported"
        )
    return {"output_audio"} if "AUDIO" in named else set()


def output_of(body: Mapping[str, Any]) -> OutputLimits:
    """Return the output that a body as `spelled` returns it allows. Raises Refused.

    A thinking budget of -1 leaves it to the model, within the cap.
    """
    config: Mapping[str, Any] = body.get("generationConfig") or {}
    return OutputLimits(
        max_tokens=whole(config, "maxOutputTokens"),
        choices=_choices(config),
        thinking_tokens=max(0, thinking_budget_of(body) or 0),
    )


def thinking_budget_of(body: Mapping[str, Any]) -> int | None:
    """Return the thinking budget of a body as `spelled` returns it, or None. Raises Refused."""
    config: Mapping[str, Any] = body.get("generationConfig") or {}
    thinking = config.get("thinkingConfig")
    if thinking is not None and not isinstance(thinking, dict):
        raise invalid("thinkingConfig must be an object")
    named = in_camel_case(thinking or {}, {"thinkingBudget"})
    return whole(named, "thinkingBudget", least=-1)


def _read_content(measure: Measure, content: object, where: str) -> None:
    if not isinstance(content, dict):
        raise invalid(f"{where} must be an object with role and parts")
    named = in_camel_case(content, _CONTENT)
    for index, part in enumerate(_each(named.get("parts"))):
        _read_part(measure, part, f"{where}.parts[{index}]")
    measure.texts += others(named, _CONTENT)


def _read_part(measure: Measure, part: object, where: str) -> None:
    if not isinstance(part, dict):
        raise invalid(f"{where} must be an object")
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
            if name not in _TEXT_PARTS:
                measure.fits_in_context()


def _read_data(measure: Measure, data: object, where: str) -> None:
    """Measure inline data by its type: an image, a PDF, or something else."""
    if not isinstance(data, dict):
        raise invalid(f"{where} must be an object with mimeType and data")
    named = in_camel_case(data, {"mimeType"})
    given = named.get("mimeType")
    kind = given.strip().lower() if isinstance(given, str) else ""
    if kind in _IMAGES:
        measure.image()
    else:  # the type is the caller's word: only images and pages have a highest price
        measure.document(pages_of(named.get("data")) if kind == PDF else None)
        measure.texts += others(named, ("mimeType", "data"))


def _read_file(measure: Measure, file: object, where: str) -> None:
    """Measure a public video. Google reads any other URI with the installation's key."""
    named = in_camel_case(file, {"fileUri"}) if isinstance(file, dict) else {}
    uri = named.get("fileUri")
    if not isinstance(uri, str):
        raise invalid(f"{where} must be an object with fileUri")
    if _PUBLIC.match(uri) is None:
        raise invalid(f"{STORED.format(f'{where}.fileUri')} instead of {quoted(uri)}")
    measure.fits_in_context()


def _read_function_response(measure: Measure, response: object, where: str) -> None:
    if not isinstance(response, dict):
        raise invalid(f"{where} must be an object")
    for index, part in enumerate(_each(response.get("parts"))):
        _read_part(measure, part, f"{where}.parts[{index}]")
    measure.texts += others(response, ("parts",))

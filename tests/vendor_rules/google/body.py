"""What Google's Gemini API takes as the body of `models/{model}:generateContent`, in camelCase.

https://ai.google.dev/api/generate-content

Not checked, as the documents leave doubt:
- names in history against the grammar of declarations; empty descriptions;
- a forced call of a function without parameters, which 2.0 refused for some time
  (https://github.com/googleapis/python-genai/issues/981);
- temperature and topP from 3.6 on: ignored, and "a later generation" will refuse them;
- the most of declarations, bytes and pages.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from tests.vendor_rules.google import schemas, settings
from tests.vendor_rules.google.contents import (
    CONTENT,
    Fields,
    content_faults,
    missing,
    objects,
)
from tests.vendor_rules.google.settings import (
    Predicate,
    anything,
    field_faults,
    generation,
    is_bool,
    is_list,
    is_name,
    is_object,
    is_objects,
    is_text,
)

_BODY: Final[Mapping[str, Predicate]] = {
    "model": is_name,
    "contents": is_objects,
    "systemInstruction": is_object,
    "tools": is_objects,
    "toolConfig": is_object,
    "safetySettings": is_objects,
    "generationConfig": is_object,
    "cachedContent": is_name,
    "serviceTier": lambda value: (
        str(value).lower() in ("unspecified", "standard", "flex", "priority")
    ),
    "store": is_bool,
    "labels": is_object,
    "continuationToken": is_text,
}
_BUILT_IN: Final = (
    *("googleSearch", "googleSearchRetrieval", "googleMaps", "codeExecution", "urlContext"),
    *("computerUse", "fileSearch", "mcpServers"),
)
_TOOL: Final[Mapping[str, Predicate]] = {
    **dict.fromkeys(_BUILT_IN, anything),
    "functionDeclarations": is_objects,
}
# 128 characters: https://ai.google.dev/api/caching#FunctionDeclaration. Errors gave 64 until 2026
# (https://github.com/maximhq/bifrost/issues/1979); 128 are reported to pass since, and 129 not.
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,127}")
_DECLARATION: Final[Mapping[str, Predicate]] = {
    "name": lambda value: isinstance(value, str) and _NAME.fullmatch(value) is not None,
    "description": is_text,
    "behavior": is_text,
    "parameters": anything,
    "parametersJsonSchema": anything,
    "response": anything,
    "responseJsonSchema": anything,
}
_TOOL_CONFIG: Final[Mapping[str, Predicate]] = {
    "functionCallingConfig": is_object,
    "retrievalConfig": is_object,
    "includeServerSideToolInvocations": is_bool,
}
_CALLING: Final[Mapping[str, Predicate]] = {
    "mode": ("AUTO", "ANY", "NONE", "VALIDATED").__contains__,
    "allowedFunctionNames": is_list,
}
# https://github.com/genkit-ai/genkit-dart/issues/365 (the categories, as an error lists them)
_CATEGORIES: Final = tuple(
    f"HARM_CATEGORY_{name}"
    for name in (
        *("HATE_SPEECH", "SEXUALLY_EXPLICIT", "DANGEROUSCONTENT", "HARASSMENT"),
        *("CIVIC_INTEGRITY", "JAILBREAK"),
    )
)
_SAFETY: Final[Mapping[str, Predicate]] = {
    "category": _CATEGORIES.__contains__,
    "threshold": (
        *("HARM_BLOCK_THRESHOLD_UNSPECIFIED", "BLOCK_LOW_AND_ABOVE", "BLOCK_MEDIUM_AND_ABOVE"),
        *("BLOCK_ONLY_HIGH", "BLOCK_NONE", "OFF"),
    ).__contains__,
}
_WITHOUT_INSTRUCTIONS: Final = re.compile(r"gemma-[123]")


def faults(body: Fields, model: str) -> list[str]:
    """Return a sentence for every rule that a request's body breaks; empty if it is accepted."""
    found = list(field_faults("body", body, _BODY))
    if not found:
        found += content_faults(objects(body, "contents"), model)
        found += _instruction_faults(body, model)
        found += _tool_faults(body, model)
        found += _choice_faults(body)
        found += _safety_faults(objects(body, "safetySettings"))
        found += settings.settings_faults(body.get("generationConfig", {}), model)
    return found


def _instruction_faults(body: Fields, model: str) -> Iterator[str]:
    """Yield what is wrong with the system instruction: texts, none of them empty.

    https://github.com/songquanpeng/one-api/issues/2243 (empty),
    https://github.com/lobehub/lobehub/issues/7128 (none for Gemma 3)
    """
    instruction = body.get("systemInstruction")
    if instruction is None:
        return
    yield from field_faults("systemInstruction", instruction, CONTENT)
    parts = objects(instruction, "parts")
    if not parts or any(not is_name(part.get("text")) for part in parts):
        yield "systemInstruction.parts must be texts, none of them empty"
    if _WITHOUT_INSTRUCTIONS.match(model):
        yield f"systemInstruction is not enabled for {model}"


def _tool_faults(body: Fields, model: str) -> Iterator[str]:
    """Yield what is wrong with the tools.

    None is empty: https://github.com/google-gemini/gemini-cli/issues/28361. No functions for
    Gemma 3 (https://github.com/BerriAI/litellm/issues/10313), none with JSON before 3
    (https://github.com/googleapis/python-genai/issues/867), none with Google's own tools before 3
    (https://github.com/symfony/ai/issues/803) and then with a setting
    (https://github.com/ag2ai/ag2/pull/3145).
    """
    tools = objects(body, "tools")
    declared = [each for tool in tools for each in objects(tool, "functionDeclarations")]
    for index, tool in enumerate(tools):
        yield from field_faults(f"tools[{index}]", tool, _TOOL)
        if not any(tool.get(name) is not None and tool[name] != [] for name in _TOOL):
            yield f"tools[{index}] must have one initialized field"
    yield from _declaration_faults(declared)
    if not declared:
        return
    if _WITHOUT_INSTRUCTIONS.match(model):
        yield f"function calling is not enabled for {model}"
    is_json = body.get("generationConfig", {}).get("responseMimeType") == "application/json"
    if is_json and (0, 0) < generation(model) < (3, 0):
        yield "function calling with responseMimeType application/json is unsupported"
    includes = body.get("toolConfig", {}).get("includeServerSideToolInvocations") is True
    if any(name in tool for tool in tools for name in _BUILT_IN):
        if generation(model) < (3, 0):
            yield "built-in tools with function calling are unsupported"
        elif not includes:
            yield "built-in tools with function calling need includeServerSideToolInvocations"


def _declaration_faults(declared: Sequence[Fields]) -> Iterator[str]:
    """Yield what is wrong with the declared functions: each name once, and one schema.

    https://ai.google.dev/api/caching#FunctionDeclaration; "Duplicate function declaration found"
    """
    names = [each.get("name") for each in declared]
    for index, each in enumerate(declared):
        where = f"functionDeclarations[{index}]"
        yield from missing(where, each, "name")
        yield from field_faults(where, each, _DECLARATION)
        if names.index(each.get("name")) < index:
            yield f"{where}.name {each.get('name')} is declared twice"
        if "parameters" in each and "parametersJsonSchema" in each:
            yield f"{where} must have parameters or parametersJsonSchema"
        if "parameters" in each:
            yield from schemas.openapi_faults(f"{where}.parameters", each["parameters"])
        if "parametersJsonSchema" in each:
            place = f"{where}.parametersJsonSchema"
            yield from schemas.parameters_faults(place, each["parametersJsonSchema"])


def _choice_faults(body: Fields) -> Iterator[str]:
    """Yield what is wrong with the choice of functions.

    https://ai.google.dev/api/caching#FunctionCallingConfig,
    https://github.com/musistudio/claude-code-router/pull/1207 (without declarations)
    """
    where = "toolConfig.functionCallingConfig"
    chosen = body.get("toolConfig", {})
    yield from field_faults("toolConfig", chosen, _TOOL_CONFIG)
    calling = chosen.get("functionCallingConfig")
    if not isinstance(calling, Mapping):
        return
    yield from field_faults(where, calling, _CALLING)
    declared = {
        str(each.get("name"))
        for tool in objects(body, "tools")
        for each in objects(tool, "functionDeclarations")
    }
    if not declared:
        yield f"{where} is set without functionDeclarations"
    allowed = {str(name) for name in calling.get("allowedFunctionNames") or ()}
    if allowed and calling.get("mode") not in ("ANY", "VALIDATED"):
        yield f"{where}.allowedFunctionNames needs mode ANY or VALIDATED"
    yield from (f"{where} allows {name}, which is not declared" for name in allowed - declared)


def _safety_faults(given: Sequence[Fields]) -> Iterator[str]:
    """Yield what is wrong with the safety settings: one for each category.

    https://ai.google.dev/api/generate-content#v1beta.SafetySetting
    """
    seen: set[str] = set()
    for index, each in enumerate(given):
        where = f"safetySettings[{index}]"
        yield from missing(where, each, "category", "threshold")
        yield from field_faults(where, each, _SAFETY)
        if str(each.get("category")) in seen:
            yield f"{where} is a second one of its category"
        seen.add(str(each.get("category")))

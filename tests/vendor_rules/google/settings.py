"""What Gemini takes as generationConfig, by model.

https://ai.google.dev/api/generate-content#v1beta.GenerationConfig
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from tests.vendor_rules.google import schemas

Predicate = Callable[[object], bool]

# What the names without a version stand for: https://github.com/theJayTea/WritingTools/issues/282
_LATEST: Final = {
    "gemini-flash-latest": "gemini-3.8-flash",
    "gemini-flash-lite-latest": "gemini-3.5-flash-lite",
    "gemini-pro-latest": "gemini-3.1-pro-preview",
}
_GENERATION: Final = re.compile(r"gemini-(\d{1,2})(?:\.(\d{1,2}))?(?!\d)")
_UNKNOWN: Final = (0, 0)
_INT32_MAX: Final = 2**31 - 1
_STOPS_MAX: Final = 5
_LEVELS: Final = frozenset({"LOW", "MEDIUM", "HIGH"})
_MIME_TYPES: Final = ("text/plain", "application/json", "text/x.enum")
_SCHEMAS: Final = ("responseSchema", "responseJsonSchema", "_responseJsonSchema")


def is_bool(value: object) -> bool:
    """Whether a value is true or false."""
    return isinstance(value, bool)


def is_int(value: object) -> bool:
    """Whether a value is an integer."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> bool:
    """Whether a value is a number."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_text(value: object) -> bool:
    """Whether a value is a string."""
    return isinstance(value, str)


def is_name(value: object) -> bool:
    """Whether a value is a string that is not empty."""
    return isinstance(value, str) and value != ""


def is_object(value: object) -> bool:
    """Whether a value is an object."""
    return isinstance(value, Mapping)


def is_list(value: object) -> bool:
    """Whether a value is a list."""
    return isinstance(value, list)


def is_objects(value: object) -> bool:
    """Whether a value is a list of objects."""
    return isinstance(value, list) and all(map(is_object, value))


def between(least: float, most: float, *, kind: Predicate) -> Predicate:
    """Return whether a value of a kind is from `least` to `most`."""
    return lambda value: kind(value) and least <= value <= most  # type: ignore[operator]  # a number


def anything(value: object) -> bool:
    """Whether a value is one: another function looks at it."""
    return value is not None


def field_faults(
    where: str, given: Mapping[str, Any], fields: Mapping[str, Predicate]
) -> Iterator[str]:
    """Yield the unknown fields of an object, and those with a wrong value."""
    for name, value in given.items():
        known = fields.get(name)
        if known is None:
            yield f"{where} has no field {name}"
        elif not known(value):
            yield f"{where}.{name} must not be {value!r}"


# Temperature 0 to 2 and five stop sequences are refused by name: "temperature must be in the range
# [0.0, 2.0]", https://github.com/BerriAI/litellm/issues/18921. The seed is an int32 on the wire:
# https://github.com/pollinations/pollinations/pull/6867. That an empty stop sequence is refused is
# not documented. Nor is a most of maxOutputTokens: Vertex AI refuses what is above the model's
# (https://github.com/BerriAI/litellm/pull/10548), of this API there are no such reports.
_FIELDS: Final[Mapping[str, Predicate]] = {
    "stopSequences": lambda value: (
        isinstance(value, list) and len(value) <= _STOPS_MAX and all(map(is_text, value))
    ),
    "responseMimeType": _MIME_TYPES.__contains__,
    "responseSchema": anything,
    "responseJsonSchema": anything,
    "_responseJsonSchema": anything,
    "responseModalities": is_list,
    "candidateCount": between(1, 8, kind=is_int),
    "maxOutputTokens": between(1, _INT32_MAX, kind=is_int),
    "temperature": between(0, 2, kind=is_number),
    "topP": between(0, 1, kind=is_number),
    "topK": between(1, _INT32_MAX, kind=is_int),
    "seed": between(-_INT32_MAX - 1, _INT32_MAX, kind=is_int),
    # Below 2, as Vertex AI's documents say of the same field; this API's are silent:
    # https://cloud.google.com/vertex-ai/generative-ai/docs/reference/nodejs/latest/vertexai/generationconfig
    "presencePenalty": lambda value: between(-2, 2, kind=is_number)(value) and value != 2,
    "frequencyPenalty": lambda value: between(-2, 2, kind=is_number)(value) and value != 2,
    "responseLogprobs": is_bool,
    "logprobs": between(0, 20, kind=is_int),
    "enableEnhancedCivicAnswers": is_bool,
    "speechConfig": is_object,
    "thinkingConfig": is_object,
    "imageConfig": is_object,
    "mediaResolution": is_text,
    "responseFormat": anything,
    "translationConfig": is_object,
    "audioTranscriptionConfig": is_object,
}
_THINKING: Final[Mapping[str, Predicate]] = {
    "includeThoughts": is_bool,
    "thinkingBudget": between(-1, _INT32_MAX, kind=is_int),
    "thinkingLevel": is_name,
}


def version(model: str) -> str:
    """Return the model that a name stands for."""
    return _LATEST.get(model, model)


def generation(model: str) -> tuple[int, int]:
    """Return a model's generation; that of Gemma and LearnLM is unknown, (0, 0)."""
    found = _GENERATION.match(version(model))
    if found:
        return int(found[1]), int(found[2] or 0)
    return (1, 0) if model in ("gemini-pro", "gemini-pro-vision") else _UNKNOWN


def continues_model_turn(model: str) -> bool:
    """Whether a request may end with a turn of the model's.

    https://github.com/LibreChat-AI/agents/pull/323 (tried with each model),
    https://docs.cloud.google.com/gemini-enterprise-agent-platform/models/gemini/3-5-flash-lite
    """
    since = (3, 5) if is_lite(model) else (3, 6)
    return generation(model) < since


def is_lite(model: str) -> bool:
    """Whether a model is one of the smallest."""
    return "-lite" in version(model)


def settings_faults(settings: Mapping[str, Any], model: str) -> Iterator[str]:
    """Yield what is wrong with a generationConfig."""
    where = "generationConfig"
    yield from field_faults(where, settings, _FIELDS)
    yield from _penalty_faults(settings, model)
    yield from _candidate_faults(settings, model)
    yield from _format_faults(settings)
    if settings.get("logprobs") is not None and not settings.get("responseLogprobs"):
        yield f"{where}.logprobs needs responseLogprobs"
    thinking = settings.get("thinkingConfig")
    if isinstance(thinking, Mapping):
        yield from field_faults(f"{where}.thinkingConfig", thinking, _THINKING)
        yield from _thinking_faults(thinking, model)


def _penalty_faults(settings: Mapping[str, Any], model: str) -> Iterator[str]:
    """Yield penalties of models that have none; zero has no effect and is accepted.

    "Penalty is not enabled for this model": https://github.com/google-gemini/cookbook/issues/1290,
    https://github.com/vercel/ai/issues/8943 (2.0 alone has them),
    https://github.com/SillyTavern/SillyTavern/issues/3015 (and 1.5-002). For Gemma it is unknown.
    """
    takes = generation(model) in ((2, 0), _UNKNOWN) or model.endswith("-002")
    for name in ("presencePenalty", "frequencyPenalty"):
        if settings.get(name) and not takes:
            yield f"generationConfig.{name} is not enabled for {model}"


def _candidate_faults(settings: Mapping[str, Any], model: str) -> Iterator[str]:
    """Yield more than one answer from models that give one.

    "Multiple candidates is not enabled for this model", from 3.7 on, whose guide removes the field:
    https://ai.google.dev/gemini-api/docs/whats-new-gemini-3.7. Older ones give up to eight.
    """
    count = settings.get("candidateCount")
    if isinstance(count, int) and count > 1 and generation(model) >= (3, 7):
        yield f"generationConfig.candidateCount must be 1 for {model}"


def _format_faults(settings: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the form of the answer: one schema, and JSON.

    https://ai.google.dev/gemini-api/docs/structured-output
    """
    where = "generationConfig"
    given = [name for name in _SCHEMAS if settings.get(name) is not None]
    if len(given) > 1:
        yield f"{where} must have one of {' and '.join(given)}"
    for name in given:
        enums = ("text/x.enum",) if name == "responseSchema" else ()
        if settings.get("responseMimeType") not in ("application/json", *enums):
            yield f"{where}.{name} needs responseMimeType application/json"
        check = schemas.openapi_faults if name == "responseSchema" else schemas.answer_faults
        yield from check(f"{where}.{name}", settings[name])


def _thinking_faults(thinking: Mapping[str, Any], model: str) -> Iterator[str]:
    """Yield what is wrong with the thinking of a model.

    None before 2.5 (https://github.com/immersive-translate/immersive-translate/issues/2976) and for
    Gemma (https://github.com/Kilo-Org/kilocode/issues/12063; of Gemma 4 reports differ). Not both:
    https://ai.google.dev/gemini-api/docs/gemini-3. No level before 3:
    https://github.com/RooCodeInc/Roo-Code/issues/10700
    """
    where = "generationConfig.thinkingConfig"
    if generation(model) < (2, 5):
        yield f"{where} is not supported by {model}"
        return
    level, budget = thinking.get("thinkingLevel"), thinking.get("thinkingBudget")
    if level is not None and budget is not None:
        yield f"{where} must have a level or a budget"
    if isinstance(level, str) and level.upper() not in _levels(model):
        yield f"{where}.thinkingLevel {level} is not supported by {model}"
    if isinstance(budget, int) and not _takes_budget(budget, model):
        yield f"{where}.thinkingBudget {budget} is invalid for {model}"


def _levels(model: str) -> frozenset[str]:
    """Return the levels of a model. The SDK's XHIGH is not documented for any.

    https://ai.google.dev/gemini-api/docs/generate-content/thinking#thinking-levels,
    https://docs.cloud.google.com/gemini-enterprise-agent-platform/models/thinking,
    https://github.com/egoist/chatwise-releases/issues/1206 (3 Pro, without medium),
    https://github.com/earendil-works/pi/issues/9455 (3.8 Flash, without minimal)
    """
    since = generation(model)
    if since < (3, 0):
        return frozenset()
    if "-pro" in version(model):
        return frozenset({"LOW", "HIGH"}) if since == (3, 0) else _LEVELS
    return _LEVELS | {"MINIMAL"} if is_lite(model) or since < (3, 7) else _LEVELS


def _takes_budget(budget: int, model: str) -> bool:
    """Whether a model takes a budget; -1 leaves it to the model, 0 disables thinking.

    https://ai.google.dev/gemini-api/docs/generate-content/thinking#set-budget (2.5). From 3 on
    budgets are taken for older callers. Pro always thinks
    (https://ai.google.dev/gemini-api/docs/gemini-3), and so does 3.5 Flash-Lite
    (https://github.com/googleapis/python-genai/issues/2936); of the others it is not documented.
    """
    name = version(model)
    if budget == -1:
        return True
    if budget == 0:
        return "-pro" not in name and not name.startswith("gemini-3.5-flash-lite")
    if generation(model) >= (3, 0):
        return budget > 0
    if "-pro" in name:
        return 128 <= budget <= 32_768
    return (512 if is_lite(model) else 1) <= budget <= 24_576

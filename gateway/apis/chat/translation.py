"""Translate chat completions for vendors without this API into calls of their SDKs.

A field without a counterpart is refused if it changes the answer, else omitted.
https://developers.openai.com/api/reference/resources/chat
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from gateway.apis.arrival import tier_in
from gateway.apis.chat.translated_messages import cache_mark, messages_in, untranslatable
from gateway.apis.chat.translated_tools import tools_in
from gateway.apis.families.claude import models as claude
from gateway.apis.families.gemini import models as gemini
from gateway.apis.families.naming import user_in
from gateway.core.calls import ProviderCall
from gateway.core.messages import ResponseFormat
from gateway.core.model_names import Model
from gateway.core.providers import ANTHROPIC, GOOGLE
from gateway.core.request_body import TEMPERATURE_MAX, flag, invalid
from gateway.core.usage_bound import OutputCap
from orgs.core.pseudonyms import Pseudonyms
from orgs.core.values import quoted

STOPS_MAX: Final = 16

_READ: Final = frozenset(
    {
        *("model", "messages", "max_tokens", "max_completion_tokens", "stream", "stream_options"),
        *("temperature", "top_p", "stop", "tools", "tool_choice", "parallel_tool_calls"),
        *("response_format", "reasoning_effort", "service_tier", "cache_control", "seed"),
    }
)
# They label, store or speed up a request, and do not change its answer.
_OMITTED: Final = frozenset(
    {
        *("user", "metadata", "store", "safety_identifier", "prompt_cache_key"),
        *("prompt_cache_retention", "prompt_cache_options"),
    }
)
# Fields without a counterpart, each with the values that have no effect.
_NO_EFFECT: Final[Mapping[str, tuple[object, ...]]] = {
    "n": (1,),
    "best_of": (1,),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "logit_bias": ({},),
    "modalities": (["text"],),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "verbosity": ("medium",),
    "functions": ([],),
    "function_call": ("none", "auto"),
}
# Some of the fields above have a counterpart at one vendor.
_PENALTIES: Final = ("frequency_penalty", "presence_penalty")
_NAME: Final = re.compile(r"[a-z_]{1,40}")
_EFFORTS: Final = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
_TAKES_EFFORT: Final[Mapping[str, Callable[[str], bool]]] = {
    ANTHROPIC: claude.takes_effort,
    GOOGLE: gemini.takes_effort,
}


def provider_call(
    fields: Mapping[str, Any],
    model: Model,
    cap: OutputCap,
    *,
    timeout_s: float,
    names: Pseudonyms,
) -> ProviderCall:
    """Return the call of the vendor's SDK. Raises Refused (400) for unsupported fields."""
    _refuse_untranslatable(fields, model)
    tools = tools_in(fields, model)
    return ProviderCall(
        model=model.id,
        sent_model=model.sent_name,
        messages=messages_in(fields, model),
        max_output_tokens=cap.tokens if cap.is_written else None,
        temperature=_number(fields, "temperature", most=TEMPERATURE_MAX),
        timeout_s=timeout_s,
        top_p=_number(fields, "top_p", most=1),
        frequency_penalty=_penalty(fields, "frequency_penalty", model),
        presence_penalty=_penalty(fields, "presence_penalty", model),
        seed=_seed(fields),
        stop=_stop(fields),
        tools=tools.tools,
        tool_choice=tools.choice,
        required_tool=tools.required,
        parallel_tool_calls=_optional_flag(fields, "parallel_tool_calls"),
        response_format=_response_format(fields),
        reasoning_effort=_effort(fields, model),
        user=names.user(user_in(fields)),
        cache=cache_mark(fields, "body"),
    )


def _refuse_untranslatable(fields: Mapping[str, Any], model: Model) -> None:
    for name, value in fields.items():
        if name in _READ or name in _OMITTED or value is None:
            continue
        if name in _PENALTIES and model.served_by.family == GOOGLE:
            continue
        if not any(_is_same(value, each) for each in _NO_EFFECT.get(name, ())):
            raise untranslatable(name if _NAME.fullmatch(name) else quoted(name), model)
    if tier_in(fields) != "standard":
        raise untranslatable(f"service_tier {quoted(tier_in(fields))}", model)


def _is_same(value: object, other: object) -> bool:
    """Whether two JSON values are the same: in Python, true is also 1, and false 0."""
    return value == other and isinstance(value, bool) == isinstance(other, bool)


def _number(fields: Mapping[str, Any], name: str, *, least: int = 0, most: int) -> float | None:
    value = fields.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise invalid(f"{name} must be a number between {least} and {most}")
    return float(value)


def _seed(fields: Mapping[str, Any]) -> int | None:
    value = fields.get("seed")
    if value is None or type(value) is int:
        return value
    raise invalid("seed must be an integer")


def _penalty(fields: Mapping[str, Any], name: str, model: Model) -> float | None:
    takes = model.served_by.family == GOOGLE
    return _number(fields, name, least=-2, most=2) if takes else None


def _optional_flag(fields: Mapping[str, Any], name: str) -> bool | None:
    return None if fields.get(name) is None else flag(fields, name)


def _stop(fields: Mapping[str, Any]) -> tuple[str, ...]:
    value = fields.get("stop")
    if value is None:
        return ()
    stops = [value] if isinstance(value, str) else value
    is_list = isinstance(stops, list) and len(stops) <= STOPS_MAX
    if not is_list or not all(isinstance(each, str) and each for each in stops):
        raise invalid(f"stop must be a string or a list of at most {STOPS_MAX} non-empty strings")
    return tuple(stops)


def _response_format(fields: Mapping[str, Any]) -> ResponseFormat | None:
    value = fields.get("response_format")
    if value is None or value == {"type": "text"}:
        return None
    kind = value.get("type") if isinstance(value, dict) else None
    if kind == "json_object":
        return ResponseFormat()
    described = value.get("json_schema") if isinstance(value, dict) else None
    if kind != "json_schema" or not isinstance(described, dict):
        raise invalid(
            "response_format must be an object of type text, json_object or json_schema; "
            "json_schema must have a json_schema object"
        )
    schema = described.get("schema")
    if schema is not None and not isinstance(schema, dict):
        raise invalid("response_format.json_schema.schema must be a JSON schema")
    return ResponseFormat(schema=schema)


def _effort(fields: Mapping[str, Any], model: Model) -> str | None:
    effort = fields.get("reasoning_effort")
    if effort is None:
        return None
    if effort not in _EFFORTS:
        raise invalid(f"reasoning_effort must be one of {', '.join(_EFFORTS)}")
    takes_effort = _TAKES_EFFORT.get(model.served_by.family)
    if takes_effort is None or takes_effort(model.id):
        return str(effort)
    if effort == "none":
        return None
    raise untranslatable(f"reasoning_effort {quoted(str(effort))}", model)

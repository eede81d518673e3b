"""What OpenAI's chat completions accept, by the model's family, and refuse with HTTP 400.

The fields: https://developers.openai.com/api/reference/resources/chat, as the SDK's types and
https://github.com/openai/openai-openapi describe them. The families' differences are in the
guides to reasoning and to the latest model, or known from public reports of the API's own errors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tests.vendor_rules.openai.families import Family, family_of
from tests.vendor_rules.openai.messages import message_faults
from tests.vendor_rules.shapes import (
    anything,
    flag,
    free_object,
    list_of,
    nullable,
    number,
    one_of,
    record_faults,
    text,
    text_of,
)

_PENALTY: Final = nullable(number(least=-2, most=2))
_COUNT: Final = nullable(number(least=1, whole=True))
# An unknown field is refused ("Unrecognized request argument supplied").
_FIELDS: Final = {
    "model": text,
    "messages": list_of(anything, least=1),
    "audio": nullable(free_object),
    "frequency_penalty": _PENALTY,
    "presence_penalty": _PENALTY,
    "function_call": anything,
    "functions": list_of(free_object, least=1, most=128),
    "logit_bias": nullable(free_object),
    "logprobs": nullable(flag),
    "max_completion_tokens": _COUNT,
    "max_tokens": _COUNT,
    "metadata": nullable(free_object),
    "modalities": nullable(list_of(one_of("text", "audio"))),
    "moderation": nullable(free_object),
    "n": nullable(number(least=1, most=128, whole=True)),
    # Not nullable: https://github.com/patterns-ai-core/langchainrb/pull/921
    "parallel_tool_calls": flag,
    "prediction": nullable(free_object),
    # https://github.com/buhlergroup/buhler-chat/pull/181
    "prompt_cache_key": nullable(text_of(most=64)),
    "prompt_cache_options": free_object,
    "prompt_cache_retention": nullable(one_of("in_memory", "24h")),
    "reasoning_effort": nullable(text),
    "response_format": free_object,
    # The SDK says 128, the OpenAPI description 64: the smaller one is not certain.
    "safety_identifier": nullable(text_of(most=128)),
    "seed": nullable(number(least=-(2**63), most=2**63 - 1, whole=True)),
    "service_tier": nullable(one_of("auto", "default", "flex", "scale", "priority", "fast")),
    "stop": anything,
    "store": nullable(flag),
    "stream": nullable(flag),
    "stream_options": nullable(free_object),
    "temperature": nullable(number(least=0, most=2)),
    "tool_choice": anything,
    # https://github.com/zed-industries/zed/issues/32946
    "tools": list_of(free_object, most=128),
    "top_logprobs": nullable(number(least=0, most=20, whole=True)),
    "top_p": nullable(number(least=0, most=1)),
    # https://github.com/maximhq/bifrost/pull/1000
    "user": text_of(most=64),
    "verbosity": nullable(one_of("low", "medium", "high")),
    "web_search_options": free_object,
}
_SAMPLING: Final = ("temperature", "top_p", "logprobs", "top_logprobs")
_PENALTIES: Final = ("frequency_penalty", "presence_penalty")
# What has no effect; whether a family that rejects a field also rejects these is not certain:
# https://zenn.dev/headwaters/articles/a5468c45ec2e52 says that GPT-5 accepts them.
_NO_EFFECT: Final[Mapping[str, tuple[object, ...]]] = {
    "temperature": (1,),
    "top_p": (1,),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "logit_bias": ({},),
    "logprobs": (False,),
    "top_logprobs": (),
    "n": (1,),
}


def faults(body: Mapping[str, Any]) -> list[str]:
    """Return a sentence for every rule that a request's body breaks; empty if it is accepted."""
    family = family_of(str(body.get("model")))
    if family.is_elsewhere:
        return [f"{family.name} is served by the Responses API only"]
    of_fields = record_faults(body, _FIELDS, required=("model", "messages"))
    if of_fields:
        return of_fields
    return [
        *_combination_faults(body),
        *_stop_faults(body.get("stop")),
        *_metadata_faults(body),
        *_prediction_faults(body),
        *_format_faults(body, family),
        *_tool_faults(body, family),
        *_reasoning_faults(body, family),
        *_effort_faults(body, family),
        *_cache_faults(body, family),
        *_special_faults(body, family),
        *message_faults(body, family),
    ]


def _asks(body: Mapping[str, Any], name: str) -> bool:
    """Whether a field is there with an effect."""
    value = body.get(name)
    return value is not None and value not in _NO_EFFECT.get(name, ())


def _asked(body: Mapping[str, Any], *names: str) -> list[str]:
    return [name for name in names if _asks(body, name)]


def _combination_faults(body: Mapping[str, Any]) -> list[str]:
    """Fields that need or exclude each other.

    https://github.com/langchain-ai/langgraph/issues/5943 (two caps); stream_options and
    top_logprobs are in the reference.
    """
    found = []
    if _asks(body, "max_tokens") and _asks(body, "max_completion_tokens"):
        found.append("max_tokens and max_completion_tokens exclude each other")
    if body.get("stream_options") is not None and body.get("stream") is not True:
        found.append("stream_options needs stream")
    if body.get("top_logprobs") is not None and body.get("logprobs") is not True:
        found.append("top_logprobs needs logprobs")
    if "audio" in (body.get("modalities") or ()) and body.get("audio") is None:
        found.append("modalities with audio needs audio")
    biases = (body.get("logit_bias") or {}).values()
    is_bias = number(least=-100, most=100, whole=True)
    found += [fault for bias in biases for fault in is_bias(bias, "logit_bias")]
    return found


def _stop_faults(stop: object) -> list[str]:
    """Up to four sequences."""
    if stop is None or isinstance(stop, str):
        return []
    return list_of(text, least=1, most=4)(stop, "stop")


def _metadata_faults(body: Mapping[str, Any]) -> list[str]:
    """Up to 16 pairs of short texts, of a stored completion only.

    https://github.com/tmc/langchaingo/issues/1484
    """
    metadata = body.get("metadata")
    if metadata is None:
        return []
    found = [] if body.get("store") is True else ["metadata needs store"]
    if len(metadata) > 16:
        found.append("metadata must have at most 16 pairs")
    for name, value in metadata.items():
        found += text_of(most=64)(name, "metadata's key")
        found += text_of(most=512)(value, f"metadata.{name}")
    return found


def _prediction_faults(body: Mapping[str, Any]) -> list[str]:
    """A prediction excludes most else.

    https://developers.openai.com/api/docs/guides/predicted-outputs (limitations)
    """
    if body.get("prediction") is None:
        return []
    excluded = _asked(body, "n", "logprobs", "audio", "max_completion_tokens", "tools")
    excluded += [name for name in _PENALTIES if (body.get(name) or 0) > 0]
    if "audio" in (body.get("modalities") or ()):
        excluded.append("modalities")
    return [f"{name} is not accepted with a prediction" for name in excluded]


def _format_faults(body: Mapping[str, Any], family: Family) -> list[str]:
    """JSON needs the word in a message, a schema a model that takes one.

    https://github.com/mem0ai/mem0/issues/3008,
    https://developers.openai.com/api/docs/guides/structured-outputs
    """
    given = body.get("response_format")
    if given is None:
        return []
    found = one_of("text", "json_object", "json_schema")(given.get("type"), "response_format.type")
    if given.get("type") == "json_object" and "json" not in str(body["messages"]).lower():
        found.append("messages must contain the word json for a json_object")
    if given.get("type") == "json_schema":
        found += _schema_faults(given.get("json_schema"))
        if not family.takes_schemas:
            found.append(f"{family.name} does not take a json_schema")
    if family.is_first_reasoning and given.get("type") != "text":
        found.append(f"{family.name} takes no response_format")
    return found


def _schema_faults(described: object) -> list[str]:
    fields = {
        "name": text_of(most=64),
        "description": text,
        "schema": free_object,
        "strict": nullable(flag),
    }
    if not isinstance(described, Mapping):
        return ["response_format.json_schema must be an object"]
    where = "response_format.json_schema"
    return record_faults(described, fields, required=("name",), closed=False, where=where)


def _tool_faults(body: Mapping[str, Any], family: Family) -> list[str]:
    """Tools, and the fields that need them.

    https://github.com/openai/swarm/issues/30 (parallel_tool_calls without tools),
    https://github.com/evalstate/fast-agent/issues/279 (parallel_tool_calls of the o-series)
    """
    found = []
    tools = body.get("tools") or []
    for name in ("parallel_tool_calls", "tool_choice"):
        is_idle = name == "tool_choice" and body.get(name) in (None, "none", "auto")
        if name in body and not tools and not is_idle:
            found.append(f"{name} needs tools")
    if tools and family.is_first_reasoning:
        found.append(f"{family.name} takes no tools")
    if "parallel_tool_calls" in body and family.o_series is not None:
        found.append(f"{family.name} does not take parallel_tool_calls")
    return [*found, *(fault for i, each in enumerate(tools) for fault in _one_tool(each, i))]


def _one_tool(tool: Mapping[str, Any], index: int) -> list[str]:
    kind = tool.get("type")
    if kind not in ("function", "custom"):
        return [f"tools[{index}].type must be function or custom"]
    described = tool.get(kind)
    if not isinstance(described, Mapping):
        return [f"tools[{index}].{kind} must be an object"]
    return _name_faults(described.get("name"), f"tools[{index}].{kind}.name")


def _name_faults(name: object, where: str) -> list[str]:
    """https://github.com/home-assistant/core/issues/121325 and the reference of functions."""
    allowed = isinstance(name, str) and name.isascii() and 0 < len(name) <= 64
    if allowed and all(each.isalnum() or each in "_-" for each in str(name)):
        return []
    return [f"{where} must be letters, digits, _ and -, at most 64"]


def _reasoning_faults(body: Mapping[str, Any], family: Family) -> list[str]:
    """What reasoning models refuse at every effort.

    https://developers.openai.com/api/reference/resources/chat (max_tokens and stop),
    https://github.com/huggingface/smolagents/issues/1671 (stop, GPT-5),
    https://github.com/BerriAI/litellm/pull/21576 (logit_bias, modalities, prediction, audio,
    web_search_options), https://github.com/oracle/ai-optimizer/issues/240 (penalties),
    https://github.com/64bit/async-openai/issues/386 (web_search_options, o3-mini)
    """
    if not family.is_reasoning:
        return []
    refused = _asked(body, "max_tokens", "logit_bias", *_PENALTIES, "prediction")
    refused += [name for name in ("web_search_options",) if name in body]
    if family.is_gpt_reasoning:
        refused += _asked(body, "modalities", "audio")
    if not family.takes_stop:
        refused += _asked(body, "stop")
    if family.is_first_reasoning:
        refused += _asked(body, "n")
    return [f"{family.name} does not take {name}" for name in refused]


def _effort_faults(body: Mapping[str, Any], family: Family) -> list[str]:
    """Reasoning, and what is accepted without reasoning only.

    https://developers.openai.com/api/docs/guides/latest-model (parameter compatibility),
    https://github.com/generative-computing/mellea/issues/270 (effort of other models),
    https://github.com/livekit/agents/pull/3966 (null),
    https://github.com/tarasglek/chatcraft.org/issues/852 (temperature of o3-mini)
    """
    found = []
    effort = body.get("reasoning_effort")
    if effort is not None and family.is_known and effort not in family.efforts:
        found.append(f"{family.name} does not take reasoning_effort {effort}")
    if "reasoning_effort" in body and effort is None and "none" in family.efforts:
        found.append(f"{family.name} does not take a reasoning_effort that is null")
    if family.is_reasoning and (effort or family.default_effort) != "none":
        found += [
            f"{family.name} does not take {n} as it reasons" for n in _asked(body, *_SAMPLING)
        ]
    if family.name.startswith("o3-mini") and body.get("temperature") == 1:
        found.append("o3-mini does not take temperature")
    return [*found, *_tools_and_effort(body, family, effort or family.default_effort)]


def _tools_and_effort(body: Mapping[str, Any], family: Family, effort: str) -> list[str]:
    """Function tools, from GPT-5.4 on accepted without reasoning only.

    https://github.com/openai/openai-openapi/issues/541 (5.4),
    https://github.com/BerriAI/litellm/pull/34569 (5.6, also without an effort),
    https://developers.openai.com/api/docs/guides/deployment-checklist (6). That GPT-5.5 refuses
    them without an effort follows from its default; whether custom tools count is not certain.
    """
    tools = body.get("tools") or []
    functions = [each for each in tools if each.get("type") == "function"]
    if not family.tools_need_no_effort or not functions or effort == "none":
        return []
    return [f"{family.name} takes function tools with reasoning_effort none only"]


def _cache_faults(body: Mapping[str, Any], family: Family) -> list[str]:
    """Prompt caching by generation.

    https://developers.openai.com/api/docs/guides/prompt-caching
    """
    found = []
    if "prompt_cache_options" in body and family.is_known and not family.takes_cache_options:
        found.append(f"{family.name} does not take prompt_cache_options")
    if body.get("prompt_cache_retention") == "in_memory" and family.generation >= (5, 5):
        found.append(f"{family.name} takes prompt_cache_retention 24h only")
    return found


def _special_faults(body: Mapping[str, Any], family: Family) -> list[str]:
    """Search models, models with sound, and verbosity.

    https://github.com/vercel/ai/pull/5647 and https://github.com/charmbracelet/mods/issues/480
    (sampling of search models); what else they refuse is as LiteLLM has it:
    https://github.com/BerriAI/litellm/blob/main/litellm/llms/openai/chat/gpt_5_transformation.py
    https://github.com/google-deepmind/concordia/issues/164 (verbosity of GPT-4o),
    https://github.com/theopenco/llmgateway/pull/2989 (verbosity of gpt-5-chat-latest)
    """
    refused = []
    if family.is_search:
        refused += _asked(body, "temperature", "top_p", *_PENALTIES, "n", "logit_bias")
        refused += _asked(body, "tools", "functions", "prediction", "modalities", "audio")
        refused += [name for name in ("parallel_tool_calls",) if name in body]
    if family.is_audio:
        refused += _asked(body, "response_format", "logprobs", "prediction")
    if family.takes_verbosity is False and body.get("verbosity") in ("low", "high"):
        refused.append(f"verbosity {body['verbosity']}")
    return [f"{family.name} does not take {name}" for name in refused]

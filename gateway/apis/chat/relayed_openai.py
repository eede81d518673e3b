"""Fit a relayed chat completion to what OpenAI's model accepts.

Only what the vendor's documents or its own errors say is refused is changed, and what gives the
answer another meaning (n, logprobs, stop, …) is left to the vendor, which names the field itself.

https://developers.openai.com/api/reference/resources/chat
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from gateway.apis.families.call_ids import with_call_ids
from gateway.apis.families.changes import BodyChanges, omitted, without
from gateway.apis.families.openai import EFFORTS, NO_EFFORT, Family, elsewhere, family_of
from gateway.core.model_names import Model
from gateway.core.request_body import invalid

# https://github.com/livekit/agents/pull/3966, https://github.com/patterns-ai-core/langchainrb/pull/921
_NOT_NULLABLE: Final = (
    *("parallel_tool_calls", "reasoning_effort", "response_format", "tools", "tool_choice"),
    *("functions", "function_call", "user", "prompt_cache_options", "web_search_options"),
)
_NOT_EMPTY: Final = ("tools", "functions", "stop")
_PENALTIES: Final = ("frequency_penalty", "presence_penalty")
# Fields that reasoning models refuse, with the value that has no effect.
_WITHOUT_EFFECT: Final[Mapping[str, object]] = {
    "logit_bias": {},
    "logprobs": False,
    "modalities": ["text"],
}
# https://github.com/vercel/ai/issues/5171
_CALL_ID_MAX_CHARS: Final = 40


def fit(changes: BodyChanges, model: Model) -> None:
    """Change the body so that its model accepts it. Raises Refused."""
    body = changes.body
    family = family_of(model.id)
    if family.is_elsewhere:
        raise elsewhere(model.id)
    _drop_nothings(body)
    _fit_stored(changes)
    _fit_cap(changes, family)
    _fit_tools(changes, family)
    _fit_effort(changes, family)
    _fit_sampling(changes, family)
    _fit_cache(changes, family)
    if not family.takes_verbosity and body.get("verbosity") in ("low", "high"):
        changes.omit("verbosity")
    _fit_messages(changes, family)


def _drop_nothings(body: dict[str, Any]) -> None:
    for name in _NOT_NULLABLE:
        if name in body and body[name] is None:
            del body[name]
    for name in _NOT_EMPTY:
        if body.get(name) == []:
            del body[name]


def _fit_stored(changes: BodyChanges) -> None:
    """Store nothing where every tenant's requests are; metadata is for stored answers only.

    https://github.com/tmc/langchaingo/issues/1484
    """
    if changes.body.get("store"):
        changes.put("store is sent as false", store=False)
    changes.omit("metadata")


def _fit_cap(changes: BodyChanges, family: Family) -> None:
    """Name the cap once (https://github.com/langchain-ai/langgraph/issues/5943), and as the model
    takes it: https://github.com/langchain-ai/langchainjs/issues/8641
    """
    body = changes.body
    if body.get("max_completion_tokens") is not None:
        changes.omit("max_tokens")
    elif family.is_reasoning and body.get("max_tokens") is not None:
        cap = body.pop("max_tokens")
        changes.put("max_tokens is sent as max_completion_tokens", max_completion_tokens=cap)


def _fit_tools(changes: BodyChanges, family: Family) -> None:
    """https://github.com/openai/swarm/issues/30"""
    body = changes.body
    if not body.get("tools") and body.get("tool_choice") in ("none", "auto"):
        del body["tool_choice"]
    if not (body.get("tools") and family.takes_parallel_tool_calls):
        changes.omit("parallel_tool_calls")


def _fit_effort(changes: BodyChanges, family: Family) -> None:
    """Send the nearest effort that the model accepts, and none where its tools need that."""
    body = changes.body
    effort = body.get("reasoning_effort")
    if effort in EFFORTS and family.is_known and effort not in family.efforts:
        if not family.efforts:
            changes.omit("reasoning_effort")
        else:
            nearest = _nearest(effort, family.efforts)
            changes.put(f"reasoning_effort is sent as {nearest}", reasoning_effort=nearest)
    if not family.tools_need_no_effort or not _has_functions(body):
        return
    if family.always_reasons:
        raise invalid(f"Model {body['model']} takes function tools at /v1/responses only")
    if body.get("reasoning_effort", family.default_effort) != NO_EFFORT and (
        NO_EFFORT in family.efforts
    ):
        sentence = "reasoning_effort is sent as none: the model takes tools without reasoning only"
        changes.put(sentence, reasoning_effort=NO_EFFORT)


def _nearest(effort: str, accepted: tuple[str, ...]) -> str:
    """Return the least accepted effort that is not below the given one, else the highest."""
    enough = (each for each in accepted if EFFORTS.index(each) >= EFFORTS.index(effort))
    return next(enough, accepted[-1])


def _has_functions(body: Mapping[str, Any]) -> bool:
    return any(tool.get("type") == "function" for tool in body.get("tools") or ())


def _fit_sampling(changes: BodyChanges, family: Family) -> None:
    """https://github.com/BerriAI/litellm/pull/21576, https://github.com/oracle/ai-optimizer/issues/240"""
    effort = changes.body.get("reasoning_effort")
    if family.is_search or family.is_reasoning:
        changes.omit(*_PENALTIES)
        for name, value in _WITHOUT_EFFECT.items():
            if changes.body.get(name) == value:
                del changes.body[name]
    if not family.samples(effort if isinstance(effort, str) else None):
        changes.omit("temperature", "top_p")


def _fit_cache(changes: BodyChanges, family: Family) -> None:
    """https://developers.openai.com/api/docs/guides/prompt-caching"""
    changes.omit("cache_control")  # Anthropic's, which OpenAI does not know
    for name in ("messages", "tools"):
        given = changes.body.get(name) or []
        if (unmarked := without("cache_control", given)) is not given:
            changes.put(omitted("cache_control"), **{name: unmarked})
    if not family.takes_cache_options:
        changes.omit("prompt_cache_options")
    if not family.caches_in_memory and changes.body.get("prompt_cache_retention") == "in_memory":
        changes.omit("prompt_cache_retention")


def _fit_messages(changes: BodyChanges, family: Family) -> None:
    """Shorten ids of tool calls; give the first reasoning models no instructions.

    https://github.com/pydantic/pydantic-ai/issues/4389, https://github.com/rksm/org-ai/issues/130
    """
    messages = changes.body["messages"]
    named = with_call_ids(
        messages,
        fits=lambda given: len(given) <= _CALL_ID_MAX_CHARS,
        made=lambda digits: f"call_{digits[:32]}",
    )
    if named != messages:
        changes.put("ids of tool calls are shortened", messages=named)
    if not family.is_first_reasoning:
        return
    turned = [
        {**message, "role": "user"} if message["role"] in ("system", "developer") else message
        for message in named
    ]
    if turned != named:
        changes.put("system messages are sent as user messages", messages=turned)

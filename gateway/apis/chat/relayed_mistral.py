"""Fit a relayed chat completion to Mistral, which refuses every field that it does not know.

Fields of OpenAI are renamed, omitted where the answer is the same without them, or refused by
name. What no vendor's clients send is left to the vendor.

https://docs.mistral.ai/api/endpoint/chat, as
https://github.com/mistralai/platform-docs-public/blob/main/public/openapi.yaml describes it
(`additionalProperties: false`)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from costs.core.usage import STANDARD_TIER
from gateway.apis.arrival import tier_in
from gateway.apis.chat import relayed_mistral_messages, relayed_mistral_tools
from gateway.apis.chat.translated_messages import untranslatable
from gateway.apis.families import mistral
from gateway.apis.families.changes import BodyChanges
from gateway.apis.families.openai import EFFORTS
from gateway.core.model_names import Model
from gateway.core.request_body import TEMPERATURE_MAX
from orgs.core.values import quoted

# They label, store or speed up a request, and do not change its answer.
_OMITTED: Final = (
    *("user", "safety_identifier", "store", "verbosity", "prompt_cache_retention"),
    *("prompt_cache_options", "moderation", "cache_control"),
)
# Fields without a counterpart, each with the values that have no effect.
_NO_EFFECT: Final[Mapping[str, tuple[object, ...]]] = {
    "logit_bias": ({},),
    "modalities": (["text"],),
    "audio": (),
    "web_search_options": (),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "best_of": (1,),
}
# The SDK has the field, the vendor's description does not: sent if it asks for something.
_LOGPROBS: Final = "logprobs"
# https://github.com/mnfst/modelparams.dev/pull/231: 0 is not accepted
_TOP_P_LEAST: Final = 0.0001
_SEEDS: Final = 2**63


def fit(changes: BodyChanges, model: Model) -> None:
    """Change the body so that its model accepts it. Raises Refused."""
    body = changes.body
    for name in [name for name, value in body.items() if value is None]:
        del body[name]
    changes.omit(*_OMITTED)
    for name, values in _NO_EFFECT.items():
        if name in body and body[name] not in values:
            raise untranslatable(name, model)
        body.pop(name, None)
    if body.get(_LOGPROBS) is False:
        del body[_LOGPROBS]
    if tier_in(body) != STANDARD_TIER:
        raise untranslatable(f"service_tier {quoted(tier_in(body))}", model)
    _fit_seed(changes)
    _fit_sampling(changes)
    _fit_effort(changes)
    _fit_prediction(changes)
    relayed_mistral_tools.fit(changes, model)
    relayed_mistral_messages.fit(changes, model)


def _fit_seed(changes: BodyChanges) -> None:
    body = changes.body
    if "seed" not in body:
        return
    seed = body.pop("seed")
    if type(seed) is int:
        seed %= _SEEDS  # not below 0; which one does not matter, if it is always the same
    if "random_seed" not in body:
        changes.put("seed is sent as random_seed", random_seed=seed)


def _fit_sampling(changes: BodyChanges) -> None:
    """https://github.com/SillyTavern/SillyTavern/pull/4856 (1.5),
    https://github.com/devoxx/DevoxxGenieIDEAPlugin/issues/338 (top_p with a temperature of 0)
    """
    temperature, top_p = (_number(changes.body, name) for name in ("temperature", "top_p"))
    if temperature is not None and mistral.TEMPERATURE_MAX < temperature <= TEMPERATURE_MAX:
        changes.put(mistral.CLAMPED, temperature=mistral.TEMPERATURE_MAX)
    if top_p is not None and temperature == 0 and top_p != 1:
        changes.omit("top_p")
    elif top_p == 0:
        changes.put(f"top_p is sent as {_TOP_P_LEAST}", top_p=_TOP_P_LEAST)


def _number(body: Mapping[str, Any], name: str) -> float | None:
    value = body.get(name)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _fit_effort(changes: BodyChanges) -> None:
    given = changes.body.get("reasoning_effort")
    if given not in EFFORTS:
        return
    effort = mistral.effort_for(changes.body["model"], given)
    if effort is None:
        changes.omit("reasoning_effort")
    elif effort != given:
        changes.put(f"reasoning_effort is sent as {effort}", reasoning_effort=effort)


def _fit_prediction(changes: BodyChanges) -> None:
    """Send predicted text as one: Mistral takes no parts."""
    prediction = changes.body.get("prediction")
    if not isinstance(prediction, dict) or not isinstance(prediction.get("content"), list):
        return
    text = relayed_mistral_messages.text_in(prediction["content"])
    if text is not None:
        sentence = "the texts of the prediction are joined"
        changes.put(sentence, prediction={**prediction, "content": text})

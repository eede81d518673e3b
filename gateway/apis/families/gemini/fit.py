"""Fit a call to what Google's Gemini API and the called model accept.

https://ai.google.dev/api/generate-content
"""

from __future__ import annotations

from typing import Final

from gateway.apis.families.changes import Changes
from gateway.apis.families.gemini import models
from gateway.apis.families.gemini.media import check_media
from gateway.apis.families.gemini.tools import fit_format, fit_tools
from gateway.apis.families.gemini.turns import fit_turns
from gateway.core.request_body import invalid

# "must not exceed 5": https://github.com/BerriAI/litellm/issues/18921
STOPS_MAX: Final = 5
# An int32: https://github.com/pollinations/pollinations/pull/6867
SEEDS: Final = 2**31
# Below 2, as Vertex AI's documents say of the same field; the Gemini API's are silent.
PENALTY_MAX: Final = 1.99


def fit(changes: Changes) -> None:
    """Fit a call to what its model accepts. Raises Refused if its meaning would change."""
    if changes.call.inputs:
        return
    check_media(changes.call)
    fit_turns(changes)
    fit_tools(changes)
    fit_format(changes)
    _fit_sampling(changes)
    _fit_penalties(changes)
    _fit_stops(changes)
    if changes.call.reasoning_effort == "none" and models.always_thinks(changes.call.model):
        changes.make("The model thinks as little as it can: it always thinks")


def _fit_sampling(changes: Changes) -> None:
    call = changes.call
    is_sampled = call.temperature is not None or call.top_p is not None
    if is_sampled and not models.takes_sampling(call.model):
        changes.make(
            "temperature and top_p were omitted: the model does not take them",
            temperature=None,
            top_p=None,
        )
    if call.seed is not None and not -SEEDS <= call.seed < SEEDS:
        changes.make(
            "The seed was sent as another one, always the same: Google takes 32 bits",
            seed=call.seed % SEEDS,
        )


def _fit_penalties(changes: Changes) -> None:
    """Refuse the penalties of models that have none: 0 has no effect and is omitted."""
    call = changes.call
    for name in ("frequency_penalty", "presence_penalty"):
        penalty = getattr(call, name)
        if not penalty:
            continue
        if not models.takes_penalties(call.model):
            raise invalid(
                f'{name} is not supported by model {call.model} of provider "google"; remove it'
            )
        if penalty > PENALTY_MAX:
            changes.make(f"{name} was sent as {PENALTY_MAX}", **{name: PENALTY_MAX})


def _fit_stops(changes: Changes) -> None:
    stops = changes.call.stop
    if len(stops) > STOPS_MAX:
        raise invalid(
            f"stop must have at most {STOPS_MAX} strings for model {changes.call.model} of "
            'provider "google"'
        )
    if "" in stops:
        kept = tuple(stop for stop in stops if stop)
        changes.make("Empty stop sequences were omitted", stop=kept)

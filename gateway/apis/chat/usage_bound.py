"""The maximum usage of a chat completion, read from its body.

https://developers.openai.com/api/reference/resources/chat
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from gateway.apis.arrival import (
    TOOL_FRAME_TOKENS,
    TOOLS_FRAME_TOKENS,
    objects,
    others,
    refuse,
    text_of,
    texts_in,
    tier_in,
    whole,
)
from gateway.apis.body_rules import ANTHROPIC_TTLS, OPENAI_TTLS, BodyRules
from gateway.apis.documents import pages_of_url
from gateway.apis.json_schema import UNION_COPIES_MAX, has_union
from gateway.apis.searches import search_tokens
from gateway.core.request_body import MESSAGES_MAX, invalid
from gateway.core.usage_bound import NO_USES, ONE_SEARCH, OutputLimits, ToolUses, UsageBound
from orgs.core.values import quoted

CHOICES_MAX: Final = 128
CAP_NAMES: Final = ("max_tokens", "max_completion_tokens")
# What a vendor adds around the schema of an answer. Its form of the schema is longer than the
# caller's (translated ones are closed and describe their limits in text), so it counts twice:
# https://platform.claude.com/docs/en/build-with-claude/structured-outputs
FORMAT_FRAME_TOKENS: Final = 256
# Every other field of a body is counted as prompt.
_NO_PROMPT: Final = frozenset(
    {
        *("model", "messages", "max_tokens", "max_completion_tokens", "n", "best_of", "stream"),
        *("stream_options", "temperature", "top_p", "stop", "seed", "user", "metadata", "store"),
        *("service_tier", "frequency_penalty", "presence_penalty", "logit_bias", "logprobs"),
        *("top_logprobs", "parallel_tool_calls", "tool_choice", "function_call", "modalities"),
        *("reasoning_effort", "verbosity", "safety_identifier", "prompt_cache_key"),
        *("prompt_cache_retention", "prediction", "web_search_options", "cache_control"),
    }
)
_SENTENCES: Final = {
    "background": "background is not supported: background calls cannot be charged when they end",
}
RULES: Final = BodyRules(
    ids=(
        *("messages.id", "messages.tool_calls.id", "messages.tool_call_id"),
        "messages.content.reference_ids",  # Mistral's citations of earlier messages
    ),
    own=(
        *("metadata", "messages.tool_calls.function.arguments", "functions.parameters"),
        *("tools.function.parameters", "response_format.json_schema.schema"),
    ),
    cache_ttls={**OPENAI_TTLS, **ANTHROPIC_TTLS},  # whichever vendor it is for
)
_MEDIA: Final = ("document_url", "input_audio")
# Every other tool runs at the provider, as Mistral's document_library, image_generation and
# connector do: https://docs.mistral.ai/api/endpoint/chat
_TOOLS_OF_CALLER: Final = (None, "function", "custom")


@dataclass(slots=True)
class Measure:
    """Adds up the sizes of the parts of messages."""

    texts: list[str] = field(default_factory=list)
    images: int = 0
    pages: int = 0
    context_reads: int = 0
    tool_calls: int = 0
    buckets: set[str] = field(default_factory=set)

    def image(self) -> None:
        """Add an image."""
        self.images += 1
        self.buckets.add("input_image")

    def document(self, pages: int | None) -> None:
        """Add a document whose pages are read as images and text; None if they are not known."""
        if pages is None:
            self.fits_in_context()
        else:
            self.pages += pages
            self.buckets.add("input_image")

    def fits_in_context(self) -> None:
        """Add sound, video, a document or something unknown: only the context bounds its tokens.

        Neither its bytes nor its headers do: it may be a URL, a WAV header may give any rate, and
        compressed silence takes no bytes. It may be billed as any kind of input.
        """
        self.context_reads = max(self.context_reads, 1)
        self.buckets |= {"input_audio", "input_image"}


def usage_bound_of(fields: Mapping[str, Any]) -> UsageBound:
    """Return the usage bound of a chat completion. Raises Refused, which names the field."""
    refuse(fields, _SENTENCES)
    measure = Measure()
    messages = fields.get("messages")
    if not isinstance(messages, list) or not messages:
        raise invalid("messages must be a non-empty list")
    if len(messages) > MESSAGES_MAX:
        raise invalid(f"messages must have at most {MESSAGES_MAX} messages")
    for index, message in enumerate(messages):
        _read_message(measure, message, f"messages[{index}]")
    if "audio" in texts_in(fields, "modalities"):
        measure.buckets.add("output_audio")
    return UsageBound(
        texts=(*measure.texts, *others(fields, _NO_PROMPT), *_formats(fields), *_unions(fields)),
        messages=len(messages),
        overhead_tokens=_frames(fields, measure),
        images=measure.images,
        pages=measure.pages,
        context_reads=measure.context_reads,
        buckets=RULES.buckets_of(fields) | measure.buckets,
        service_tier=tier_in(fields),
        output=output_of(fields),
    )


def output_of(fields: Mapping[str, Any]) -> OutputLimits:
    """Return the output that a body allows. Raises Refused."""
    return OutputLimits(
        max_tokens=_cap(fields), choices=_choices(fields), predicted_tokens=_predicted(fields)
    )


def uses_of(fields: Mapping[str, Any]) -> ToolUses:
    """Return what a search can add to a request: it is made once, and its results are read."""
    options = fields.get("web_search_options")
    return NO_USES if options is None else replace(ONE_SEARCH, each=search_tokens(options))


def _frames(fields: Mapping[str, Any], measure: Measure) -> int:
    """Return the tokens added around tools and around the schema of an answer.

    A translated conversation with tool calls declares their tools if the request has none.
    """
    given = objects(fields, "tools")
    for tool in given:
        if tool.get("type") not in _TOOLS_OF_CALLER:
            kind = quoted(text_of(tool["type"]))
            raise invalid(f"Tool {kind} is not supported: it runs at the provider, without a price")
    tools = len(given) or measure.tool_calls
    around_tools = TOOLS_FRAME_TOKENS + TOOL_FRAME_TOKENS * tools if tools else 0
    return around_tools + FORMAT_FRAME_TOKENS * len(_formats(fields))


def _formats(fields: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the response format as text, empty if the answer is plain text."""
    wanted = fields.get("response_format")
    return () if wanted in (None, {"type": "text"}) else (text_of(wanted),)


def _unions(fields: Mapping[str, Any]) -> tuple[str, ...]:
    """Return parameters with a union at the top as often as translated ones may repeat them."""
    functions = (tool.get("function") for tool in objects(fields, "tools"))
    given = (each.get("parameters") for each in functions if isinstance(each, dict))
    unions = [text_of(each) for each in given if isinstance(each, dict) and has_union(each)]
    return (*unions * (UNION_COPIES_MAX - 1),)


def _cap(fields: Mapping[str, Any]) -> int | None:
    """Return the larger of the two caps: a server uses one or the other."""
    caps = [whole(fields, name) for name in CAP_NAMES]
    return max((cap for cap in caps if cap is not None), default=None)


def _choices(fields: Mapping[str, Any]) -> int:
    given = [whole(fields, name) for name in ("n", "best_of")]
    choices = max((number for number in given if number is not None), default=1)
    if choices > CHOICES_MAX:
        raise invalid(f"n must be an integer between 1 and {CHOICES_MAX}")
    return choices


def _predicted(fields: Mapping[str, Any]) -> int:
    """Return the bytes of a prediction: its unused part is billed as output."""
    prediction = fields.get("prediction")
    return 0 if prediction is None else len(text_of(prediction).encode())


def _read_message(measure: Measure, message: object, where: str) -> None:
    if not isinstance(message, dict) or not isinstance(message.get("role"), str):
        raise invalid(f"{where} must be an object with role and content")
    for name, value in message.items():
        if name == "role" or value is None:
            continue
        if name == "content" and isinstance(value, list):
            for index, part in enumerate(value):
                _read_part(measure, part, f"{where}.content[{index}]")
        else:
            measure.texts.append(text_of(value))
        if name == "tool_calls" and isinstance(value, list):
            measure.tool_calls += len(value)


def _read_part(measure: Measure, part: object, where: str) -> None:
    if not isinstance(part, dict):
        if not isinstance(part, str):
            raise invalid(f"{where} must be an object with a type")
        part = {"type": "text", "text": part}
    kind = part.get("type")
    if kind in ("image_url", "input_image"):
        measure.image()
    elif kind == "text" and part.keys() - {"cache_control"} == {"type", "text"}:
        measure.texts.append(text_of(part["text"]))
    elif kind in ("text", "refusal", "thinking"):
        measure.texts.append(text_of(part))
    elif kind == "file":
        given = part.get("file")
        file: Mapping[str, Any] = given if isinstance(given, dict) else {}
        measure.document(pages_of_url(file.get("file_data")))
        measure.texts += (*others(part, ("type", "file")), *others(file, ("file_data",)))
    else:  # what is unknown is read as anything
        if kind not in _MEDIA:
            measure.texts.append(text_of(part))
        measure.fits_in_context()

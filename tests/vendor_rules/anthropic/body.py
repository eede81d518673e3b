"""Rules of Anthropic's `POST /v1/messages`: `faults` returns those that a body breaks.

Only what the documents or public bug reports show to be rejected (HTTP 400) is a rule. Tools that
run at the vendor and beta fields are outside of it; a translated request has none.

https://platform.claude.com/docs/en/api/messages/create
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from tests.vendor_rules.anthropic.messages import blocks_in, message_faults, message_shape_faults
from tests.vendor_rules.anthropic.schemas import output_faults, tool_faults, tool_shape_faults
from tests.vendor_rules.anthropic.shapes import (
    CACHE,
    Claude,
    Shape,
    either,
    is_flag,
    is_integer,
    is_list,
    is_number,
    is_object,
    is_text,
    list_of,
    nullable,
    one_of,
    shape_faults,
)

Body = Mapping[str, Any]

NEWEST_VERSION: Final = "2026-10-21"
EFFORTS: Final = ("low", "medium", "high", "xhigh", "max")
CACHE_BREAKPOINTS_MAX: Final = 4
USER_ID_MAX_CHARS: Final = 512
BUDGET_MIN_TOKENS: Final = 1024

_REQUIRED: Final[Shape] = {
    "model": lambda value: is_text(value) and value != "",
    "messages": is_list,
    "max_tokens": lambda value: is_integer(value) and value >= 0,
}
_OPTIONAL: Final[Shape] = {
    **CACHE,
    "container": nullable(either(is_text, is_object)),
    "diagnostics": nullable(is_object),
    # https://platform.claude.com/docs/en/manage-claude/data-residency
    "inference_geo": nullable(one_of("global", "us")),
    "metadata": is_object,
    "output_config": is_object,
    # https://platform.claude.com/docs/en/api/service-tiers
    "service_tier": one_of("auto", "standard_only"),
    # Which models are faster, and with which beta header, differs by account: no rule here.
    "speed": nullable(one_of("standard", "fast")),
    "stop_sequences": list_of(is_text),
    "stream": is_flag,
    "system": either(is_text, is_list),
    "temperature": is_number,
    "thinking": is_object,
    "tool_choice": is_object,
    "tools": is_list,
    "top_k": is_integer,
    "top_p": is_number,
}


def faults(body: Body, version: str = NEWEST_VERSION) -> list[str]:
    """Return a sentence for every rule that a request's body breaks; empty if it is accepted.

    `version` is the header anthropic-version. Rules about values are tried on a body whose fields
    all have the right shape.
    """
    found = [*shape_faults(body, "", _REQUIRED, _OPTIONAL)]
    found = found or [
        *_option_shape_faults(body),
        *message_shape_faults(body),
        *tool_shape_faults(body),
    ]
    if found:
        return found
    claude = Claude.named(body["model"])
    return [
        *_tokens_faults(body, claude),
        *_sampling_faults(body, claude, version),
        *_thinking_faults(body, claude),
        *_effort_faults(body, claude),
        *_choice_faults(body, claude),
        *_label_faults(body, claude),
        *_cache_faults(body),
        *message_faults(body, claude, is_newest=version == NEWEST_VERSION),
        *tool_faults(body, claude),
        *output_faults(body, claude),
    ]


# --- shapes of the options --------------------------------------------------------------------


_THINKING: Final[Mapping[str, tuple[Shape, Shape]]] = {
    "enabled": (
        {"budget_tokens": is_integer},
        {"display": nullable(one_of("summarized", "omitted"))},
    ),
    "adaptive": ({}, {"display": nullable(one_of("summarized", "omitted"))}),
    "disabled": ({}, {}),
    # https://platform.claude.com/docs/en/models/sonnet-5-5/whats-new-sonnet-5-5
    "between_tools": ({}, {}),
}
_CHOICES: Final[Mapping[str, tuple[Shape, Shape]]] = {
    "auto": ({}, {"disable_parallel_tool_use": is_flag}),
    "any": ({}, {"disable_parallel_tool_use": is_flag}),
    "tool": ({"name": is_text}, {"disable_parallel_tool_use": is_flag}),
    "none": ({}, {}),
}


def _option_shape_faults(body: Body) -> Iterator[str]:
    yield from _kind_faults(body, "thinking", _THINKING)
    yield from _kind_faults(body, "tool_choice", _CHOICES)
    yield from shape_faults(
        body.get("metadata", {}), "metadata", {}, {"user_id": nullable(is_text)}
    )
    yield from shape_faults(
        output := body.get("output_config", {}),
        "output_config",
        {},
        {"effort": nullable(one_of(*EFFORTS)), "format": nullable(is_object)},
    )
    if output.get("format") is not None:
        yield from shape_faults(
            output["format"],
            "output_config.format",
            {"type": one_of("json_schema"), "schema": is_object},
        )


def _kind_faults(body: Body, name: str, kinds: Mapping[str, tuple[Shape, Shape]]) -> Iterator[str]:
    if name not in body:
        return
    kind = body[name].get("type")
    if not isinstance(kind, str) or kind not in kinds:
        yield f"{name}.type must be one of {', '.join(kinds)}"
        return
    required, optional = kinds[kind]
    yield from shape_faults(body[name], name, {"type": is_text, **required}, optional)


# --- output cap -------------------------------------------------------------------------------


def output_max_tokens(claude: Claude) -> int | None:
    """Return the model's largest output without a beta header; None if it is not known.

    https://platform.claude.com/docs/en/about-claude/models/overview, and for version 3.7, which
    has 128,000 with such a header only, https://github.com/BerriAI/litellm/issues/8984
    """
    if not claude.is_known:
        return None
    if not claude.is_before(4, 6):
        return 128_000
    if not claude.is_before(4, 5) or (not claude.is_before(3, 7) and claude.family != "opus"):
        return 64_000
    if not claude.is_before(4):
        return 32_000
    return 4096 if claude.is_before(3, 5) else 8192


def _tokens_faults(body: Body, claude: Claude) -> Iterator[str]:
    """Yield faults of the output cap; 0 only fills the cache.

    https://platform.claude.com/docs/en/build-with-claude/prompt-caching#limitations
    """
    cap, most = body["max_tokens"], output_max_tokens(claude)
    if most is not None and cap > most:
        yield f"max_tokens: {cap} > {most}, the maximum of {claude.name}"
    if cap == 0:
        if body.get("stream"):
            yield "max_tokens 0 must not be streamed"
        if _thinking(body) == "enabled":
            yield "max_tokens 0 must not have a thinking budget"
        if body.get("output_config", {}).get("format") is not None:
            yield "max_tokens 0 must not have an output format"
        if _choice(body) in ("any", "tool"):
            yield "max_tokens 0 must not force a tool"


# --- sampling ---------------------------------------------------------------------------------


def _sampling_faults(body: Body, claude: Claude, version: str) -> Iterator[str]:
    """Yield faults of temperature, top_p and top_k.

    Version 2026-10-21 has none of them: https://platform.claude.com/docs/en/api/versioning
    Values: https://platform.claude.com/docs/en/build-with-claude/working-with-messages (none but
    the default from 4.7 on), .../thinking#limits-and-feature-compatibility (with thinking),
    .../about-claude/models/migration-guide (one of two) and, for 4.1,
    https://github.com/anomalyco/opencode/issues/1644
    """
    given = [name for name in ("temperature", "top_p", "top_k") if name in body]
    if version == NEWEST_VERSION:
        yield from (f"{name}: extra inputs are not permitted in {version}" for name in given)
        return
    temperature, top_p = body.get("temperature", 1), body.get("top_p", 1)
    for name, value in (("temperature", temperature), ("top_p", top_p)):
        if not 0 <= value <= 1:
            yield f"{name} must be between 0 and 1"
    if body.get("top_k", 0) < 0:
        yield "top_k must be at least 0"
    if not claude.is_before(4, 1) and {"temperature", "top_p"} <= set(given):
        yield "temperature and top_p cannot both be specified for this model"
    # The default of top_p is not documented: 0.99 and more is accepted, as other gateways have it.
    is_removed = claude.generation >= (4, 7)
    is_thinking = _thinking(body) in ("enabled", "adaptive")
    if is_removed or is_thinking:
        why = "for this model" if is_removed else "with thinking"
        if temperature != 1:
            yield f"temperature may only be 1 {why}"
        if top_p < (0.99 if is_removed else 0.95):
            yield f"top_p is not supported {why}"
        if "top_k" in given:
            yield f"top_k is not supported {why}"


# --- thinking and effort ----------------------------------------------------------------------


def _thinking(body: Body) -> str | None:
    thinking = body.get("thinking")
    return None if thinking is None else str(thinking["type"])


def _choice(body: Body) -> str | None:
    choice = body.get("tool_choice")
    return None if choice is None else str(choice["type"])


def _thinking_faults(body: Body, claude: Claude) -> Iterator[str]:
    """Yield faults of the kind of thinking, and of its budget.

    https://platform.claude.com/docs/en/build-with-claude/thinking-troubleshooting
    """
    kind = _thinking(body)
    is_preview, is_sonnet_5_5 = claude.family == "mythos-preview", _is_sonnet_5_5(claude)
    always_thinks = claude.family in ("fable", "mythos", "mythos-preview") or (
        claude.family == "opus" and claude.generation >= (5, 5)
    )
    rejected = {
        "enabled": (claude.generation >= (4, 7) and not is_preview) or claude.is_before(3, 7),
        "adaptive": claude.is_before(4, 6),
        "disabled": always_thinks or is_sonnet_5_5,
        "between_tools": not is_sonnet_5_5,
    }
    if kind is not None and rejected[kind]:
        yield f'"thinking.type.{kind}" is not supported for this model'
    if kind == "enabled":
        budget = body["thinking"]["budget_tokens"]
        if budget < BUDGET_MIN_TOKENS:
            yield f"thinking.budget_tokens must be at least {BUDGET_MIN_TOKENS}"
        if budget >= body["max_tokens"]:
            yield "max_tokens must be greater than thinking.budget_tokens"


def _is_sonnet_5_5(claude: Claude) -> bool:
    return (claude.family, claude.generation) == ("sonnet", (5, 5))


def _effort_faults(body: Body, claude: Claude) -> Iterator[str]:
    """Yield faults of the effort.

    https://platform.claude.com/docs/en/build-with-claude/effort#effort-levels
    """
    effort = body.get("output_config", {}).get("effort")
    if effort is None:
        return
    is_opus_4_5 = (claude.family, claude.generation) == ("opus", (4, 5))
    if claude.is_before(4, 6) and not is_opus_4_5:
        yield "This model does not support the effort parameter"
    lacks_xhigh = claude.is_before(4, 7) or claude.family == "mythos-preview"
    if (effort == "xhigh" and lacks_xhigh) or (effort == "max" and claude.is_before(4, 6)):
        yield f"This model does not support effort level {effort}"
    # Documented for Opus 5 and Haiku 5.5, and for Sonnet 5.5, whose off is between_tools. Sonnet 5
    # and models before 5 accept it.
    has_ceiling = claude.generation >= (5, 0) and claude.name != "claude-sonnet-5"
    if (
        effort in ("xhigh", "max")
        and has_ceiling
        and _thinking(body)
        in (
            "disabled",
            "between_tools",
        )
    ):
        yield f"effort {effort} is not supported when thinking is disabled on this model"


# --- forced tools -----------------------------------------------------------------------------


def _choice_faults(body: Body, claude: Claude) -> Iterator[str]:
    """Yield faults of the choice of tools.

    https://platform.claude.com/docs/en/agents-and-tools/tool-use/define-tools#forcing-tool-use,
    https://platform.claude.com/docs/en/api/errors (not supported from Opus 5.5, Sonnet 5.5, Fable
    5.1 and Mythos 5.1 on). With adaptive thinking the documents allow it; a report of May 2026
    shows "Thinking may not be enabled when tool_choice forces tool use" there too: no rule.
    """
    kind = _choice(body)
    if kind in (None, "none"):  # whether `none` needs tools is not documented
        return
    names = {tool.get("name") for tool in body.get("tools", [])}
    if not names:
        yield "tool_choice may only be specified while providing tools"
    elif kind == "tool" and body["tool_choice"]["name"] not in names:
        yield f"Tool '{body['tool_choice']['name']}' not found in provided tools"
    if kind in ("any", "tool"):
        firsts = {"fable": (5, 1), "mythos": (5, 1), "opus": (5, 5), "sonnet": (5, 5)}
        first = firsts.get(claude.family)
        if claude.family == "mythos-preview" or (first and claude.generation >= first):
            yield 'tool_choice: type "tool" and "any" are not supported for this model'
        if _thinking(body) == "enabled":
            yield "Thinking may not be enabled when tool_choice forces tool use"


# --- labels, stops and cache breakpoints ------------------------------------------------------


def _label_faults(body: Body, claude: Claude) -> Iterator[str]:
    """Yield faults of the user's name, of the place and of the stops.

    An email address: https://github.com/BerriAI/litellm/issues/10106. Blank stops:
    https://github.com/BerriAI/litellm/issues/3286
    """
    user_id = body.get("metadata", {}).get("user_id") or ""
    if len(user_id) > USER_ID_MAX_CHARS:
        yield f"metadata.user_id must have at most {USER_ID_MAX_CHARS} characters"
    if "@" in user_id.strip("@"):
        yield "metadata.user_id appears to contain an email address"
    if body.get("inference_geo") is not None and claude.is_before(4, 6):
        yield "inference_geo is not supported for this model"
    if any(not stop.strip() for stop in body.get("stop_sequences", [])):
        yield "stop_sequences: each stop sequence must contain non-whitespace"


def _cache_faults(body: Body) -> Iterator[str]:
    """Yield faults of the cache breakpoints, which stand in tools, system and messages.

    https://platform.claude.com/docs/en/build-with-claude/prompt-caching#mixing-different-ttls and
    #automatic-caching; the number: https://github.com/tghamm/Anthropic.SDK/issues/50
    """
    marked = [*body.get("tools", []), *blocks_in(body)]
    controls = [block["cache_control"] for block in marked if block.get("cache_control")]
    automatic = body.get("cache_control")
    last = marked[-1].get("cache_control") if marked else None
    if automatic and last and _lifetime(automatic) != _lifetime(last):
        yield "cache_control: the last block has another ttl"
    if automatic and not last:
        controls.append(automatic)
    if len(controls) > CACHE_BREAKPOINTS_MAX:
        yield f"A maximum of {CACHE_BREAKPOINTS_MAX} blocks with cache_control may be provided"
    lifetimes = [_lifetime(control) for control in controls]
    if "5m" in lifetimes and "1h" in lifetimes[lifetimes.index("5m") :]:
        yield "a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block"


def _lifetime(control: Mapping[str, Any]) -> str:
    return str(control.get("ttl", "5m"))

"""Fit tools, their names and the format of the answer to what Gemini accepts.

https://ai.google.dev/api/caching#FunctionDeclaration
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from dataclasses import replace
from typing import Any, Final

from gateway.apis.arrival import text_of
from gateway.apis.families.changes import Changes
from gateway.apis.families.gemini import models, schemas
from gateway.apis.families.gemini.schemas import UnusableSchema
from gateway.core.calls import ProviderCall
from gateway.core.errors import Refused
from gateway.core.messages import Message, Tool
from gateway.core.request_body import invalid
from orgs.core.values import quoted

# "must start with a letter or an underscore": https://github.com/maximhq/bifrost/issues/1979
NAME_MAX_CHARS: Final = 128
_NAME: Final = re.compile(rf"[A-Za-z_][A-Za-z0-9_.:-]{{0,{NAME_MAX_CHARS - 1}}}")
_REJECTED: Final = re.compile(r"[^A-Za-z0-9_.:-]")
_HASH_CHARS: Final = 8
# Shorter than what a response format is counted as besides its own text.
_JSON_ONLY: Final = (
    "When you answer without a call of a function, answer with one JSON {} and nothing else: no "
    "text before or after it, no code fence."
)
_BY_SCHEMA: Final = "It must match this JSON schema:"


def fit_tools(changes: Changes) -> None:
    """Fit the tools. Raises Refused for what has no counterpart."""
    call = changes.call
    if call.tools and not models.takes_instructions_and_tools(call.model):
        raise _refused("tools are not supported", call.model)
    for name, count in Counter(tool.name for tool in call.tools).items():
        if count > 1:  # OpenAI refuses it too
            raise _refused(
                f"tools: function {quoted(name)} must have a name of its own", call.model
            )
    if any(not each.name for message in call.messages for each in message.tool_calls):
        raise _refused("messages: every tool call must have a name", call.model)
    tools = tuple(_with_parameters(tool, call.model) for tool in call.tools)
    changes.call = replace(call, tools=tools)  # which says the same, and is not reported
    _fit_names(changes)


def _with_parameters(tool: Tool, model: str) -> Tool:
    try:
        return replace(tool, parameters=schemas.parameters_of(tool.parameters))
    except UnusableSchema as exc:
        where = f"tools: the parameters of function {quoted(tool.name)}"
        raise _refused(f"{where} {exc}", model) from exc


def _fit_names(changes: Changes) -> None:
    """Give other names to tools whose own are rejected; the answer has their own again."""
    call = changes.call
    called = [each.name for message in call.messages for each in message.tool_calls]
    names = dict.fromkeys([*(tool.name for tool in call.tools), *called])
    aliases: dict[str, str] = {}
    for name in names:
        if _NAME.fullmatch(name) is None:
            aliases[name] = _alias(name, taken={*names, *aliases.values()})
    if aliases:
        changes.make(
            "Names of tools were replaced by ones that Google accepts, and put back in the answer",
            **_renamed(call, aliases),
        )


def _alias(name: str, *, taken: set[str]) -> str:
    """Return an accepted name that is taken by no other tool, always the same for a name."""
    kept = _REJECTED.sub("_", name)
    tries = 0
    while True:
        marked = hashlib.sha256(f"{tries}{name}".encode()).hexdigest()[:_HASH_CHARS]
        start = kept if kept[:1].isalpha() or kept.startswith("_") else f"_{kept}"
        alias = f"{start[: NAME_MAX_CHARS - _HASH_CHARS - 1]}_{marked}"
        if alias not in taken:
            return alias
        tries += 1


def _renamed(call: ProviderCall, aliases: dict[str, str]) -> dict[str, Any]:
    def named(name: str) -> str:
        return aliases.get(name, name)

    return {
        "tools": tuple(replace(tool, name=named(tool.name)) for tool in call.tools),
        "required_tool": None if call.required_tool is None else named(call.required_tool),
        "messages": tuple(
            replace(
                message,
                tool_calls=tuple(replace(c, name=named(c.name)) for c in message.tool_calls),
                tool_name=None if message.tool_name is None else named(message.tool_name),
            )
            for message in call.messages
        ),
        "tool_names": {alias: name for name, alias in aliases.items()},
    }


def fit_format(changes: Changes) -> None:
    """Fit the format of the answer, which older models do not have beside tools."""
    wanted = changes.call.response_format
    if wanted is None:
        return
    if wanted.schema is not None:
        try:
            schema = schemas.answer_of(wanted.schema)
        except UnusableSchema as exc:
            where = "response_format.json_schema.schema"
            raise _refused(f"{where} {exc}", changes.call.model) from exc
        wanted = replace(wanted, schema=schema)
        changes.call = replace(changes.call, response_format=wanted)
    call = changes.call
    if not call.tools or models.takes_json_with_tools(call.model):
        return
    if call.tool_choice == "none":
        changes.make(
            "The tools, of which none may be called, were omitted: the model has no format of "
            "the answer beside tools",
            tools=(),
            tool_choice=None,
        )
        return
    texts = [_JSON_ONLY.format("object" if wanted.schema is None else "value")]
    if wanted.schema is not None:
        texts += [_BY_SCHEMA, text_of(wanted.schema)]
    changes.make(
        "The format of the answer was sent as an instruction: the model has none beside tools",
        messages=(Message("system", "\n".join(texts)), *call.messages),
        response_format=None,
    )


def _refused(sentence: str, model: str) -> Refused:
    return invalid(f'{sentence}, for model {model} of provider "google"')

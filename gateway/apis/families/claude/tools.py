"""Fit tools, their choice and the format of the answer to what Anthropic accepts.

https://platform.claude.com/docs/en/agents-and-tools/tool-use/define-tools,
https://platform.claude.com/docs/en/build-with-claude/structured-outputs
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from typing import Final

from gateway.apis.arrival import text_of
from gateway.apis.families.changes import Changes
from gateway.apis.families.claude import models as claude
from gateway.apis.families.claude import schemas
from gateway.apis.families.claude.schemas import Size
from gateway.apis.json_schema import Schema
from gateway.core.errors import Refused
from gateway.core.messages import Message, Tool
from gateway.core.request_body import invalid
from orgs.core.values import quoted

# https://platform.claude.com/docs/en/build-with-claude/structured-outputs#schema-complexity-limits
STRICT_TOOLS_MAX: Final = 20
# The reference, and the API's own message; the guide gives 64 characters.
_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_JSON_ONLY: Final = (
    "Answer with one JSON {} and nothing else: no text before or after it, no code fence."
)
_BY_SCHEMA: Final = "It must match this JSON schema:"
_MUST_CALL: Final = "Answer with a call of {}: an answer without one is not accepted."
_NO_SCHEMA: Final[Schema] = {"type": "object", "properties": {}}


def fit_tools(changes: Changes) -> None:
    """Fit the tools and their choice. Raises Refused for names and parameters."""
    call = changes.call
    for name, count in Counter(tool.name for tool in call.tools).items():
        if _NAME.fullmatch(name) is None:
            raise _refused(name, "a name of up to 128 letters, digits, _ and -", call.model)
        if count > 1:  # OpenAI refuses it too
            raise _refused(name, "a name of its own", call.model)
    tools = tuple(_with_parameters(tool, call.model) for tool in call.tools)
    if tools != call.tools:
        changes.make(
            "Parameters of tools were rewritten as the JSON schema that Anthropic accepts",
            tools=tools,
        )
    _fit_strict(changes)
    if call.tool_choice == "required" and not claude.takes_forced_tools(call.model):
        _ask_for_tool(changes)


def _with_parameters(tool: Tool, model: str) -> Tool:
    if tool.parameters is None:
        return tool
    try:
        parameters = schemas.parameters_of(tool.parameters)
    except schemas.UnusableError as exc:
        raise _refused(tool.name, f"as parameters {exc}", model) from exc
    return tool if parameters == tool.parameters else replace(tool, parameters=parameters)


def _refused(name: str, what: str, model: str) -> Refused:
    whose = f'model {model} of provider "anthropic"'
    return invalid(f"tools: function {quoted(name)} must have {what}, for {whose}")


def _fit_strict(changes: Changes) -> None:
    """Enforce the schemas of strict tools, if they all are within what one request can enforce."""
    call = changes.call
    strict = {tool.name: tool.parameters or _NO_SCHEMA for tool in call.tools if tool.is_strict}
    if not strict:
        return
    found = {name: schemas.enforced(schema) for name, schema in strict.items()}
    enforced = {name: schema for name, schema in found.items() if schema is not None}
    size = sum(map(schemas.size_of, enforced.values()), _size_of_format(changes))
    is_within = size.fits and len(enforced) <= STRICT_TOOLS_MAX
    if not claude.takes_schemas(call.model) or not is_within:
        enforced = {}
    tools = tuple(
        replace(tool, parameters=enforced[tool.name])
        if tool.name in enforced
        else replace(tool, is_strict=None if tool.is_strict else tool.is_strict)
        for tool in call.tools
    )
    if enforced.keys() == strict.keys():
        # As the vendor's own library sends them: this changes no meaning, and is not reported.
        changes.call = replace(call, tools=tools)
        return
    changes.make("Tools are not strict where the model cannot enforce their schemas", tools=tools)


def _size_of_format(changes: Changes) -> Size:
    wanted = changes.call.response_format
    schema = None if wanted is None or wanted.schema is None else schemas.enforced(wanted.schema)
    return Size() if schema is None else schemas.size_of(schema)


def _ask_for_tool(changes: Changes) -> None:
    """Ask in words for a tool call that the model cannot be forced to make."""
    call = changes.call
    named = call.required_tool
    wanted = "one of the tools" if named is None else f"the tool {named}"
    changes.make(
        "A tool call was asked for by an instruction: the model cannot be forced to call a tool",
        messages=(*call.messages, Message("system", _MUST_CALL.format(wanted))),
        tools=tuple(tool for tool in call.tools if named in (None, tool.name)),
        tool_choice="auto",
        required_tool=None,
    )


def fit_format(changes: Changes) -> None:
    """Fit the format of the answer: what the model cannot enforce is asked for in words."""
    call = changes.call
    if call.response_format is None:
        return
    schema = call.response_format.schema
    enforced = None
    if schema is not None and claude.takes_schemas(call.model):
        enforced = schemas.enforced(schema)
    if enforced is not None:
        changes.call = replace(call, response_format=replace(call.response_format, schema=enforced))
        return
    texts = [_JSON_ONLY.format("object" if schema is None else "value")]
    if schema is not None:
        texts += [_BY_SCHEMA, text_of(schema)]
    changes.make(
        "JSON was asked for by an instruction: there is no mode for it without a schema"
        if schema is None
        else "The schema of the answer was sent as an instruction: the model cannot enforce it",
        messages=(*call.messages, Message("system", "\n".join(texts))),
        response_format=None,
    )

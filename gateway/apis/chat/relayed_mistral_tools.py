"""Fit the tools and the response format of a relayed chat completion to Mistral.

https://docs.mistral.ai/api/endpoint/chat
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from gateway.apis.chat.translated_messages import untranslatable
from gateway.apis.families.changes import BodyChanges, omitted, without
from gateway.core.model_names import Model

_FUNCTION: Final = "function"
# They name a schema, and have no meaning in it: https://github.com/BerriAI/litellm/pull/13389
_IDENTITIES: Final = ("$schema", "$id")
# Places in a schema whose names are the caller's, and those with values of the caller's.
_NAMED_BY_CALLER: Final = ("properties", "patternProperties", "$defs", "definitions")
_VALUES: Final = ("enum", "const", "default", "examples")
_NO_PARAMETERS: Final[Mapping[str, Any]] = {"type": "object", "properties": {}}


def fit(changes: BodyChanges, model: Model) -> None:
    """Change tools, tool choice and response format. Raises Refused."""
    body = changes.body
    if isinstance(tools := body.get("tools"), list):
        unmarked = without("cache_control", tools)
        if unmarked is not tools:
            changes.report(omitted("cache_control"))
        fitted = [_tool(changes, tool, model) for tool in unmarked]
        body["tools"] = fitted
    _fit_choice(changes, model)
    _fit_format(changes)


def _tool(changes: BodyChanges, tool: Any, model: Model) -> Any:
    """Return a tool with parameters, which Mistral requires, and without empty fields."""
    if tool.get("type") == "custom":
        raise untranslatable("A tool of type custom", model)
    function = tool.get(_FUNCTION)
    if not isinstance(function, dict):
        return tool
    given = {name: value for name, value in function.items() if value is not None}
    parameters = given.get("parameters", _NO_PARAMETERS)
    return {**tool, _FUNCTION: {**given, "parameters": _unnamed(changes, parameters)}}


def _fit_choice(changes: BodyChanges, model: Model) -> None:
    """Name the chosen function alone; of allowed tools, send only those."""
    body, choice = changes.body, changes.body.get("tool_choice")
    if not isinstance(choice, dict):
        return
    if choice.get("type") == "custom":
        raise untranslatable("tool_choice of type custom", model)
    if choice.get("type") != "allowed_tools":
        function = choice.get(_FUNCTION)
        if isinstance(function, dict):
            body["tool_choice"] = {"type": _FUNCTION, _FUNCTION: {"name": function.get("name")}}
        return
    allowed = choice.get("allowed_tools")
    named = _names(allowed.get("tools")) if isinstance(allowed, dict) else None
    if not named or not isinstance(allowed, dict):
        raise untranslatable("tool_choice.allowed_tools without names of functions", model)
    mode = "any" if allowed.get("mode") == "required" else "auto"
    tools = [tool for tool in body.get("tools") or () if _name(tool) in named]
    changes.put("only the allowed tools are sent", tools=tools, tool_choice=mode)


def _names(tools: object) -> set[str]:
    given = tools if isinstance(tools, list) else []
    return {name for name in map(_name, given) if name is not None}


def _name(tool: object) -> str | None:
    function = tool.get(_FUNCTION) if isinstance(tool, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    return name if isinstance(name, str) else None


def _fit_format(changes: BodyChanges) -> None:
    """Send the schema of an answer without empty fields; Mistral requires one."""
    given = changes.body.get("response_format")
    if not isinstance(given, dict):
        return
    sent = {name: value for name, value in given.items() if value is not None}
    if isinstance(described := sent.get("json_schema"), dict):
        described = {name: value for name, value in described.items() if value is not None}
        schema = described.get("schema", {"type": "object"})
        sent["json_schema"] = {**described, "schema": _unnamed(changes, schema)}
    changes.body["response_format"] = sent


def _unnamed(changes: BodyChanges, schema: Any) -> Any:
    unnamed = _without_identities(schema)
    if unnamed != schema:
        changes.report("$schema and $id are omitted in schemas")
    return unnamed


def _without_identities(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_without_identities(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {name: _below(name, value) for name, value in schema.items() if name not in _IDENTITIES}


def _below(name: str, value: Any) -> Any:
    if name in _VALUES:
        return value
    if name in _NAMED_BY_CALLER and isinstance(value, dict):
        return {each: _without_identities(inner) for each, inner in value.items()}
    return _without_identities(value)

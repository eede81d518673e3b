"""Parse the tools of a chat completion and its tool_choice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from gateway.apis.arrival import objects
from gateway.apis.chat.translated_messages import cache_mark
from gateway.core.errors import Refused
from gateway.core.messages import Tool
from gateway.core.model_names import Model
from gateway.core.request_body import invalid
from orgs.core.values import quoted

TOOL_NAME_MAX_CHARS: Final = 128
_CHOICES: Final = ("auto", "none", "required")


@dataclass(frozen=True, slots=True, kw_only=True)
class TranslatedTools:
    """The callable tools: `choice` is auto, none or required, `required` names the required one."""

    tools: tuple[Tool, ...] = ()
    choice: str | None = None
    required: str | None = None


def tools_in(fields: Mapping[str, Any], model: Model) -> TranslatedTools:
    """Return the tools of a body. Raises Refused, which names the field."""
    given = objects(fields, "tools")
    tools = tuple(_tool(each, f"tools[{index}]", model) for index, each in enumerate(given))
    choice = fields.get("tool_choice")
    if choice is None:
        return TranslatedTools(tools=tools)
    if isinstance(choice, str):
        return TranslatedTools(tools=tools, choice=_mode(choice, tools))
    kind = choice.get("type") if isinstance(choice, dict) else None
    if kind == "function":
        name = _named(choice, tools, "tool_choice")
        return TranslatedTools(tools=tools, choice="required", required=name)
    if kind == "allowed_tools":
        return _allowed(choice, tools)
    raise invalid(
        "tool_choice must be auto, none, required, or an object of type function or allowed_tools"
    )


def _tool(given: Mapping[str, Any], where: str, model: Model) -> Tool:
    function = given.get("function")
    if given.get("type") != "function" or not isinstance(function, dict):
        raise invalid(
            f"{where} is not a function; model {model.id} of provider "
            f'"{model.provider}" is given functions only'
        )
    name, description = function.get("name"), function.get("description")
    parameters, strict = function.get("parameters"), function.get("strict")
    if not isinstance(name, str) or not 0 < len(name) <= TOOL_NAME_MAX_CHARS:
        raise _wrong(f"{where}.function.name", f"a name of up to {TOOL_NAME_MAX_CHARS} characters")
    if not isinstance(description, str | None):
        raise _wrong(f"{where}.function.description", "a string")
    if not isinstance(parameters, dict | None):
        raise _wrong(f"{where}.function.parameters", "a JSON schema")
    if not isinstance(strict, bool | None):
        raise _wrong(f"{where}.function.strict", "true or false")
    return Tool(
        name=name,
        description=description,
        parameters=parameters,
        is_strict=strict,
        cache=cache_mark(given, where) or cache_mark(function, f"{where}.function"),
    )


def _mode(choice: object, tools: tuple[Tool, ...]) -> str:
    if choice not in _CHOICES:
        raise invalid(f"tool_choice must be one of {', '.join(_CHOICES)}, or name a function")
    if choice == "required" and not tools:
        raise invalid("tool_choice must not be required without tools")
    return str(choice)


def _named(entry: object, tools: tuple[Tool, ...], where: str) -> str:
    function = entry.get("function") if isinstance(entry, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(name, str):
        raise _wrong(f"{where}.function.name", "the name of one of the tools")
    if name not in {tool.name for tool in tools}:
        raise invalid(f"{where} names {quoted(name)}, which is not in tools")
    return name


def _allowed(choice: Mapping[str, Any], tools: tuple[Tool, ...]) -> TranslatedTools:
    """Return only the allowed tools: the others need not be sent."""
    allowed = choice.get("allowed_tools")
    if not isinstance(allowed, dict):
        raise _wrong("tool_choice.allowed_tools", "an object with mode and tools")
    where = "tool_choice.allowed_tools.tools"
    named = {_named(each, tools, where) for each in objects(allowed, "tools")}
    kept = tuple(tool for tool in tools if tool.name in named)
    return TranslatedTools(tools=kept, choice=_mode(allowed.get("mode"), kept))


def _wrong(where: str, what: str) -> Refused:
    return invalid(f"{where} must be {what}")

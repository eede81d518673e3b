"""Rules of tools and structured output of Anthropic's messages API: names, schemas, numbers.

https://platform.claude.com/docs/en/agents-and-tools/tool-use/define-tools,
https://platform.claude.com/docs/en/build-with-claude/structured-outputs
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from tests.vendor_rules.anthropic.shapes import (
    CACHE,
    Claude,
    Shape,
    is_flag,
    is_list,
    is_object,
    is_text,
    list_of,
    nullable,
    one_of,
    shape_faults,
)

Body = Mapping[str, Any]
Schema = Mapping[str, Any]

# https://platform.claude.com/docs/en/build-with-claude/structured-outputs#schema-complexity-limits
STRICT_TOOLS_MAX: Final = 20
OPTIONAL_PARAMETERS_MAX: Final = 24
UNION_PARAMETERS_MAX: Final = 16

# The guide gives 64 characters; the reference, and the API's own message, 128.
_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,128}")
# https://github.com/anthropics/claude-code/issues/79418
_KEY: Final = re.compile(r"[a-zA-Z0-9_.-]{1,64}")
_TOOL: Final[Shape] = {
    "name": lambda value: isinstance(value, str) and _NAME.fullmatch(value) is not None,
    "input_schema": is_object,
}
_TOOL_OPTIONAL: Final[Shape] = {
    **CACHE,
    "allowed_callers": list_of(is_text),
    "defer_loading": is_flag,
    "description": is_text,
    "eager_input_streaming": nullable(is_flag),
    "input_examples": list_of(is_object),
    "strict": is_flag,
    "type": nullable(one_of("custom")),
}
_TYPES: Final = ("object", "array", "string", "integer", "number", "boolean", "null")
_FORMATS: Final = (
    *("date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6"),
    "uuid",
)
# What limits values, and is not among the supported features. Keywords that only describe
# ($schema, examples, deprecated ...) are not known to be rejected, nor a schema without a type.
_UNSUPPORTED: Final = frozenset(
    {
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
        *("minLength", "maxLength", "maxItems", "uniqueItems", "minProperties", "maxProperties"),
        *("patternProperties", "propertyNames", "prefixItems", "contains", "oneOf", "not", "if"),
        *("then", "else", "dependentRequired", "dependentSchemas", "unevaluatedProperties"),
    }
)
# Back references, looking ahead and behind, and word boundaries.
_UNSUPPORTED_PATTERN: Final = re.compile(r"\\[1-9bB]|\(\?(?:[=!]|<[=!])")
_NAMED_SCHEMAS: Final = ("properties", "$defs", "definitions")
_LISTED_SCHEMAS: Final = ("anyOf", "allOf")


# --- tools ------------------------------------------------------------------------------------


def tool_shape_faults(body: Body) -> Iterator[str]:
    """Yield faults in the shapes of tools that the client runs."""
    for index, tool in enumerate(body.get("tools", [])):
        yield from shape_faults(tool, f"tools.{index}", _TOOL, _TOOL_OPTIONAL)


def tool_faults(body: Body, claude: Claude) -> Iterator[str]:
    """Yield faults of the tools' names and schemas."""
    tools = body.get("tools", [])
    names = [tool["name"] for tool in tools]
    if len(names) > len(set(names)):
        # https://github.com/anthropics/claude-code/issues/10742
        yield "tools: Tool names must be unique"
    for index, tool in enumerate(tools):
        yield from _input_schema_faults(tool["input_schema"], f"tools.{index}.input_schema")
    strict = [tool for tool in tools if tool.get("strict")]
    if strict and claude.is_before(4, 5):
        yield "strict tools are not supported for this model"
    if len(strict) > STRICT_TOOLS_MAX:
        yield f"at most {STRICT_TOOLS_MAX} tools must be strict"


def _input_schema_faults(schema: Schema, where: str) -> Iterator[str]:
    """Yield faults of a tool's schema: JSON schema 2020-12 of an object.

    No union at the top: https://github.com/anthropics/claude-code/issues/40075. "JSON schema is
    invalid. It must match JSON Schema draft 2020-12": some of what older drafts allow.
    """
    if schema.get("type") != "object":
        yield f'{where}.type must be "object"'
    if {"anyOf", "oneOf", "allOf"} & set(schema):
        yield f"{where} does not support oneOf, allOf, or anyOf at the top level"
    if not is_object(schema.get("properties", {})):
        yield f"{where}.properties must be an object"
        return
    if any(_KEY.fullmatch(key) is None for key in schema.get("properties", {})):
        yield f"{where}.properties: property keys should match '{_KEY.pattern}'"
    for each in _nested(schema):
        if "type" in each and not all(kind in _TYPES for kind in _kinds(each)):
            yield f"{where}: JSON schema is invalid: type"
        if not list_of(is_text)(each.get("required", [])):
            yield f"{where}: JSON schema is invalid: required"
        if is_list(each.get("items")):
            yield f"{where}: JSON schema is invalid: items"
        if any(is_flag(each.get(name)) for name in ("exclusiveMinimum", "exclusiveMaximum")):
            yield f"{where}: JSON schema is invalid: exclusive limits"


# --- structured output ------------------------------------------------------------------------


def output_faults(body: Body, claude: Claude) -> Iterator[str]:
    """Yield faults of the schemas that the vendor enforces: the answer's and strict tools'."""
    schemas = {
        f"tools.{index}.input_schema": tool["input_schema"]
        for index, tool in enumerate(body.get("tools", []))
        if tool.get("strict")
    }
    wanted = body.get("output_config", {}).get("format")
    if wanted is not None:
        schemas["output_config.format.schema"] = wanted["schema"]
        if claude.is_before(4, 5):
            yield "output_config.format is not supported for this model"
        if any(_has_citations(message) for message in body["messages"]):
            yield "output_config.format must not be used with citations"
    for where, schema in schemas.items():
        yield from (f"{where}: {fault}" for fault in _enforced_faults(schema))
    nested = [each for schema in schemas.values() for each in _nested(schema)]
    optional = sum(len(_optional(each)) for each in nested)
    if optional > OPTIONAL_PARAMETERS_MAX:
        yield f"{optional} optional parameters; at most {OPTIONAL_PARAMETERS_MAX} are supported"
    unions = sum(_is_union(each) for part in nested for each in _properties(part).values())
    if unions > UNION_PARAMETERS_MAX:
        yield f"{unions} parameters with union types; at most {UNION_PARAMETERS_MAX} are supported"


def _has_citations(message: Mapping[str, Any]) -> bool:
    content = message["content"]
    return isinstance(content, list) and any(
        block["type"] in ("document", "search_result")
        and (block.get("citations") or {}).get("enabled")
        for block in content
    )


def _enforced_faults(schema: Schema) -> Iterator[str]:
    """Yield what a grammar cannot enforce.

    https://platform.claude.com/docs/en/build-with-claude/structured-outputs#json-schema-limitations
    Objects must be closed, also where the client says true: so there are no maps.
    https://github.com/BerriAI/litellm/issues/35808
    """
    for each in _nested(schema):
        yield from (f"{name} is not supported" for name in sorted(_UNSUPPORTED & set(each)))
        yield from _closed_faults(each)
        yield from _value_faults(each)
        yield from _reference_faults(each)
    if _is_recursive(schema):
        yield "recursive schemas are not supported"


def _closed_faults(schema: Schema) -> Iterator[str]:
    is_closed = schema.get("additionalProperties") is False
    if "object" in _kinds(schema) and not is_closed:
        yield "additionalProperties must be set to false for objects"
    elif "additionalProperties" in schema and not is_closed:
        yield "additionalProperties must not be anything but false"


def _value_faults(schema: Schema) -> Iterator[str]:
    if schema.get("minItems", 0) not in (0, 1):
        yield "minItems must be 0 or 1"
    if "format" in schema and schema["format"] not in _FORMATS:
        yield f"format {schema['format']} is not supported"
    if _UNSUPPORTED_PATTERN.search(str(schema.get("pattern", ""))):
        yield "Unsupported regex feature in pattern field"
    if any(isinstance(value, dict | list) for value in _listed(schema, "enum")):
        yield "enum must have strings, numbers, booleans or nulls only"


def _reference_faults(schema: Schema) -> Iterator[str]:
    if not str(schema.get("$ref", "#")).startswith("#"):
        yield "an external $ref is not supported"
    if any(is_object(part) and "$ref" in part for part in _listed(schema, "allOf")):
        yield "allOf with $ref is not supported"


def _nested(schema: object) -> Iterator[Schema]:
    """Yield a schema and those within it."""
    if not isinstance(schema, Mapping):
        return
    yield schema
    for name in _NAMED_SCHEMAS:
        for each in (_named(schema, name)).values():
            yield from _nested(each)
    for name in _LISTED_SCHEMAS:
        for each in _listed(schema, name):
            yield from _nested(each)
    for name in ("items", "additionalProperties"):
        yield from _nested(schema.get(name))


def _named(schema: Schema, name: str) -> Schema:
    found = schema.get(name)
    return found if isinstance(found, Mapping) else {}


def _listed(schema: Schema, name: str) -> list[Any]:
    found = schema.get(name)
    return found if isinstance(found, list) else []


def _kinds(schema: Schema) -> list[Any]:
    kinds = schema.get("type")
    return kinds if isinstance(kinds, list) else [kinds]


def _properties(schema: Schema) -> Schema:
    return _named(schema, "properties")


def _optional(schema: Schema) -> set[str]:
    return {name for name in _properties(schema) if name not in _listed(schema, "required")}


def _is_union(schema: object) -> bool:
    return isinstance(schema, Mapping) and (
        "anyOf" in schema or isinstance(schema.get("type"), list)
    )


def _is_recursive(root: Schema) -> bool:
    """Whether a definition, or the whole schema, refers to itself, also by way of others."""
    done: set[str] = set()

    def leads_back(schema: object, path: tuple[str, ...]) -> bool:
        refs = {each["$ref"] for each in _own(schema) if isinstance(each.get("$ref"), str)}
        for ref in sorted(refs - done):
            if ref in path or leads_back(_at(root, ref), (*path, ref)):
                return True
            done.add(ref)
        return False

    return leads_back(root, ("#",))


def _own(schema: object) -> Iterator[Schema]:
    """Yield a schema and those within it, without definitions that are only listed."""
    if isinstance(schema, Mapping):
        bare = {name: schema[name] for name in schema if name not in ("$defs", "definitions")}
        yield from _nested(bare)


def _at(root: Schema, ref: str) -> object:
    found: object = root
    for name in ref.lstrip("#").strip("/").split("/"):
        if name:
            found = found.get(name) if isinstance(found, Mapping) else None
    return found

"""Convert JSON schemas for each vendor: unsupported keywords become text or are omitted."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

Schema = Mapping[str, Any]

UNIONS: Final = ("allOf", "anyOf", "oneOf")
# How many times as long parameters may become whose union is merged and described as text.
UNION_COPIES_MAX: Final = 5
NAMED_SCHEMAS: Final = ("properties", "$defs", "definitions", "patternProperties")
LISTED_SCHEMAS: Final = ("anyOf", "oneOf", "allOf", "prefixItems")
ONE_SCHEMA: Final = ("items", "additionalProperties", "not", "contains")

# https://platform.claude.com/docs/en/build-with-claude/structured-outputs#json-schema-limitations
_ANTHROPIC_KEEPS: Final = frozenset(
    {
        *("type", "enum", "const", "description", "title", "default", "properties", "required"),
        *("additionalProperties", "items", "anyOf", "allOf", "$ref", "$defs", "definitions"),
    }
)
_ANTHROPIC_FORMATS: Final = frozenset(
    {
        *("date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6"),
        "uuid",
    }
)
_ANTHROPIC_MIN_ITEMS_MAX: Final = 1
# https://ai.google.dev/gemini-api/docs/structured-output#json_schema_support
_GOOGLE_LACKS: Final = frozenset({"$schema", "title", "discriminator", "examples", "strict"})
_GOOGLE_AS_TEXT: Final = frozenset(
    {
        *("exclusiveMinimum", "exclusiveMaximum", "dependentSchemas", "propertyNames"),
        *("if", "then", "else"),
    }
)


def for_anthropic(schema: Schema) -> dict[str, Any]:
    """Return a schema that Anthropic can enforce.

    It rejects limits of numbers, lengths and counts, so these become text in the description, as
    in its own library; every object is closed.
    """
    return rewritten(schema, _anthropic_node)


def for_google(schema: Schema) -> dict[str, Any]:
    """Return a schema without the keywords that Google lacks; what they say becomes text.

    Beside `$ref` it takes no others, so the reference is put into an `anyOf` of one:
    https://github.com/google-gemini/gemini-cli/issues/4758
    """
    return rewritten(schema, _google_node)


def as_object(schema: Schema | None) -> dict[str, Any]:
    """Return the schema of a tool's parameters, by default an object."""
    return {"type": "object", "properties": {}} | dict(schema or {})


def has_union(schema: Schema) -> bool:
    """Whether it has, or may refer to, a union at its top: Anthropic gets that as text too."""
    return any(name in schema for name in (*UNIONS, "$ref"))


def rewritten(schema: Schema, node: Callable[[dict[str, Any]], dict[str, Any]]) -> dict[str, Any]:
    """Apply `node` to each nested schema, and then to the schema itself."""

    def within(value: Any) -> Any:
        return rewritten(value, node) if isinstance(value, Mapping) else value

    found = dict(schema)
    for name in NAMED_SCHEMAS:
        if isinstance(found.get(name), Mapping):
            found[name] = {key: within(value) for key, value in found[name].items()}
    for name in LISTED_SCHEMAS:
        if isinstance(found.get(name), list):
            found[name] = [within(value) for value in found[name]]
    for name in ONE_SCHEMA:
        if name in found:
            found[name] = within(found[name])
    return node(found)


def _anthropic_node(schema: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in schema:  # alone, as its own library sends it
        return {name: schema[name] for name in ("$defs", "definitions", "$ref") if name in schema}
    if "oneOf" in schema and "anyOf" not in schema:
        schema["anyOf"] = schema.pop("oneOf")
    every = schema.get("allOf")
    if isinstance(every, list) and len(every) == 1 and isinstance(every[0], dict):
        rest = {name: value for name, value in schema.items() if name != "allOf"}
        if not rest.keys() & every[0].keys():  # as pydantic describes a reference
            return _anthropic_node({**every[0], **rest})
    kept = {name: value for name, value in schema.items() if _is_anthropic(name, value)}
    if "object" in _types(schema):
        kept |= {"properties": schema.get("properties", {}), "additionalProperties": False}
    return _described(kept, {name: value for name, value in schema.items() if name not in kept})


def _described(schema: dict[str, Any], omitted: Schema) -> dict[str, Any]:
    """Return a schema that describes what was omitted from it."""
    if not omitted:
        return schema
    text = f"{{{', '.join(f'{name}: {_text(value)}' for name, value in omitted.items())}}}"
    described = "\n\n".join(filter(None, (str(schema.get("description", "")), text)))
    return schema | {"description": described}


def _is_anthropic(name: str, value: object) -> bool:
    if name == "format":
        return isinstance(value, str) and value in _ANTHROPIC_FORMATS
    if name == "minItems":
        return value in range(_ANTHROPIC_MIN_ITEMS_MAX + 1)
    return name in _ANTHROPIC_KEEPS


def _google_node(schema: dict[str, Any]) -> dict[str, Any]:
    kept = {
        name: value for name, value in schema.items() if name not in _GOOGLE_LACKS | _GOOGLE_AS_TEXT
    }
    kept = _described(kept, {name: schema[name] for name in schema if name in _GOOGLE_AS_TEXT})
    if "const" in kept:
        kept["enum"] = [kept.pop("const")]
    if isinstance(kept.get("items"), list):  # as before JSON Schema 2020-12
        items = kept.pop("items")
        kept["prefixItems"] = [for_google(i) if isinstance(i, Mapping) else i for i in items]
    if "$ref" in kept and any(not name.startswith("$") for name in kept):
        reference = {"$ref": kept.pop("$ref")}
        if "anyOf" in kept:
            kept["allOf"] = [*kept.get("allOf", ()), {"anyOf": kept.pop("anyOf")}]
        kept["anyOf"] = [reference]
    return kept


def _types(schema: Schema) -> tuple[object, ...]:
    kind = schema.get("type")
    return tuple(kind) if isinstance(kind, list) else (kind,)


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

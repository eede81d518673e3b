"""What Gemini takes as a schema: JSON Schema, and its own subset of OpenAPI's.

JSON Schema: `parametersJsonSchema` and `responseJsonSchema`
(https://ai.google.dev/api/generate-content#v1beta.GenerationConfig). Keywords that are not in its
list are accepted and have no effect: https://github.com/vercel/ai/pull/18325. Others tried 22
constructs as parameters of `gemini-3-flash-preview` in October 2026: `const`, `allOf`, `not`,
`patternProperties`, lists of types, empty and mixed enums, no type, no `items` and boolean schemas
pass; only a reference to nothing is refused.

Not checked, as no figure is documented: schemas that are too large. Reported are `maxItems` that
are together above 960 or so (https://github.com/googleapis/python-genai/issues/2170), long enums
where a call is forced (https://github.com/googleapis/python-genai/issues/2133), and nesting
(https://github.com/googleapis/js-genai/issues/882).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import unquote

_TYPES: Final = ("string", "number", "integer", "boolean", "array", "object", "null")
_NAMED: Final = ("properties", "$defs", "definitions", "patternProperties", "dependentSchemas")
_LISTED: Final = ("anyOf", "oneOf", "allOf", "prefixItems")
_SINGLE: Final = ("items", "additionalProperties", "not", "contains", "propertyNames")
# https://ai.google.dev/api/caching#Schema; `additionalProperties` is Vertex AI's, as the SDK says.
_OPENAPI: Final = frozenset(
    {
        *("type", "format", "title", "description", "nullable", "enum", "maxItems", "minItems"),
        *("properties", "required", "minProperties", "maxProperties", "minLength", "maxLength"),
        *("pattern", "example", "anyOf", "propertyOrdering", "default", "items", "minimum"),
        "maximum",
    }
)


def json_schema_faults(where: str, schema: object) -> Iterator[str]:
    """Yield what is wrong with a JSON Schema."""
    if not isinstance(schema, Mapping):
        yield f"{where} must be an object"
        return
    for place, node in _nodes(where, schema):
        yield from _node_faults(place, node, schema)


def parameters_faults(where: str, schema: object) -> Iterator[str]:
    """Yield what is wrong with the JSON Schema of a function's parameters.

    It describes an object, whose properties are the parameters:
    https://ai.google.dev/api/caching#FunctionDeclaration
    """
    yield from json_schema_faults(where, schema)
    kind = schema.get("type", "object") if isinstance(schema, Mapping) else "object"
    if kind != "object":
        yield f"{where}.type must be object"


def answer_faults(where: str, schema: object) -> Iterator[str]:
    """Yield what is wrong with the JSON Schema of an answer.

    A schema may contain itself only within properties that are not required:
    https://ai.google.dev/api/generate-content#v1beta.GenerationConfig
    """
    yield from json_schema_faults(where, schema)
    if not isinstance(schema, Mapping):
        return
    for reference in sorted(_references(schema, required_only=False)):
        if _contains_itself(reference, schema):
            yield f"{where} requires {reference} within itself"


def _node_faults(where: str, node: object, root: Mapping[str, Any]) -> Iterator[str]:
    if isinstance(node, bool):
        return
    if not isinstance(node, Mapping):
        yield f"{where} must be a schema"
        return
    kinds = node.get("type", [])
    for kind in kinds if isinstance(kinds, list) else [kinds]:
        if kind not in _TYPES:
            yield f"{where}.type must not be {kind!r}"
    # https://github.com/cbdb-project/cbdb-online-main-server/pull/879
    yield from (
        f"{where}.{name} must be an object"
        for name in _NAMED
        if not isinstance(node.get(name, {}), Mapping)
    )
    yield from (
        f"{where}.{name} must be a list"
        for name in (*_LISTED, "required", "enum")
        if not isinstance(node.get(name, []), list)
    )
    if "$ref" in node:
        yield from _reference_faults(where, node, root)


def _reference_faults(
    where: str, node: Mapping[str, Any], root: Mapping[str, Any]
) -> Iterator[str]:
    """Yield what is wrong with a reference.

    Beside it only keywords that begin with `$` may stand, as the documents say for
    `responseJsonSchema` and a report for `parametersJsonSchema`:
    https://github.com/google-gemini/gemini-cli/issues/4758. It must lead to a schema:
    https://github.com/google-gemini/gemini-cli/issues/13326
    """
    beside = sorted(name for name in node if not name.startswith("$"))
    if beside:
        yield f"{where} has {', '.join(beside)} beside $ref"
    if _target(node["$ref"], root) is None:
        yield f"{where} refers to an undefined schema, {node['$ref']!r}"


def _nodes(where: str, schema: object) -> Iterator[tuple[str, object]]:
    """Yield a schema and every one within it, with its place."""
    yield where, schema
    for name, within in _within(schema):
        yield from _nodes(f"{where}.{name}", within)


def _within(schema: object) -> Iterator[tuple[str, object]]:
    if not isinstance(schema, Mapping):
        return
    for name in _NAMED:
        if isinstance(schema.get(name), Mapping):
            yield from ((f"{name}[{key}]", value) for key, value in schema[name].items())
    for name in _LISTED:
        if isinstance(schema.get(name), list):
            yield from ((f"{name}[{index}]", each) for index, each in enumerate(schema[name]))
    yield from ((name, schema[name]) for name in _SINGLE if name in schema)


def _listed(schema: Mapping[str, Any], name: str) -> list[object]:
    value = schema.get(name)
    return value if isinstance(value, list) else []


def _properties(schema: Mapping[str, Any]) -> Mapping[str, object]:
    value = schema.get("properties")
    return value if isinstance(value, Mapping) else {}


def _target(reference: object, root: Mapping[str, Any]) -> object | None:
    """Return the schema that a reference names, or None."""
    if not isinstance(reference, str) or not reference.startswith("#"):
        return None
    path = unquote(reference[1:])
    if path and not path.startswith("/"):
        found = (node for _, node in _nodes("", root) if isinstance(node, Mapping))
        return next((node for node in found if node.get("$anchor") == path), None)
    value: object = root
    for step in path.split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        if isinstance(value, list) and name.isdigit() and int(name) < len(value):
            value = value[int(name)]
        elif isinstance(value, Mapping) and name in value:
            value = value[name]
        else:
            return None
    return value


def _contains_itself(reference: str, root: Mapping[str, Any]) -> bool:
    """Whether a schema requires itself."""
    seen: set[str] = set()
    left = _references(_target(reference, root), required_only=True)
    while left:
        found = left.pop()
        if found == reference:
            return True
        if found not in seen:
            seen.add(found)
            left |= _references(_target(found, root), required_only=True)
    return False


def _references(schema: object, *, required_only: bool) -> set[str]:
    """Return the references in a schema; of `required_only`, those that every value follows.

    "ref loops are only supported if they include optional or nullable property values, or a
    potentially-zero-length array items": https://github.com/juspay/juspay-mcp/pull/132
    """
    if not isinstance(schema, Mapping):
        return set()
    found = {schema["$ref"]} if isinstance(schema.get("$ref"), str) else set()
    required = _listed(schema, "required")
    optional = {f"properties[{name}]" for name in _properties(schema) if name not in required}
    apart = ["$defs", "definitions", "patternProperties", "additionalProperties"]
    if not schema.get("minItems"):
        apart.append("items")
    if {"type": "null"} in _listed(schema, "anyOf"):
        apart.append("anyOf")
    for place, within in _within(schema):
        is_apart = place in optional or place.startswith(tuple(apart))
        if not (required_only and is_apart):
            found |= _references(within, required_only=required_only)
    return found


def openapi_faults(where: str, schema: object) -> Iterator[str]:
    """Yield what is wrong with a schema in Gemini's subset of OpenAPI.

    Its own fields only: https://github.com/pizza-bot-app/pizza-bot/issues/62; one type:
    https://github.com/Helicone/helicone/pull/5585; a type unless there is `anyOf`:
    https://github.com/danny-avila/LibreChat/issues/6971.
    """
    if not isinstance(schema, Mapping):
        yield f"{where} must be an object"
        return
    yield from (f"{where} has no field {name}" for name in sorted(set(schema) - _OPENAPI))
    kind = schema.get("type")
    if kind is None and "anyOf" not in schema:
        yield f"{where}.type must be specified"
    elif kind is not None and not (isinstance(kind, str) and kind.lower() in _TYPES):
        yield f"{where}.type must be one type"
    yield from _openapi_type_faults(where, schema, str(kind).lower())
    yield from _openapi_enum_faults(where, schema, str(kind).lower())
    for place, within in _within(schema):
        yield from openapi_faults(f"{where}.{place}", within)


def _openapi_type_faults(where: str, schema: Mapping[str, Any], kind: str) -> Iterator[str]:
    """Yield keywords of another type.

    https://github.com/anomalyco/opencode/issues/11889 (objects),
    https://github.com/anomalyco/opencode/issues/48073 (arrays). An empty `properties` was refused
    in March 2025 (https://github.com/pipecat-ai/pipecat-flows/issues/110); newer reports have
    objects without any, so it is not a rule here.
    """
    for name, owner in (("properties", "object"), ("required", "object"), ("items", "array")):
        if name in schema and kind != owner:
            yield f"{where}.{name} is only allowed for {owner}"
    if kind == "array" and "items" not in schema:
        yield f"{where}.items is missing"
    for required in _listed(schema, "required"):
        if str(required) not in _properties(schema):
            yield f"{where}.required names {required!r}, which is no property"


def _openapi_enum_faults(where: str, schema: Mapping[str, Any], kind: str) -> Iterator[str]:
    """Yield what is wrong with an enum.

    https://github.com/microsoft/azure-devops-mcp/issues/145 (strings only),
    https://github.com/decolua/9router/pull/380 (of a string),
    https://github.com/elastic/kibana/pull/286302 (not empty where the format says that it is one).
    """
    values = _listed(schema, "enum")
    if schema.get("format") == "enum" and not values:
        yield f"{where}.enum must not be empty"
    if not values:
        return
    if kind != "string":
        yield f"{where}.enum is only allowed for string"
    if not all(isinstance(value, str) and value for value in values):
        yield f"{where}.enum must have non-empty strings"

"""Check JSON schemas by Gemini's rules.

https://ai.google.dev/api/generate-content#v1beta.GenerationConfig (`responseJsonSchema`),
https://ai.google.dev/api/caching#FunctionDeclaration (`parametersJsonSchema`)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import unquote

from gateway.apis.json_schema import LISTED_SCHEMAS, NAMED_SCHEMAS, ONE_SCHEMA, Schema, for_google
from orgs.core.values import quoted

_TYPES: Final = ("string", "number", "integer", "boolean", "array", "object", "null")
_LISTS: Final = (*LISTED_SCHEMAS, "required", "enum")


class UnusableSchema(Exception):
    """A schema that Gemini rejects; its text says what it must be."""


def parameters_of(schema: Schema | None) -> dict[str, Any] | None:
    """Return the schema of a function's parameters, None if it has none. Raises UnusableSchema."""
    if schema is None:
        return None
    found = for_google(schema)
    if found.get("type", "object") != "object":
        raise UnusableSchema("must describe an object")
    _check(found)
    _check_cycles(found)
    says_more = found.keys() - {"type", "properties"} or found.get("properties")
    return found if says_more else None


def answer_of(schema: Schema) -> dict[str, Any]:
    """Return the schema of an answer. Raises UnusableSchema."""
    found = for_google(schema)
    _check(found)
    _check_cycles(found)
    return found


def _check(root: Mapping[str, Any]) -> None:
    for node in _nodes(root):
        if isinstance(node, bool):
            continue
        if not isinstance(node, dict):
            raise UnusableSchema("must have objects as schemas")
        _check_keywords(node)
        # https://github.com/google-gemini/gemini-cli/issues/13326
        if "$ref" in node and _target(node["$ref"], root) is None:
            raise UnusableSchema("must have a schema of its own for every $ref")


def _check_keywords(node: Mapping[str, Any]) -> None:
    kinds = node.get("type", [])
    if any(kind not in _TYPES for kind in (kinds if isinstance(kinds, list) else [kinds])):
        raise UnusableSchema(f"must have as type one of {', '.join(_TYPES)}")
    for names, kind, shown in ((NAMED_SCHEMAS, dict, "an object"), (_LISTS, list, "a list")):
        for name in names:
            if not isinstance(node.get(name, kind()), kind):
                raise UnusableSchema(f"must have {shown} as {name}")


def _nodes(schema: object) -> Iterator[object]:
    """Yield a schema and every one within it."""
    yield schema
    for _, within in _within(schema):
        yield from _nodes(within)


def _within(schema: object) -> Iterator[tuple[tuple[str, str], object]]:
    """Yield each schema directly in one, with its place."""
    if not isinstance(schema, dict):
        return
    for name in NAMED_SCHEMAS:
        if isinstance(schema.get(name), dict):
            yield from (((name, key), value) for key, value in schema[name].items())
    for name in LISTED_SCHEMAS:
        if isinstance(schema.get(name), list):
            yield from (((name, ""), each) for each in schema[name])
    yield from (((name, ""), schema[name]) for name in ONE_SCHEMA if name in schema)


def _target(reference: object, root: Mapping[str, Any]) -> object | None:
    """Return the schema that a reference names, or None."""
    if not isinstance(reference, str) or not reference.startswith("#"):
        return None
    path = unquote(reference[1:])
    if path and not path.startswith("/"):
        anchored = (node for node in _nodes(root) if isinstance(node, dict))
        return next((node for node in anchored if node.get("$anchor") == path), None)
    value: object = root
    for step in path.split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        if isinstance(value, list) and name.isdecimal() and int(name) < len(value):
            value = value[int(name)]
        elif isinstance(value, dict) and name in value:
            value = value[name]
        else:
            return None
    return value if isinstance(value, dict | bool) else None


def _check_cycles(root: Mapping[str, Any]) -> None:
    """Refuse a schema that requires itself.

    "ref loops are only supported if they include optional or nullable property values, or a
    potentially-zero-length array items": https://github.com/juspay/juspay-mcp/pull/132
    """
    for reference in _references(root, required_only=False):
        if _requires_itself(reference, root):
            raise UnusableSchema(f"must not require {quoted(reference)} within itself")


def _requires_itself(reference: str, root: Mapping[str, Any]) -> bool:
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
    """Return the references in a schema; of `required_only`, those that every value follows."""
    if not isinstance(schema, dict):
        return set()
    found = {schema["$ref"]} if isinstance(schema.get("$ref"), str) else set()
    required = schema.get("required", [])
    optional = {"$defs", "definitions", "patternProperties", "additionalProperties"}
    if not schema.get("minItems"):
        optional.add("items")
    if any(_is_null(each) for each in schema.get("anyOf", [])):
        optional.add("anyOf")
    for (name, key), within in _within(schema):
        is_optional = name in optional or (name == "properties" and key not in required)
        if not (required_only and is_optional):
            found |= _references(within, required_only=required_only)
    return found


def _is_null(schema: object) -> bool:
    return isinstance(schema, dict) and schema.get("type") == "null"

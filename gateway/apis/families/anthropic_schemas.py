"""Which JSON schemas Anthropic accepts for a tool's parameters, and which it can enforce.

https://platform.claude.com/docs/en/build-with-claude/structured-outputs#json-schema-limitations
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from gateway.apis import json_schema
from gateway.apis.arrival import text_of
from gateway.apis.json_schema import Schema

# What one request can enforce, over all strict tools and the schema of the answer:
# https://platform.claude.com/docs/en/build-with-claude/structured-outputs#schema-complexity-limits
OPTIONAL_MAX: Final = 24
UNIONS_MAX: Final = 16
UNIONS: Final = ("allOf", "anyOf", "oneOf")
_TYPES: Final = frozenset({"object", "array", "string", "integer", "number", "boolean", "null"})
# https://github.com/anthropics/claude-code/issues/79418
_KEY: Final = re.compile(r"[a-zA-Z0-9_.-]{1,64}")
_NAMED: Final = ("properties", "$defs", "definitions")
_DESCRIBES: Final = ("enum", "const", "$ref", *UNIONS)


class UnusableError(Exception):
    """A schema that cannot be a tool's parameters; its text says what they must be."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much of what one request can enforce schemas take."""

    optional: int = 0
    unions: int = 0

    @property
    def fits(self) -> bool:
        """Whether one request can enforce it."""
        return self.optional <= OPTIONAL_MAX and self.unions <= UNIONS_MAX

    def __add__(self, other: Size) -> Size:
        return Size(self.optional + other.optional, self.unions + other.unions)


# --- parameters of tools ----------------------------------------------------------------------


def parameters_of(schema: Schema) -> dict[str, Any]:
    """Return a schema as the parameters of a tool. Raises UnusableError.

    That of an object, without references and unions at its top, in the draft that Anthropic reads:
    https://github.com/anthropics/claude-code/issues/40075, "It must match JSON Schema draft
    2020-12".
    """
    root = _resolved(schema, schema)
    kind = root.get("type", "object")
    if kind != "object" and not (isinstance(kind, list) and "object" in kind):
        raise UnusableError("a JSON schema of type object")
    if not isinstance(root.get("properties", {}), Mapping):
        raise UnusableError("a JSON schema whose properties are an object")
    root = json_schema.as_object(_merged(root) | {"type": "object"})
    if any(_KEY.fullmatch(key) is None for key in root["properties"]):
        raise UnusableError(
            "a JSON schema whose properties have names of up to 64 letters, digits, _, . and -"
        )
    return json_schema.rewritten(root, _current)


def has_union(schema: Schema) -> bool:
    """Whether it has a union at its top, which is then also described as text."""
    return any(name in schema for name in UNIONS)


def _resolved(schema: Schema, root: Schema) -> dict[str, Any]:
    """Return a schema with what a reference at its top refers to. Raises UnusableError."""
    found, seen = dict(schema), set[str]()
    while "$ref" in found:
        ref = found.pop("$ref")
        target = _at(root, ref)
        if not isinstance(target, Mapping) or ref in seen:
            raise UnusableError("a JSON schema without a reference to itself or to elsewhere")
        seen.add(ref)
        found = {**target, **found}
    return found


def _merged(root: dict[str, Any]) -> dict[str, Any]:
    """Return a schema whose unions are merged into its properties, and described as text."""
    unions = {name: root[name] for name in UNIONS if name in root}
    if not unions:
        return root
    properties = dict(root.get("properties", {}))
    required = _texts(root.get("required"))
    for name, variants in unions.items():
        each_required: list[list[str]] = []
        for variant in variants if isinstance(variants, list) else []:
            found = _resolved(variant, root) if isinstance(variant, Mapping) else {}
            each_required.append(_texts(found.get("required")))
            own = found.get("properties")
            for key, value in (own if isinstance(own, Mapping) else {}).items():
                properties[key] = _either(properties[key], value) if key in properties else value
        required += _in_any(each_required) if name == "allOf" else _in_all(each_required)
    texts = [text for text in (root.get("description"), text_of(unions)) if isinstance(text, str)]
    rest = {name: value for name, value in root.items() if name not in UNIONS}
    return rest | {
        "properties": properties,
        "required": list(dict.fromkeys(required)),
        "description": "\n\n".join(texts),
    }


def _either(one: object, other: object) -> object:
    if one == other:
        return one
    known = one.get("anyOf") if isinstance(one, Mapping) and one.keys() == {"anyOf"} else None
    variants = known if isinstance(known, list) else [one]
    return one if other in variants else {"anyOf": [*variants, other]}


def _in_any(lists: list[list[str]]) -> list[str]:
    return [name for names in lists for name in names]


def _in_all(lists: list[list[str]]) -> list[str]:
    first = lists[0] if lists else []
    return [name for name in first if all(name in names for names in lists)]


def _texts(value: object) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def _current(schema: dict[str, Any]) -> dict[str, Any]:
    """Return what older drafts say in the words of the current one, without unknown types."""
    kinds = _kinds(schema)
    if "type" in schema and not _are_types(kinds):
        del schema["type"]
    if isinstance(schema.get("items"), list):
        schema["prefixItems"] = schema.pop("items")
        if "additionalItems" in schema:
            schema["items"] = schema.pop("additionalItems")
    for limit, least in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if isinstance(schema.get(limit), bool) and schema.pop(limit) and least in schema:
            schema[limit] = schema.pop(least)
    required = schema.get("required", [])
    if not isinstance(required, list) or _texts(required) != required:
        del schema["required"]
    return schema


# --- what can be enforced ---------------------------------------------------------------------


def enforced(schema: Schema) -> dict[str, Any] | None:
    """Return a schema as Anthropic enforces it, or None if it cannot, or only with less in it.

    Every object is closed, so one whose names are not listed could only be empty:
    https://github.com/BerriAI/litellm/issues/35808
    """
    if any(_is_beyond(each, schema) for each in _nested(schema)) or _is_recursive(schema):
        return None
    found = json_schema.for_anthropic(schema)
    # References are rejected here, and closed objects would exclude each other's names.
    joined = (part for each in _nested(found) for part in _listed(each, "allOf"))
    if any("$ref" in part or "object" in _kinds(part) for part in joined):
        return None
    return found if size_of(found).fits else None


def size_of(schema: Schema) -> Size:
    """Return the size of a schema as Anthropic enforces it."""
    optional = unions = 0
    for each in _nested(schema):
        properties = _mapping(each, "properties")
        optional += len(properties.keys() - set(_texts(each.get("required"))))
        unions += sum(map(_is_union, properties.values()))
    return Size(optional, unions)


def _is_union(schema: object) -> bool:
    return isinstance(schema, Mapping) and (
        "anyOf" in schema or isinstance(schema.get("type"), list)
    )


def _is_beyond(schema: Schema, root: Schema) -> bool:
    """Whether a schema, but for those within it, cannot be enforced."""
    kinds = _kinds(schema)
    if not (_are_types(kinds) if "type" in schema else any(each in schema for each in _DESCRIBES)):
        return True
    literals = [*_listed(schema, "enum"), schema.get("const")]
    return (
        ("object" in kinds and _is_open(schema))
        or schema.get("additionalProperties", False) is not False
        or any(isinstance(value, Mapping | list) for value in literals)
        or ("enum" in schema and not _listed(schema, "enum"))
        or ("$ref" in schema and not isinstance(_at(root, schema["$ref"]), Mapping))
        or _texts(schema.get("required", [])) != schema.get("required", [])
        or isinstance(schema.get("items"), list)
        or not all(isinstance(each, Mapping) for each in _parts(schema))
    )


def _is_open(schema: Schema) -> bool:
    has_names = bool(schema.get("properties")) or schema.get("additionalProperties") is False
    return not has_names or "patternProperties" in schema


def _parts(schema: Schema) -> Iterator[object]:
    """Yield what must be schemas within a schema; what becomes text is not among them."""
    for name in _NAMED:
        found = schema.get(name, {})
        yield from found.values() if isinstance(found, Mapping) else (found,)
    for name in UNIONS:
        found = schema.get(name, [])
        yield from found if isinstance(found, list) else (found,)
    if "items" in schema:
        yield schema["items"]


def _nested(schema: object) -> Iterator[Schema]:
    """Yield a schema and those within it."""
    if isinstance(schema, Mapping):
        yield schema
        for part in _parts(schema):
            yield from _nested(part)


def _is_recursive(root: Schema) -> bool:
    """Whether the schema, or a definition, refers to itself, also by way of others."""
    done: set[str] = set()

    def leads_back(schema: object, path: tuple[str, ...]) -> bool:
        refs = {each["$ref"] for each in _used(schema) if isinstance(each.get("$ref"), str)}
        for ref in sorted(refs - done):
            if ref in path or leads_back(_at(root, ref), (*path, ref)):
                return True
            done.add(ref)
        return False

    return leads_back(root, ("#",))


def _used(schema: object) -> Iterator[Schema]:
    """Yield a schema and those within it, without definitions, which are only listed."""
    if isinstance(schema, Mapping):
        rest = {name: schema[name] for name in schema if name not in ("$defs", "definitions")}
        yield from _nested(rest)


def _at(root: Schema, ref: object) -> object:
    """Return what a reference within the schema refers to, or None."""
    if not isinstance(ref, str) or not ref.startswith("#"):
        return None
    found: object = root
    for name in ref.removeprefix("#").strip("/").split("/"):
        if name:
            key = name.replace("~1", "/").replace("~0", "~")
            found = found.get(key) if isinstance(found, Mapping) else None
    return found


def _mapping(schema: Schema, name: str) -> Schema:
    found = schema.get(name)
    return found if isinstance(found, Mapping) else {}


def _listed(schema: Schema, name: str) -> list[Any]:
    found = schema.get(name)
    return found if isinstance(found, list) else []


def _are_types(kinds: list[Any]) -> bool:
    return bool(kinds) and all(isinstance(kind, str) and kind in _TYPES for kind in kinds)


def _kinds(schema: Schema) -> list[Any]:
    kinds = schema.get("type")
    return kinds if isinstance(kinds, list) else [kinds]

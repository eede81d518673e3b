"""Which JSON schemas Anthropic accepts for a tool's parameters, and which it can enforce.

https://platform.claude.com/docs/en/build-with-claude/structured-outputs#json-schema-limitations
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from gateway.apis import json_schema
from gateway.apis.arrival import text_of
from gateway.apis.json_schema import UNION_COPIES_MAX, UNIONS, Schema

# What one request can enforce, over all strict tools and the schema of the answer:
# https://platform.claude.com/docs/en/build-with-claude/structured-outputs#schema-complexity-limits
OPTIONAL_MAX: Final = 24
UNIONS_MAX: Final = 16
FRAME_CHARS: Final = 64  # of what every schema of parameters has
_TYPES: Final = frozenset({"object", "array", "string", "integer", "number", "boolean", "null"})
# https://github.com/anthropics/claude-code/issues/79418
_KEY: Final = re.compile(r"[a-zA-Z0-9_.-]{1,64}")
_NAMED: Final = ("properties", "$defs", "definitions")
_Place = tuple[str, ...]
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
    found = json_schema.rewritten(root, _current)
    most = UNION_COPIES_MAX * len(text_of(schema)) + FRAME_CHARS
    if json_schema.has_union(schema) and len(text_of(found)) > most:
        raise UnusableError("a JSON schema whose references do not overlap")
    return found


def _resolved(schema: Schema, root: Schema) -> dict[str, Any]:
    """Return a schema with what a reference at its top refers to. Raises UnusableError."""
    found, seen = dict(schema), set[_Place | None]()
    while "$ref" in found:
        place = _place(found.pop("$ref"))
        target = _at(root, place)
        if not isinstance(target, Mapping) or place in seen:
            raise UnusableError("a JSON schema without a reference to itself or to elsewhere")
        seen.add(place)
        found = {**target, **found}
    return found


def _merged(root: dict[str, Any]) -> dict[str, Any]:
    """Return a schema whose unions are merged into its properties, and described as text."""
    unions = {name: root[name] for name in UNIONS if name in root}
    if not unions:
        return root
    given: dict[str, dict[str, object]] = {}  # each property's schemas, by their text
    required = _texts(root.get("required"))
    _add(given, root)
    for name, variants in unions.items():
        parts = [
            _resolved(variant, root) if isinstance(variant, Mapping) else {}
            for variant in (variants if isinstance(variants, list) else [])
        ]
        for part in parts:
            _add(given, part)
        counted = Counter(key for part in parts for key in set(_texts(part.get("required"))))
        least = 1 if name == "allOf" else len(parts)
        required += [key for key, count in counted.items() if count >= least]
    texts = [text for text in (root.get("description"), text_of(unions)) if isinstance(text, str)]
    rest = {name: value for name, value in root.items() if name not in UNIONS}
    return rest | {
        "properties": {key: _either([*variants.values()]) for key, variants in given.items()},
        "required": sorted(set(required)),
        "description": "\n\n".join(texts),
    }


def _add(given: dict[str, dict[str, object]], schema: Schema) -> None:
    for key, value in _mapping(schema, "properties").items():
        given.setdefault(key, {})[text_of(value)] = value


def _either(variants: list[object]) -> object:
    return variants[0] if len(variants) == 1 else {"anyOf": variants}


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
        or ("$ref" in schema and not isinstance(_at(root, _place(schema["$ref"])), Mapping))
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
    path: list[tuple[_Place, Iterator[_Place]]] = [((), _referred(root))]
    on_path: set[_Place] = {()}
    done: set[_Place] = set()
    while path:
        place, rest = path[-1]
        following = next(rest, None)
        if following is None:
            path.pop()
            on_path.discard(place)
            done.add(place)
        elif following in on_path:
            return True
        elif following not in done:
            on_path.add(following)
            path.append((following, _referred(_at(root, following))))
    return False


def _referred(schema: object) -> Iterator[_Place]:
    """Yield what a schema and those within it refer to."""
    places = (_place(each["$ref"]) for each in _used(schema) if "$ref" in each)
    return (place for place in places if place is not None)


def _used(schema: object) -> Iterator[Schema]:
    """Yield a schema and those within it, without definitions, which are only listed."""
    if isinstance(schema, Mapping):
        rest = {name: schema[name] for name in schema if name not in ("$defs", "definitions")}
        yield from _nested(rest)


def _place(ref: object) -> _Place | None:
    """Return the names that lead to what a reference within the schema refers to, or None."""
    if not isinstance(ref, str) or not ref.startswith("#"):
        return None
    names = (name for name in ref.removeprefix("#").split("/") if name)
    return tuple(name.replace("~1", "/").replace("~0", "~") for name in names)


def _at(root: Schema, place: _Place | None) -> object:
    """Return what is at a place of the schema, or None."""
    found: object = None if place is None else root
    for name in place or ():
        found = found.get(name) if isinstance(found, Mapping) else None
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

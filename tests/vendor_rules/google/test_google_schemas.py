"""The checker of Gemini's schemas: what it accepts, and what it refuses."""

from __future__ import annotations

from typing import Any, Final

import pytest

from tests.vendor_rules.google.schemas import json_schema_faults, openapi_faults

OPENAPI: Final = {
    "type": "OBJECT",
    "properties": {
        "unit": {"type": "STRING", "enum": ["C"], "format": "enum", "nullable": True},
        "days": {"type": "ARRAY", "items": {"anyOf": [{"type": "INTEGER"}]}},
    },
    "required": ["unit"],
}
NO_OPENAPI: Final[dict[str, dict[str, Any]]] = {
    "an unknown keyword": {"type": "object", "additionalProperties": False},
    "no type": {"description": "It"},
    "a list of types": {"type": ["string", "null"]},
    "properties of a string": {"type": "string", "properties": {}},
    "an array without items": {"type": "array"},
    "items of a string": {"type": "string", "items": {"type": "string"}},
    "a required property that is none": {"type": "object", "required": ["a"]},
    "an enum of numbers": {"type": "integer", "enum": [1]},
    "an empty value in an enum": {"type": "string", "enum": [""]},
    "an empty enum": {"type": "string", "format": "enum", "enum": []},
}


NO_JSON_SCHEMA: Final[dict[str, object]] = {
    "a list": [],
    "properties that are none": {"type": "object", "properties": []},
    "a property that is none": {"properties": {"a": "string"}},
    "alternatives that are none": {"anyOf": {}},
    "an unknown type": {"properties": {"a": {"type": "text"}}},
    "a keyword beside a reference": {"properties": {"a": {"$ref": "#", "description": "It"}}},
    "a reference to nothing": {"properties": {"a": {"$ref": "#/$defs/A"}}},
    "a reference to no anchor": {"properties": {"a": {"$ref": "#a"}}},
    "a reference to elsewhere": {"items": {"$ref": "https://a.b/c"}},
}
REFERENCES: Final[dict[str, dict[str, Any]]] = {
    "itself": {"items": {"$ref": "#"}},
    "a definition": {"$ref": "#/$defs/a~1b%20c", "$defs": {"a/b c": {"type": "string"}}},
    "an old definition": {"items": {"$ref": "#/definitions/A"}, "definitions": {"A": True}},
    "an anchor": {"items": {"$ref": "#a"}, "$defs": {"A": {"$anchor": "a"}}},
    "an alternative": {"anyOf": [{"type": "string"}, {"items": {"$ref": "#/anyOf/0"}}]},
}


def test_openapi_subset_is_accepted() -> None:
    assert list(openapi_faults("schema", OPENAPI)) == []


@pytest.mark.parametrize("name", NO_OPENAPI)
def test_schema_outside_openapi_subset_is_refused(name: str) -> None:
    assert list(openapi_faults("schema", NO_OPENAPI[name]))


@pytest.mark.parametrize("name", REFERENCES)
def test_reference_within_schema_is_accepted(name: str) -> None:
    assert list(json_schema_faults("schema", REFERENCES[name])) == []


@pytest.mark.parametrize("name", NO_JSON_SCHEMA)
def test_no_json_schema_is_refused(name: str) -> None:
    assert list(json_schema_faults("schema", NO_JSON_SCHEMA[name]))

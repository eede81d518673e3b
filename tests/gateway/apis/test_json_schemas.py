"""A JSON schema in each vendor's format is equivalent and within its bound."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.apis.chat.usage_bound import FORMAT_FRAME_TOKENS
from gateway.apis.json_schema import for_anthropic, for_google
from gateway.providers import tokens
from tests.gateway.translating import SCHEMA


def test_anthropic_schema_is_closed_and_describes_unsupported_keywords() -> None:
    found = for_anthropic(SCHEMA)
    assert found["additionalProperties"] is False
    assert found["description"] == "{$schema: https://json-schema.org/draft/2020-12/schema}"
    fields = found["properties"]
    assert fields["title"] == {"type": "string", "description": "As given\n\n{minLength: 1}"}
    assert fields["age"] == {
        "type": "integer",
        "description": "{minimum: 0, exclusiveMaximum: 150}",
    }
    assert fields["note"] == {"type": ["string", "null"], "description": "{format: color}"}
    assert fields["tags"]["items"] == {"type": "string", "format": "uri"}
    closed = {"type": "object", "properties": {}, "additionalProperties": False}
    assert fields["more"] == {"anyOf": [closed, {"$ref": "#/$defs/other"}]}


def test_format_of_any_type_becomes_text_for_anthropic() -> None:
    wrong: tuple[Any, ...] = (5, True, [], ["date"], {}, {"type": []})
    for format_ in wrong:
        found = for_anthropic({"type": "string", "format": format_})
        shown = json.dumps(format_)
        assert found == {"type": "string", "description": f"{{format: {shown}}}"}


def test_google_schema_omits_unsupported_keywords_but_not_properties() -> None:
    found = for_google(SCHEMA)
    assert {"$schema", "title"} & found.keys() == set()
    assert found["properties"]["title"]["minLength"] == 1
    text = "{exclusiveMaximum: 150}"
    assert found["properties"]["age"] == {"type": "integer", "minimum": 0, "description": text}
    assert found["properties"]["kind"] == {"enum": ["person"]}
    assert found["$defs"]["other"]["properties"] == {"examples": {"type": "null"}}


_SCHEMAS = st.recursive(
    st.fixed_dictionaries(
        {"type": st.sampled_from(["string", "integer", "object", "array", ["string", "null"]])},
        optional={
            "minimum": st.integers(),
            "pattern": st.text(max_size=5),
            "enum": st.lists(st.text(max_size=3), max_size=2),
            "description": st.text(max_size=5),
            "title": st.text(max_size=3),
            "oneOf": st.just([{"type": "object"}]),
        },
    ),
    lambda inner: st.fixed_dictionaries(
        {"type": st.just("object")},
        optional={
            "properties": st.dictionaries(st.text(max_size=4), inner, max_size=3),
            "items": inner,
            "anyOf": st.lists(inner, max_size=2),
        },
    ),
    max_leaves=12,
)


@given(schema=_SCHEMAS)
def test_every_vendors_schema_is_within_its_bound(schema: dict[str, Any]) -> None:
    before = json.dumps(schema)
    held = 2 * len(before.encode()) + FORMAT_FRAME_TOKENS
    for form in (for_anthropic(schema), for_google(schema)):
        assert tokens.count(json.dumps(form), "cl100k_base") <= held
    assert json.dumps(schema) == before  # and the caller's own stays as it is

"""Generate a simple value that matches a JSON schema, for the sandbox."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from gateway.core.strict_json import INTEGER_MAX, INTEGER_MIN

# A schema may refer to itself, and be as large as a body; beyond these limits values are null.
DEPTH_MAX: Final = 16
VALUES_MAX: Final = 256
ITEMS_MAX: Final = 16
TEXT_MAX_CHARS: Final = 200
_FORMATS: Final = {
    "date-time": "2026-01-01T00:00:00Z",
    "date": "2026-01-01",
    "time": "00:00:00Z",
    "duration": "PT1S",
    "email": "someone@example.com",
    "hostname": "example.com",
    "uri": "https://example.com/",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def sample_of(schema: Mapping[str, Any], *, text: str) -> Any:
    """Return a value of the schema, deterministic; strings begin with `text` if possible.

    Patterns and multiples are not supported.
    """
    return _Sample(schema, text[:TEXT_MAX_CHARS]).value(schema, DEPTH_MAX)


@dataclass(slots=True)
class _Sample:
    root: Mapping[str, Any]
    text: str
    left: int = VALUES_MAX

    def value(self, schema: object, depth: int) -> Any:
        """Return a value of a nested schema, at most `depth` levels deep."""
        self.left -= 1
        if not isinstance(schema, Mapping) or depth <= 0 or self.left < 0:
            return None
        if "const" in schema:
            return schema["const"]
        if isinstance(schema.get("enum"), list) and schema["enum"]:
            return schema["enum"][0]
        if isinstance(schema.get("$ref"), str):
            return self.value(_referred(schema["$ref"], self.root), depth - 1)
        for name in ("anyOf", "oneOf", "allOf"):
            if isinstance(schema.get(name), list) and schema[name]:
                return self.value(schema[name][0], depth - 1)
        return self._of_type(schema, depth)

    def _of_type(self, schema: Mapping[str, Any], depth: int) -> Any:
        kind = schema.get("type", "object" if "properties" in schema else "string")
        kind = kind[0] if isinstance(kind, list) and kind else kind
        if kind == "object":
            return self._object(schema, depth)
        if kind == "array":
            least = min(_whole(schema.get("minItems")), ITEMS_MAX)
            return [self.value(schema.get("items"), depth - 1) for _ in range(least)]
        if kind in ("integer", "number"):
            return _number(schema)
        if kind == "string":
            return _string(schema, self.text)
        return False if kind == "boolean" else None

    def _object(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        properties, required = schema.get("properties"), schema.get("required")
        named = properties if isinstance(properties, Mapping) else {}
        wanted = required if isinstance(required, list) else list(named)
        return {
            str(name): self.value(named.get(str(name)), depth - 1) for name in wanted[:VALUES_MAX]
        }


def _number(schema: Mapping[str, Any]) -> float:
    """Return 0, or the nearest number within the limits."""
    bounds = (("minimum", 0, max), ("exclusiveMinimum", 1, max))
    below = (("maximum", 0, min), ("exclusiveMaximum", -1, min))
    found: float = 0
    for name, step, nearer in (*bounds, *below):
        limit = schema.get(name)
        if isinstance(limit, int | float) and not isinstance(limit, bool):
            found = nearer(found, limit + step)
    return found if INTEGER_MIN <= found <= INTEGER_MAX else float(found)


def _string(schema: Mapping[str, Any], text: str) -> str:
    named = schema.get("format")
    if isinstance(named, str) and named in _FORMATS:
        return _FORMATS[named]
    most = schema.get("maxLength")
    cut = text[:most] if type(most) is int and most >= 0 else text
    return cut.ljust(min(_whole(schema.get("minLength")), len(cut) + ITEMS_MAX), ".")


def _whole(value: object) -> int:
    return value if type(value) is int and value > 0 else 0


def _referred(reference: str, root: Mapping[str, Any]) -> Any:
    """Resolve a reference such as `#/$defs/name`, or return None."""
    found: Any = root
    for name in reference.removeprefix("#").split("/")[1:]:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found

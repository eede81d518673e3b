"""`/api/schema` is complete and correct."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

import pytest
import schemathesis
from django.urls import URLPattern
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import from_schema
from schemathesis.engine.events import EngineEvent, FatalError, NonFatalError, ScenarioFinished
from schemathesis.schemas import BaseSchema

from costs.models import Hold
from gateway.call.runtime import Gateway
from gateway.http import urls as api_urls
from gateway.http.openapi.document import DOCUMENT, MEANINGS
from gateway.http.openapi.values import DIMENSIONS
from gateway.models import AiRequestLog
from pulse.asgi import application
from tests.gateway.conftest import Asking

pytestmark = pytest.mark.django_db(transaction=True)

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY")
AN_ID: Final = "0193e4a0-0000-7000-8000-000000000000"
EXAMINATION: Final[dict[str, Any]] = {
    "generation": {
        "deterministic": True,
        "database": "none",
        # test_callers.py covers invalid credentials; here all are valid or absent.
        "with-security-parameters": False,
    },
    "seed": 20250601,
    # An Idempotency-Key that comes again with another body is refused, and no schema can say so.
    "checks": {
        "positive_data_acceptance": {
            "expected-statuses": ["2xx", "401", "403", "404", "409", "422", "429"]
        }
    },
}


def documented() -> Iterator[tuple[str, str, Any]]:
    for path, operations in DOCUMENT["paths"].items():
        for method, operation in operations.items():
            yield path, method.upper(), operation


def routes(patterns: Sequence[URLPattern]) -> set[str]:
    """Return the paths as OpenAPI writes them."""
    return {"/" + re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", str(each.pattern)) for each in patterns}


def test_every_route_is_documented_and_nothing_else() -> None:
    assert set(DOCUMENT["paths"]) == routes(api_urls.urlpatterns)


def test_schema_is_public(ask: Asking) -> None:
    reply = ask(method="GET", path="/api/schema", key="")
    assert reply.status == 200
    assert reply.headers["content-type"] == "application/json"
    assert reply.json == DOCUMENT
    assert reply.json["openapi"] == "3.1.0"


def test_undocumented_method_is_405_with_allow_header(ask: Asking) -> None:
    for path, method in itertools.product(DOCUMENT["paths"], METHODS):
        allowed = {name.upper() for name in DOCUMENT["paths"][path]}
        if "GET" in allowed:
            allowed.add("HEAD")
        named = path.replace("{request_id}", AN_ID).replace("{model}", "gemini-2.0-flash")
        reply = ask(method=method, path=named)
        assert (reply.status == 405) == (method not in allowed | {"OPTIONS"}), (path, method)
        if method == "OPTIONS":
            assert (reply.status, reply.body) == (204, b"")
        if method == "HEAD":
            assert reply.body == b""
        elif reply.status in (204, 405):
            assert set(reply.headers["allow"].split(", ")) == allowed | {"OPTIONS"}
        if reply.status == 405 and method != "HEAD":
            error = reply.json["error"]
            sentence = f"Method {method} is not allowed; use {' or '.join(sorted(allowed))}"
            assert sentence == (error if isinstance(error, str) else error["message"])


def test_every_documented_error_has_codes_and_description() -> None:
    compared = 0
    for _path, _method, operation in documented():
        for status, response in operation["responses"].items():
            assert response["description"]
            schema = response["content"]["application/json"]["schema"] if status != "200" else {}
            if "code" in schema.get("properties", {}):
                assert response["description"] == MEANINGS[int(status)]
                compared += 1
    assert 500 not in MEANINGS
    assert compared > len(MEANINGS)


# --- Schemathesis -----------------------------------------------------------------------------


async def served(scope: Any, receive: Any, send: Any) -> None:
    """Wrap the application: Schemathesis starts each only once in a process."""
    await application(scope, receive, send)


def examined(api_key: str, *, examples: int) -> BaseSchema:
    generation = EXAMINATION["generation"] | {"max-examples": examples}
    config = SchemathesisConfig.from_dict(EXAMINATION | {"generation": generation})
    described = schemathesis.openapi.from_asgi("/api/schema", served, config=config)
    # What a vendor takes for a good body only the vendor's own schema says.
    schema = described.exclude(path_regex=r"^/v1")
    schema.config.update(headers={"x-pulse-key": api_key})

    @schema.hook
    def map_case(_context: Any, case: Any) -> Any:
        """Make a body that is valid by the schema valid by rules that a schema cannot express."""
        if case.meta is None or case.meta.generation.mode.is_positive:
            if isinstance(case.body, dict):
                case.body = _without_duplicates(case.body)
            for name, value in (case.query or {}).items():
                case.query[name] = _printable(value)
            for name in ("cursor", "from", "to"):  # the pattern has dates that do not exist
                (case.query or {}).pop(name, None)
        return case

    return schema


def _without_duplicates(body: dict[str, Any]) -> dict[str, Any]:
    """Return the body with a known model and no dimension in two places."""
    metadata = body.get("metadata", {})
    top_level = {name: _printable(body[name]) for name in DIMENSIONS if name in body}
    moved = {name: _printable(metadata[name]) for name in metadata if name not in top_level}
    return {**body, **top_level, "model": "sandbox-small", "metadata": moved}


def _printable(value: Any) -> Any:
    # Schemathesis' own \p{C} lacks the unassigned and the private characters.
    if not isinstance(value, str):
        return value
    return "".join(character for character in value if character.isprintable())


def faults_in(event: EngineEvent) -> list[str]:
    if isinstance(event, FatalError):
        return [str(event.exception)]
    if isinstance(event, NonFatalError):
        return [str(event.value)]
    if not isinstance(event, ScenarioFinished):
        return []
    return [
        f"{check.name}: {check.failure_info.failure}\n{check.failure_info.code_sample}"
        for checks in event.recorder.checks.values()
        for check in checks
        if check.failure_info is not None
    ]


def test_schemathesis_finds_no_difference(
    gateway: Gateway, api_key: str, pytestconfig: pytest.Config
) -> None:
    examples = 10 if pytestconfig.getoption("--long") else 5
    faults: list[str] = []
    requests = 0
    for event in from_schema(examined(api_key, examples=examples)).execute():
        faults += faults_in(event)
        if isinstance(event, ScenarioFinished):
            requests += len(event.recorder.interactions)
    assert not faults, "\n\n".join(faults[:5])
    assert requests > 100
    assert AiRequestLog.objects.filter(status="ok").count() > 5
    assert not AiRequestLog.objects.filter(status__in=("pending", "unknown")).exists()
    assert not Hold.objects.filter(state=Hold.State.HELD).exists()

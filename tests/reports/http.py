"""Reports about HTTP itself: bodies, browsers, streams, and answers that no call has."""

from __future__ import annotations

from typing import Final

from tests.reports.case import Report

STREAMS: Final = "tests/gateway/http/test_api_streams.py"
BODIES: Final = "tests/gateway/http/test_api_bodies.py"
OUTSIDE: Final = "tests/gateway/http/test_outside.py"
SERVER: Final = "tests/server/test_protocol.py"
REPORTS: Final = (
    Report(
        kind="a stream has no byte while a model thinks, and proxies cut it",
        report="https://github.com/BerriAI/litellm/pull/37322",
        right="a comment every 10 s; an error after it is the last event",
        source="https://html.spec.whatwg.org/multipage/server-sent-events.html#authoring-notes",
        test=f"{STREAMS}::test_stream_shows_life_while_provider_is_silent",
    ),
    Report(
        kind="the same between two pieces of an answer",
        report="https://github.com/kortix-ai/suna/pull/3696",
        right="a comment between two events",
        source="https://html.spec.whatwg.org/multipage/server-sent-events.html#authoring-notes",
        test=f"{STREAMS}::test_stream_shows_life_between_pieces",
    ),
    Report(
        kind="a refusal is a 200, since the stream has begun",
        report="https://github.com/BerriAI/litellm/issues/10593",
        right="nothing is sent before the call is admitted",
        source="none: what a client expects",
        test=f"{STREAMS}::test_refusal_keeps_its_status_however_long_admission_takes",
    ),
    Report(
        kind="a compressed body is read as JSON",
        report="https://github.com/earendil-works/pi/issues/8517",
        right="gzip and zstd are unpacked",
        source="https://www.rfc-editor.org/rfc/rfc9110#name-content-encoding",
        test=f"{BODIES}::test_compressed_body_is_read",
    ),
    Report(
        kind="a small compressed body unpacks to gigabytes",
        report="https://github.com/zyycn/codex-proxy-rs/pull/66",
        right="413 at the limit of all bodies, within the memory of its caller",
        source="https://www.rfc-editor.org/rfc/rfc8878#section-7.1",
        test=f"{BODIES}::test_compressed_body_is_refused_above_limit_and_takes_no_memory",
    ),
    Report(
        kind="an encoding that is not known is read as JSON",
        report="https://github.com/james-6-23/codex2api/pull/388",
        right="415, naming those that are",
        source="https://www.rfc-editor.org/rfc/rfc9110#name-415-unsupported-media-type",
        test=f"{BODIES}::test_other_encodings_are_415",
    ),
    Report(
        kind="a browser's question before a request needs a key, or is 405",
        report="https://github.com/envoyproxy/ai-gateway/issues/965",
        right="answered without a key, for the configured origins",
        source="https://fetch.spec.whatwg.org/#http-cors-protocol",
        test=f"{OUTSIDE}::test_pages_of_allowed_origin_may_call",
    ),
    Report(
        kind="any origin is reflected",
        report="https://github.com/icebear0828/codex-proxy/pull/447",
        right="other origins get no such header",
        source="https://fetch.spec.whatwg.org/#http-cors-protocol",
        test=f"{OUTSIDE}::test_pages_of_other_origins_may_not",
    ),
    Report(
        kind="OPTIONS of a known path is 404 or 405",
        report="https://github.com/mostlygeek/llama-swap/issues/42",
        right="204 with Allow",
        source="https://www.rfc-editor.org/rfc/rfc9110#name-options",
        test="tests/gateway/http/test_schema.py::test_undocumented_method_is_405_with_allow_header",
    ),
    Report(
        kind="an unknown path is a page, or passed on",
        report="https://github.com/AntSeed/antseed/pull/218",
        right="404 in the error format of the path's API",
        source="https://developers.openai.com/api/docs/guides/error-codes",
        test=f"{OUTSIDE}::test_unserved_path_is_404_in_words_of_its_api",
    ),
    Report(
        kind="an answer to HTTP/1.0 is sent in chunks",
        report="https://github.com/Kludex/uvicorn/pull/1360",
        right="its end is the connection's end",
        source="https://www.rfc-editor.org/rfc/rfc9112#section-6.1",
        test=f"{SERVER}::test_answer_to_http_1_0_has_no_chunks_and_ends_with_connection",
    ),
    Report(
        kind="an answer that was paid for is lost with the database",
        report="none: found in review",
        right="delivered within 2 s without its cost, charged later",
        source="none: the contract of this gateway",
        test=f"{STREAMS}::test_answer_does_not_wait_for_database_that_is_away",
    ),
)

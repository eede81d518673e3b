"""Reports about errors of providers: statuses, keys, headers, retries, and proxies on the way."""

from __future__ import annotations

from typing import Final

from tests.reports.case import Report

_HTTP: Final = "tests/gateway/http/test_provider_errors.py"
_KEYS: Final = "tests/gateway/http/test_refused_keys.py"
_IDS: Final = "tests/gateway/http/test_request_ids.py"
_CLIENTS: Final = "tests/clients/test_provider_errors.py"
_REFUSALS: Final = "tests/gateway/providers/test_refusals.py"
_UNKNOWN: Final = "tests/gateway/providers/test_unknown.py"
_OPENAI: Final = "https://developers.openai.com/api/docs/guides/error-codes"
_ANTHROPIC: Final = "https://platform.claude.com/docs/en/api/errors"
_GOOGLE: Final = "https://ai.google.dev/gemini-api/docs/troubleshooting"
_CLOUDFLARE: Final = (
    "https://developers.cloudflare.com/support/troubleshooting/http-status-codes/"
    "cloudflare-5xx-errors/"
)
_SDK: Final = "https://github.com/openai/openai-python/blob/main/src/openai/_base_client.py"

REPORTS: Final = (
    Report(
        kind="529 overloaded arrives as another 5xx, so that clients do not recognize it",
        report="https://github.com/gptme/gptme/pull/697",
        right="status 529 and Anthropic's own body",
        source=_ANTHROPIC,
        test=f"{_CLIENTS}::test_overload_raises_anthropics_own_class",
    ),
    Report(
        kind="a vendor's error loses its type where the request was translated",
        report="https://github.com/BerriAI/litellm/issues/9016",
        right="OpenAI's shape with the vendor's status, type and message, not nested in a text",
        source=_ANTHROPIC,
        test=f"{_HTTP}::test_translated_own_error_keeps_status_type_and_message",
    ),
    Report(
        kind="a 5xx of the vendor's own arrives as 502",
        report="https://github.com/gptme/gptme/pull/697",
        right="status and body unchanged",
        source=_OPENAI,
        test=f"{_HTTP}::test_own_error_is_relayed_unchanged",
    ),
    Report(
        kind="the gateway's key is refused, and the error is about the client's own",
        report="https://github.com/BerriAI/litellm/pull/30229",
        right="502 provider_credentials, whose message is about the gateway",
        source=f"{_OPENAI}; {_ANTHROPIC}; {_GOOGLE}",
        test=f"{_KEYS}::test_refused_key_is_not_blamed_on_client",
    ),
    Report(
        kind="Google's invalid key is a 400 INVALID_ARGUMENT, taken for the client's request",
        report="https://github.com/google-gemini/gemini-cli/issues/25198",
        right="502 provider_credentials by the reason API_KEY_INVALID, also behind a fallback",
        source="https://github.com/googleapis/googleapis/blob/master/google/api/error_reason.proto",
        test=f"{_KEYS}::test_refused_key_is_noted_if_fallback_answers",
    ),
    Report(
        kind="an exhausted or revoked key of the gateway is noticed by its callers only",
        report="https://github.com/BerriAI/litellm/pull/38902",
        right="operators are alerted, once for a provider and a day",
        source="none: no vendor documents it",
        test=f"{_KEYS}::test_refused_key_alerts_operators_once_daily",
    ),
    Report(
        kind="403 of a model that the project may not use",
        report="https://portkey.ai/error-library/model-access-error-10537",
        right="the vendor's own 403: the request's model is at fault",
        source=f"none: OpenAI documents model_not_found for 404 only, doubt remains ({_OPENAI})",
        test=f"{_KEYS}::test_model_without_access_keeps_its_403",
    ),
    Report(
        kind="Retry-After of a provider is dropped, renamed or cut",
        report="https://github.com/BerriAI/litellm/issues/21553",
        right="Retry-After as the provider sent it, also above a day",
        source="https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3",
        test=f"{_REFUSALS}::test_how_long_to_wait_is_read_with_care",
    ),
    Report(
        kind="rate limit headers are missing in a 429",
        report="https://github.com/BerriAI/litellm/issues/37754",
        right="the vendor's limits, retry-after and x-should-retry",
        source="https://platform.claude.com/docs/en/api/rate-limits#response-headers",
        test=f"{_HTTP}::test_own_retry_headers_are_returned_and_quotas_are_not",
    ),
    Report(
        kind="a client repeats a call that timed out at a proxy, and pays for each",
        report="https://github.com/earendil-works/pi/issues/6239",
        right="x-should-retry: false, so that OpenAI's and Anthropic's clients call once",
        source=_SDK,
        test=f"{_CLIENTS}::test_unknown_outcome_is_not_retried",
    ),
    Report(
        kind="a client does not repeat what the vendor refused before it worked",
        report="https://github.com/anthropics/claude-code/issues/89156",
        right="the vendor's own 429, 500, 503 and 529 are repeated as at the vendor",
        source=_SDK,
        test=f"{_CLIENTS}::test_own_error_is_retried_like_directly",
    ),
    Report(
        kind="HTML of Cloudflare (520) in place of the vendor's error",
        report="https://github.com/anthropics/claude-code/issues/3197",
        right="502 in the client's shape, unknown, charged at its bound, one attempt",
        source=_CLOUDFLARE,
        test=f"{_HTTP}::test_proxy_error_is_unknown_and_charged",
    ),
    Report(
        kind="a fallback pays a second time after a proxy's 502, 503 or 524",
        report="https://github.com/anthropics/claude-code/issues/16737",
        right="no second attempt",
        source=_CLOUDFLARE,
        test=f"{_HTTP}::test_proxy_error_is_not_followed_by_fallback",
    ),
    Report(
        kind="a proxy's JSON is taken for the vendor's error",
        report="https://github.com/anthropics/claude-code/issues/3197",
        right="unknown: it has no type of a vendor's error",
        source="https://www.rfc-editor.org/rfc/rfc9457 (Cloudflare); AWS, Kong, Vercel: doubt, "
        "their formats are known from their answers",
        test=f"{_UNKNOWN}::test_foreign_server_error_is_unknown",
    ),
    Report(
        kind="'Connection error.' does not say whether DNS, TLS, the host or a proxy failed",
        report="https://github.com/langchain-ai/langchain/issues/5296",
        right="the obstacle in the row, the answer and the log, which also has the host",
        source="none: a matter of the gateway",
        test=f"{_HTTP}::test_unreachable_provider_names_obstacle",
    ),
    Report(
        kind="a proxy's 407 arrives as the provider's answer",
        report="https://github.com/OpenHands/OpenHands/issues/1200",
        right="503 provider_unavailable that names the proxy: nothing was sent",
        source="https://www.rfc-editor.org/rfc/rfc9110#section-15.5.8",
        test=f"{_HTTP}::test_proxy_authentication_error_names_proxy",
    ),
    Report(
        kind="errors have no request id that the client's library shows",
        report="https://github.com/productdevbook/misina/issues/66",
        right="x-request-id and request-id equal x-pulse-request-id, also before a row exists",
        source=f"{_SDK}; {_ANTHROPIC}#request-id",
        test=f"{_IDS}::test_refusals_without_row_have_request_id",
    ),
    Report(
        kind="the vendor's own request id is lost, which its support asks for",
        report="https://github.com/BerriAI/litellm/issues/16534",
        right="x-pulse-upstream-request-id, and in the row",
        source=f"{_ANTHROPIC}#request-id",
        test=f"{_IDS}::test_answers_and_errors_have_gateways_id",
    ),
)

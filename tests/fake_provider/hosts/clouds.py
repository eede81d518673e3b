"""Azure OpenAI, Claude in Microsoft Foundry, Amazon Bedrock and Vertex AI."""

from __future__ import annotations

from typing import Any, Final

from tests.fake_provider.behaviour import Answer
from tests.fake_provider.formats.chat import openai_error
from tests.fake_provider.formats.common import Format, sse
from tests.fake_provider.formats.gemini import GOOGLE_COUNT, GOOGLE_GENERATE, google_error
from tests.fake_provider.formats.messages import anthropic_error
from tests.fake_provider.hosts import errors, fields
from tests.fake_provider.hosts.host import Body, FakeHost, HostEndpoint, refuses_unknown
from tests.fake_provider.hosts.shapes import (
    EMBEDDINGS,
    MESSAGES,
    MESSAGES_COUNT,
    RESPONSES,
    ChatShape,
    cached_usage,
)

WRONG_AZURE_KEY: Final = (
    "Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a "
    "valid key for an active subscription and use a correct regional API endpoint for your "
    "resource."
)
NO_DEPLOYMENT: Final = (
    "The API deployment for this resource does not exist. If you created the deployment within the "
    "last 5 minutes, please wait a moment and try again."
)
SAFE: Final = {"hate": {"filtered": False, "severity": "safe"}}


def _filtered_prompt(_: Answer) -> list[str]:
    """Return the first chunk of Azure's streams: no choice, no model, the filter's results.

    https://github.com/microsoft/autogen/issues/6465
    """
    results = [{"prompt_index": 0, "content_filter_results": SAFE}]
    nothing = {"choices": [], "created": 0, "id": "", "model": "", "object": ""}
    return [sse(nothing | {"prompt_filter_results": results})]


def _filtered(_: Answer, chunk: Any) -> dict[str, Any]:
    choices = [choice | {"content_filter_results": {}} for choice in chunk["choices"]]
    return {**chunk, "choices": choices}


_AZURE_CHAT: Final = ChatShape(usage=cached_usage, opening=_filtered_prompt, finish=_filtered)
_UNRECOGNIZED: Final = "Unrecognized request argument supplied: {}"


def _of_openai(format_: Format, known: frozenset[str]) -> HostEndpoint:
    checks = (refuses_unknown(known, _UNRECOGNIZED),)
    return HostEndpoint(format=format_, errors=errors.azure, checks=checks)


# https://learn.microsoft.com/azure/ai-foundry/openai/api-version-lifecycle
AZURE: Final = FakeHost(
    name="azure",
    path="/openai/v1",
    endpoints={
        "/openai/v1/chat/completions": _of_openai(_AZURE_CHAT.format(), fields.CHAT),
        "/openai/v1/responses": _of_openai(RESPONSES, fields.RESPONSES),
        "/openai/v1/embeddings": _of_openai(EMBEDDINGS, fields.EMBEDDINGS),
    },
    models=("our-gpt", "our-embeddings"),
    credentials=("api-key", "authorization"),
    wrong_key=lambda status, _: errors.azure(status, WRONG_AZURE_KEY),
    unknown_model=NO_DEPLOYMENT,
    takes_tokens=True,
    models_path="/openai/v1/models",
    # What the resource could deploy, whatever is deployed.
    model_list=lambda _: {
        "object": "list",
        "data": [{"id": "gpt-4o-mini-2024-07-18", "object": "model", "status": "succeeded"}],
    },
)


def _foundry_error(status: int, message: str) -> dict[str, Any]:
    return errors.azure(status, message) if status == 404 else anthropic_error(status, message)


_VERSION: Final = ("anthropic-version",)
# https://platform.claude.com/docs/en/build-with-claude/claude-in-microsoft-foundry
FOUNDRY: Final = FakeHost(
    name="foundry",
    path="/anthropic/v1",
    endpoints={
        "/anthropic/v1/messages": HostEndpoint(
            format=MESSAGES,
            errors=_foundry_error,
            checks=(refuses_unknown(fields.MESSAGES, "{}: Extra inputs are not permitted"),),
            needs=_VERSION,
        ),
        "/anthropic/v1/messages/count_tokens": HostEndpoint(
            format=MESSAGES_COUNT, errors=_foundry_error, needs=_VERSION
        ),
    },
    models=("our-claude",),
    credentials=("x-api-key", "api-key", "authorization"),
    wrong_key=lambda status, _: errors.azure(status, WRONG_AZURE_KEY),
    unknown_model=NO_DEPLOYMENT,
    takes_tokens=True,
)

_BEDROCK_CHAT: Final = ChatShape(usage=cached_usage)
# https://docs.aws.amazon.com/bedrock/latest/userguide/inference-chat-completions.html, by API key:
# https://docs.aws.amazon.com/bedrock/latest/userguide/api-keys-use.html
BEDROCK: Final = FakeHost(
    name="bedrock",
    path="/openai/v1",
    endpoints={
        "/openai/v1/chat/completions": HostEndpoint(
            format=_BEDROCK_CHAT.format(), errors=openai_error
        ),
        "/openai/v1/responses": HostEndpoint(format=RESPONSES, errors=openai_error),
        "/anthropic/v1/messages": HostEndpoint(
            format=MESSAGES, errors=anthropic_error, needs=_VERSION
        ),
    },
    models=("openai.gpt-oss-20b-1:0", "anthropic.claude-sonnet-4-5-20250929-v1:0"),
    wrong_key_status=403,
    wrong_key=lambda status, _: errors.aws(
        status, "Authentication failed: Please make sure your API Key is valid."
    ),
    unknown_model="The provided model identifier is invalid.",
    unknown_model_status=400,
)

_PLACE: Final = "/v1/projects/{project}/locations/{location}"
_GOOGLE_MODEL: Final = _PLACE + "/publishers/google/models/{model:[^/:]+}"
_NO_LOGIN: Final = (
    "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie "
    "or other valid authentication credential."
)
_VERTEX_CHAT: Final = ChatShape(usage=cached_usage, usage_in="finish")


def _needs_publisher(body: Body) -> str | None:
    """Chat's models are named with their publisher."""
    if "/" in str(body.get("model")):
        return None
    return "Malformed publisher model: `model` must be {publisher}/{model}"


# https://cloud.google.com/vertex-ai/generative-ai/docs/migrate/openai/overview: fields that it does
# not know are ignored. https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/inference
VERTEX: Final = FakeHost(
    name="vertex",
    path="/v1/projects/acme/locations/europe-west1/endpoints/openapi",
    endpoints={
        _PLACE + "/endpoints/openapi/chat/completions": HostEndpoint(
            format=_VERTEX_CHAT.format(), errors=errors.in_list, checks=(_needs_publisher,)
        ),
        **{
            f"{_GOOGLE_MODEL}:{method}": HostEndpoint(format=format_, errors=google_error)
            for method, format_ in {
                "generateContent": GOOGLE_GENERATE,
                "streamGenerateContent": GOOGLE_GENERATE,
                "countTokens": GOOGLE_COUNT,
            }.items()
        },
    },
    models=("google/gemini-2.5-flash", "gemini-2.5-flash"),
    wrong_key=lambda status, _: google_error(status, _NO_LOGIN),
    unknown_model="Publisher Model `{}` not found.",
    takes_key=False,
    takes_tokens=True,
)

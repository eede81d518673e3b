"""URLs of the JSON API."""

from django.urls import path

from gateway.http import compatible, health, model_list, stored
from gateway.http.native import ai_request, backtest, reads
from gateway.http.openapi import document

urlpatterns = [
    path("api/ai/request", ai_request.ai_request, name="api-request"),
    path("api/ai/quote", ai_request.ai_quote, name="api-quote"),
    path("api/ai/requests", reads.ai_requests, name="api-requests"),
    path("api/ai/requests/<request_id>", reads.ai_request_detail, name="api-request-detail"),
    path("api/ai/policies/backtest", backtest.policy_backtest, name="api-backtest"),
    path("api/schema", document.api_schema, name="api-schema"),
    path("v1/responses", compatible.responses, name="responses"),
    *stored.urlpatterns,
    path("v1/embeddings", compatible.embeddings, name="embeddings"),
    path("v1/chat/completions", compatible.chat_completions, name="chat-completions"),
    path("v1/messages", compatible.messages, name="messages"),
    path(
        "v1/messages/count_tokens", compatible.messages_count_tokens, name="messages-count-tokens"
    ),
    # The methods are written out, so that every other name under v1/models is free.
    *(
        path(f"{version}/models/<path:model>:{method}", view, name=f"{version}-{method}")
        for version, methods in compatible.generate.items()
        for method, view in methods.items()
    ),
    path("api/hello", health.hello, name="hello"),
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("v1/models", model_list.models, name="models"),
    path("v1/models/<path:model>", model_list.model, name="model"),
    path("v1beta/models", model_list.google_models, name="google-models"),
    path("v1beta/models/<path:model>", model_list.google_model, name="google-model"),
]

"""URLs of the JSON API."""

from django.urls import path

from gateway import api, api_reads, dropin, schema

urlpatterns = [
    path("api/ai/request", api.ai_request, name="api-request"),
    path("api/ai/quote", api.ai_quote, name="api-quote"),
    path("api/ai/requests", api_reads.ai_requests, name="api-requests"),
    path("api/ai/requests/<request_id>", api_reads.ai_request_detail, name="api-request-detail"),
    path("api/schema", schema.api_schema, name="api-schema"),
    path("v1/chat/completions", dropin.chat_completions, name="chat-completions"),
    path("healthz", api_reads.healthz, name="healthz"),
    path("readyz", api_reads.readyz, name="readyz"),
]

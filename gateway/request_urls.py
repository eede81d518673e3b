"""URLs of the requests' pages, below /admin/."""

from __future__ import annotations

from django.urls import path

from gateway import request_exports, request_views

urlpatterns = [
    path("ai", request_views.requests, name="requests"),
    path("ai/requests/new", request_views.new_requests, name="requests-new"),
    path(
        "ai/requests.csv", request_exports.export_requests, {"format": "csv"}, name="requests-csv"
    ),
    path(
        "ai/requests.json",
        request_exports.export_requests,
        {"format": "json"},
        name="requests-json",
    ),
    path("ai/requests/<str:request_id>", request_views.request_detail, name="request"),
]

"""URLs of the API keys' pages, below /admin/."""

from __future__ import annotations

from django.urls import path

from gateway.keys import views

urlpatterns = [
    path("ai/keys", views.keys, name="keys"),
    path("ai/keys.csv", views.export_keys, {"format": "csv"}, name="keys-csv"),
    path("ai/keys.json", views.export_keys, {"format": "json"}, name="keys-json"),
    path("ai/keys/create", views.create_key, name="key-create"),
    path("ai/keys/<str:key_id>/rotate", views.rotate_key, name="key-rotate"),
    path("ai/keys/<str:key_id>/revoke", views.revoke_key, name="key-revoke"),
]

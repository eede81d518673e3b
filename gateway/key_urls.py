"""URLs of the API keys' pages, below /admin/."""

from __future__ import annotations

from django.urls import path

from gateway import key_views

urlpatterns = [
    path("ai/keys", key_views.keys, name="keys"),
    path("ai/keys.csv", key_views.export_keys, {"format": "csv"}, name="keys-csv"),
    path("ai/keys.json", key_views.export_keys, {"format": "json"}, name="keys-json"),
    path("ai/keys/create", key_views.create_key, name="key-create"),
    path("ai/keys/<str:key_id>/rotate", key_views.rotate_key, name="key-rotate"),
    path("ai/keys/<str:key_id>/revoke", key_views.revoke_key, name="key-revoke"),
]

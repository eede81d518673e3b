"""URLs of API keys, to be included under the console's `keys/`."""

from __future__ import annotations

from django.urls import path

from orgs import key_views

urlpatterns = [
    path("", key_views.keys, name="keys"),
    path("create", key_views.create_key, name="key-create"),
    path("<str:key_id>/rotate", key_views.rotate_key, name="key-rotate"),
    path("<str:key_id>/revoke", key_views.revoke_key, name="key-revoke"),
]

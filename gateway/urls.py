"""URLs of the console, below /admin/ as the Django admin; these come first."""

from __future__ import annotations

from django.urls import path

from gateway import (
    alias_views,
    console,
    key_views,
    playground_views,
    policy_views,
    request_exports,
    request_views,
)

CSV = {"format": "csv"}
JSON = {"format": "json"}

urlpatterns = [
    path("ai", request_views.requests, name="requests"),
    path("ai/requests/new", request_views.new_requests, name="requests-new"),
    path("ai/requests.csv", request_exports.export_requests, CSV, name="requests-csv"),
    path(
        "ai/requests.json",
        request_exports.export_requests,
        JSON,
        name="requests-json",
    ),
    path("ai/requests/<str:request_id>", request_views.request_detail, name="request"),
    path("ai/policies", policy_views.policies, name="policies"),
    path("ai/policies.csv", policy_views.export_policies, CSV, name="policies-csv"),
    path("ai/policies.json", policy_views.export_policies, JSON, name="policies-json"),
    path("ai/policies/effect", policy_views.policy_effect, name="policy-effect"),
    path("ai/policies/create", policy_views.create_policy, name="policy-create"),
    path("ai/policies/<str:policy_id>", policy_views.edit_policy, name="policy-edit"),
    path("ai/policies/<str:policy_id>/toggle", policy_views.toggle_policy, name="policy-toggle"),
    path("ai/policies/<str:policy_id>/delete", policy_views.delete_policy, name="policy-delete"),
    path("ai/aliases", alias_views.aliases, name="aliases"),
    path("ai/aliases.csv", alias_views.export_aliases, CSV, name="aliases-csv"),
    path("ai/aliases.json", alias_views.export_aliases, JSON, name="aliases-json"),
    path("ai/aliases/create", alias_views.create_alias, name="alias-create"),
    path("ai/aliases/<str:alias_id>", alias_views.edit_alias, name="alias-edit"),
    path("ai/aliases/<str:alias_id>/toggle", alias_views.toggle_alias, name="alias-toggle"),
    path("ai/aliases/<str:alias_id>/delete", alias_views.delete_alias, name="alias-delete"),
    path("ai/playground", playground_views.playground, name="playground"),
    path("ai/keys", key_views.keys, name="keys"),
    path("ai/keys.csv", key_views.export_keys, CSV, name="keys-csv"),
    path("ai/keys.json", key_views.export_keys, JSON, name="keys-json"),
    path("ai/keys/create", key_views.create_key, name="key-create"),
    path("ai/keys/<str:key_id>/rotate", key_views.rotate_key, name="key-rotate"),
    path("ai/keys/<str:key_id>/revoke", key_views.revoke_key, name="key-revoke"),
    # What is left would be Django admin's, whose answer to a stranger is its own sign-in.
    path("ai/", console.elsewhere),
    path("ai/<path:rest>", console.elsewhere),
]

"""URLs of the policies' pages, below /admin/."""

from __future__ import annotations

from django.urls import path

from gateway import policy_views

urlpatterns = [
    path("ai/policies", policy_views.policies, name="policies"),
    path("ai/policies.csv", policy_views.export_policies, {"format": "csv"}, name="policies-csv"),
    path(
        "ai/policies.json", policy_views.export_policies, {"format": "json"}, name="policies-json"
    ),
    path("ai/policies/effect", policy_views.policy_effect, name="policy-effect"),
    path("ai/policies/create", policy_views.create_policy, name="policy-create"),
    path("ai/policies/<str:policy_id>", policy_views.edit_policy, name="policy-edit"),
    path("ai/policies/<str:policy_id>/toggle", policy_views.toggle_policy, name="policy-toggle"),
    path("ai/policies/<str:policy_id>/delete", policy_views.delete_policy, name="policy-delete"),
]

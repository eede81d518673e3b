"""URLs of the policies' pages, below /admin/."""

from __future__ import annotations

from django.urls import path

from gateway.policies import views

urlpatterns = [
    path("ai/policies", views.policies, name="policies"),
    path("ai/policies.csv", views.export_policies, {"format": "csv"}, name="policies-csv"),
    path("ai/policies.json", views.export_policies, {"format": "json"}, name="policies-json"),
    path("ai/policies/effect", views.policy_effect, name="policy-effect"),
    path("ai/policies/create", views.create_policy, name="policy-create"),
    path("ai/policies/<str:policy_id>", views.edit_policy, name="policy-edit"),
    path("ai/policies/<str:policy_id>/mode", views.set_mode, name="policy-mode"),
    path("ai/policies/<str:policy_id>/delete", views.delete_policy, name="policy-delete"),
]

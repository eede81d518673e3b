"""URLs of the budgets' pages, below /costs/."""

from __future__ import annotations

from django.urls import path

from gateway import budget_views

urlpatterns = [
    path("budgets", budget_views.budgets, name="budgets"),
    path("budgets.csv", budget_views.export_budgets, {"format": "csv"}, name="budgets-csv"),
    path("budgets.json", budget_views.export_budgets, {"format": "json"}, name="budgets-json"),
    path("budgets/create", budget_views.create_budget, name="budget-create"),
    path("budgets/<str:budget_id>", budget_views.budget, name="budget"),
    path("budgets/<str:budget_id>/toggle", budget_views.toggle_budget, name="budget-toggle"),
    path("budgets/<str:budget_id>/delete", budget_views.delete_budget, name="budget-delete"),
]

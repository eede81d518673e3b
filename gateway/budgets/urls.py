"""URLs of the budgets' pages, below /costs/."""

from __future__ import annotations

from django.urls import path

from gateway.budgets import views

urlpatterns = [
    path("budgets", views.budgets, name="budgets"),
    path("budgets.csv", views.export_budgets, {"format": "csv"}, name="budgets-csv"),
    path("budgets.json", views.export_budgets, {"format": "json"}, name="budgets-json"),
    path("budgets/create", views.create_budget, name="budget-create"),
    path("budgets/<str:budget_id>", views.budget, name="budget"),
    path("budgets/<str:budget_id>/toggle", views.toggle_budget, name="budget-toggle"),
    path("budgets/<str:budget_id>/raise", views.raise_limit, name="budget-raise"),
    path("budgets/<str:budget_id>/lower", views.lower_limit, name="budget-lower"),
    path("budgets/<str:budget_id>/delete", views.delete_budget, name="budget-delete"),
]

"""URLs of the pages of models and prices."""

from __future__ import annotations

from django.urls import path

from gateway.price_pages import setting_views, views

urlpatterns = [
    path("models", views.models, name="model-prices"),
    path("models.csv", views.export_models, {"format": "csv"}, name="model-prices-csv"),
    path("models.json", views.export_models, {"format": "json"}, name="model-prices-json"),
    path("models/unpriced", views.unpriced, name="models-unpriced"),
    path("models/set", setting_views.set_price, name="price-set"),
    path("models/factor", setting_views.set_factor_of, name="price-factor"),
    path("models/hourly", setting_views.set_hourly_of, name="price-hourly"),
    path("models/undo", setting_views.undo_price, name="price-undo"),
    path("models/<str:provider>/<path:name>", views.model, name="model-price"),
]

"""URLs of the alerts' pages, below /costs/."""

from __future__ import annotations

from django.urls import path

from gateway.alerts import views

CHANNEL = "alerts/channels/<str:channel_id>"

urlpatterns = [
    path("alerts", views.alerts, name="alerts"),
    path("alerts.csv", views.export_alerts, {"format": "csv"}, name="alerts-csv"),
    path("alerts.json", views.export_alerts, {"format": "json"}, name="alerts-json"),
    path("alerts/acknowledge", views.acknowledge_all, name="alerts-acknowledge"),
    path("alerts/channels", views.channels, name="alert-channels"),
    path("alerts/channels/create", views.create_channel, name="alert-channel-create"),
    path(f"{CHANNEL}/toggle", views.toggle_channel, name="alert-channel-toggle"),
    path(f"{CHANNEL}/test", views.test_channel, name="alert-channel-test"),
    path(f"{CHANNEL}/addresses", views.ask_addresses, name="alert-channel-addresses"),
    path(f"{CHANNEL}/secret", views.renew_secret, name="alert-channel-secret"),
    path(f"{CHANNEL}/delete", views.delete_channel, name="alert-channel-delete"),
    path("alerts/confirm/<str:token>", views.confirm_address, name="alert-confirm"),
    path("alerts/<str:alert_id>/acknowledge", views.acknowledge, name="alert-acknowledge"),
]

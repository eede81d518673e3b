"""URLs of the alerts' pages, below /costs/."""

from __future__ import annotations

from django.urls import path

from gateway import alert_views

CHANNEL = "alerts/channels/<str:channel_id>"

urlpatterns = [
    path("alerts", alert_views.alerts, name="alerts"),
    path("alerts.csv", alert_views.export_alerts, {"format": "csv"}, name="alerts-csv"),
    path("alerts.json", alert_views.export_alerts, {"format": "json"}, name="alerts-json"),
    path("alerts/acknowledge", alert_views.acknowledge_all, name="alerts-acknowledge"),
    path("alerts/channels", alert_views.channels, name="alert-channels"),
    path("alerts/channels/create", alert_views.create_channel, name="alert-channel-create"),
    path(f"{CHANNEL}/toggle", alert_views.toggle_channel, name="alert-channel-toggle"),
    path(f"{CHANNEL}/test", alert_views.test_channel, name="alert-channel-test"),
    path(f"{CHANNEL}/secret", alert_views.renew_secret, name="alert-channel-secret"),
    path(f"{CHANNEL}/delete", alert_views.delete_channel, name="alert-channel-delete"),
    path("alerts/<str:alert_id>/acknowledge", alert_views.acknowledge, name="alert-acknowledge"),
]

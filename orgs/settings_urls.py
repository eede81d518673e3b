"""URLs of an organization's settings and members."""

from __future__ import annotations

from django.urls import path

from orgs import settings_views

urlpatterns = [
    path("settings/organization", settings_views.organization, name="settings-organization"),
    path(
        "settings/organization/members.csv",
        settings_views.export_members,
        {"format": "csv"},
        name="members-csv",
    ),
    path(
        "settings/organization/members.json",
        settings_views.export_members,
        {"format": "json"},
        name="members-json",
    ),
    path("settings/organization/members", settings_views.add_member, name="member-add"),
    path(
        "settings/organization/members/<str:member_id>/role",
        settings_views.change_role,
        name="member-role",
    ),
    path(
        "settings/organization/members/<str:member_id>/link",
        settings_views.new_link,
        name="member-link",
    ),
    path(
        "settings/organization/members/<str:member_id>/remove",
        settings_views.remove_member,
        name="member-remove",
    ),
    path("organizations/switch", settings_views.switch_organization, name="organization-switch"),
]

"""URLs of an organization's settings and members."""

from __future__ import annotations

from django.urls import path

from orgs.settings import views

urlpatterns = [
    path("settings/organization", views.organization, name="settings-organization"),
    path(
        "settings/organization/members.csv",
        views.export_members,
        {"format": "csv"},
        name="members-csv",
    ),
    path(
        "settings/organization/members.json",
        views.export_members,
        {"format": "json"},
        name="members-json",
    ),
    path("settings/organization/members", views.add_member, name="member-add"),
    path(
        "settings/organization/members/<str:member_id>/role",
        views.change_role,
        name="member-role",
    ),
    path(
        "settings/organization/members/<str:member_id>/link",
        views.new_link,
        name="member-link",
    ),
    path(
        "settings/organization/members/<str:member_id>/remove",
        views.remove_member,
        name="member-remove",
    ),
    path("organizations/switch", views.switch_organization, name="organization-switch"),
]

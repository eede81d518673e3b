"""Django admin of the history, and of rows whose changes are recorded in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from django.contrib import admin
from django.db import transaction
from django.db.models import Model, QuerySet
from django.http import HttpRequest

from orgs.audit import history
from orgs.models import HistoryEvent


class RecordedAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not subscriptable at run time
    """Rows that are saved and deleted here without an operation that records it.

    `recorded` names the values that the history keeps.
    """

    recorded: ClassVar[Sequence[str]]

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        with transaction.atomic():
            before = self._values(type(obj)._base_manager.get(pk=obj.pk)) if change else None
            super().save_model(request, obj, form, change)
            event = "changed" if change else "created"
            history.record(self._event(event), obj, before=before, after=self._values(obj))

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        with transaction.atomic():
            history.record(self._event("deleted"), obj, before=self._values(obj))
            super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        for obj in queryset:
            self.delete_model(request, obj)

    def _values(self, obj: Model) -> dict[str, Any]:
        return history.values_of(obj, self.recorded)

    def _event(self, what: str) -> str:
        return f"{str(self.opts.verbose_name).rpartition(' ')[2]}_{what}"


@admin.register(HistoryEvent)
class HistoryEventAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not subscriptable at run time
    """The history, to read: rows are never changed."""

    list_display = ("occurred_at", "event", "org", "actor_name", "address", "subject_name")
    list_filter = ("event", "actor_kind", "org")
    list_select_related = ("org",)
    list_per_page = 50
    show_full_result_count = False
    search_fields = ("=subject_id", "=actor_id")
    ordering = ("-id",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

"""Pages whose transaction waited too long for a lock: a sentence, and their turn is free again."""

from __future__ import annotations

from django.db import OperationalError
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.utils.deprecation import MiddlewareMixin

from orgs.database import is_lock_timeout

RETRY_AFTER_S = 5


class LockWaitMiddleware(MiddlewareMixin):
    """Answers 503 where a view gave up waiting for rows that another transaction has locked."""

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Return the page; None for any other exception. The view's transaction is rolled back."""
        if not (isinstance(exception, OperationalError) and is_lock_timeout(exception)):
            return None
        page = render_to_string("503.html")
        return HttpResponse(page, status=503, headers={"Retry-After": str(RETRY_AFTER_S)})

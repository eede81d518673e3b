"""`manage.py changepassword`: Django's own, which also confirms the address."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.management.commands import changepassword
from django.db import transaction
from django.utils.timezone import now

from orgs.audit import history
from orgs.models import User


class Command(changepassword.Command):
    help = (
        "Set a person's password, end their sessions and confirm their address: the operator who "
        "hands the password over vouches for it."
    )

    def handle(self, *args: Any, **options: Any) -> str | None:
        done: str | None = super().handle(*args, **options)
        with transaction.atomic():
            account = User.objects.filter(email=options["username"]).first()
            if account is not None:
                User.objects.filter(pk=account.pk).update(email_confirmed_at=now())
                history.record("password_set", account, after={"has_password": True})
        return done

"""One-time links to set a first password. No email is sent: an admin passes the link on."""

from __future__ import annotations

import uuid

from django.contrib.auth.hashers import make_password
from django.contrib.auth.tokens import default_token_generator
from django.urls import reverse
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_decode, urlsafe_base64_encode

from orgs.core.errors import Conflict
from orgs.models import User


def welcome_path(user: User) -> str:
    """Return the path of the page where `user` sets a password: valid once, for three days."""
    uid = urlsafe_base64_encode(force_bytes(user.pk))
    token = default_token_generator.make_token(user)
    return reverse("welcome", kwargs={"uid": uid, "token": token})


def welcomed_user(*, uid: str, token: str) -> User | None:
    """Return the user of the link, or None when it is used, expired or forged."""
    try:
        user_id = uuid.UUID(urlsafe_base64_decode(uid).decode())
    except ValueError:
        return None
    user = User.objects.filter(pk=user_id, is_active=True).first()
    if user is None or not default_token_generator.check_token(user, token):
        return None
    return user


def set_first_password(*, user: User, password: str) -> User:
    """Set the password of `user` from `welcomed_user`; this invalidates the link."""
    rows = User.objects.filter(pk=user.pk, password=user.password)
    if not rows.update(password=make_password(password)):
        raise Conflict("This link has already been used; sign in with the password that was set")
    user.refresh_from_db()
    return user

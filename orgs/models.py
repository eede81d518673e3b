"""Users, organizations, memberships, invitations, API keys; sign-in counters and history."""

from __future__ import annotations

import zoneinfo
from datetime import datetime, timedelta
from typing import Any, ClassVar

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.core.exceptions import ValidationError
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models.functions import Lower
from django.utils.timezone import now

from orgs.core import permissions
from orgs.fields import IdField, IdPrimaryKey


def validate_timezone(name: str) -> None:
    """Raise ValidationError unless `name` is an IANA time zone."""
    if name not in zoneinfo.available_timezones():
        raise ValidationError(f'Time zone must be an IANA name, such as Europe/Paris, not "{name}"')


class UserManager(BaseUserManager["User"]):
    """Creates users, identified by their email address."""

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> User:
        user = self.model(email=email.strip().lower(), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> User:
        fields = {"is_staff": True, "is_superuser": True, "email_confirmed_at": now()} | fields
        return self.create_user(email, password, **fields)


class User(AbstractBaseUser, PermissionsMixin):
    """A person. `is_staff` opens Django admin, for what the account's permissions allow there.

    No email is sent to confirm an address: `email_confirmed_at` is when an operator set the
    password and so vouched that the person who has it is the person of the address.
    """

    id = IdPrimaryKey()
    email = models.EmailField(unique=True)
    email_confirmed_at = models.DateTimeField(null=True, blank=True, editable=False)
    name = models.CharField(max_length=150, blank=True)
    is_staff = models.BooleanField(default=False)
    is_active = models.BooleanField(default=True)
    joined_at = models.DateTimeField(default=now, editable=False)

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []
    objects = UserManager()

    class Meta:
        db_table = "user_account"

    def __str__(self) -> str:
        return self.email

    @property
    def is_operator(self) -> bool:
        """Whether the user operates the installation, in any organization or none."""
        return self.is_active and self.is_staff and self.is_superuser

    @property
    def is_protected(self) -> bool:
        """Whether only an operator can change the account: it has, or would have, their rights."""
        return self.is_staff or self.is_superuser


class Organization(models.Model):
    """A tenant. Everything a caller can reach belongs to exactly one.

    `config_version` grows with every change that could alter a decision (by triggers
    in the database, so a change made by hand counts too). RESERVE reads it live.
    """

    class OnDisconnect(models.TextChoices):
        CLOSE = "close", "Stop the provider and charge what it can have produced"
        DRAIN = "drain", "Read the answer to its end and charge it exactly"

    id = IdPrimaryKey()
    name = models.CharField(max_length=200)
    slug = models.SlugField(max_length=63, unique=True)
    ai_gateway_enabled = models.BooleanField(default=False, db_default=False)
    timezone = models.CharField(
        max_length=64, default="UTC", db_default="UTC", validators=[validate_timezone]
    )
    on_disconnect = models.CharField(
        max_length=8,
        choices=OnDisconnect,
        default=OnDisconnect.CLOSE,
        db_default=OnDisconnect.CLOSE,
    )
    # Whether OpenAI keeps answers of the Responses API for the organization, as its clients ask.
    stores_answers = models.BooleanField(default=True, db_default=True)
    config_version = models.BigIntegerField(default=1, db_default=1, editable=False)
    created_at = models.DateTimeField(default=now, editable=False)

    class Meta:
        db_table = "organization"
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class Membership(models.Model):
    """A user's role in an organization."""

    class Role(models.TextChoices):
        ADMIN = "admin", "Admin: full access"
        MEMBER = "member", "Member: can use the gateway and view"
        AUDITOR = "auditor", "Auditor: can view, cannot send requests"

    id = IdPrimaryKey()
    org = models.ForeignKey(Organization, models.CASCADE, related_name="memberships")
    user = models.ForeignKey(User, models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=8, choices=Role)
    created_at = models.DateTimeField(default=now, editable=False)

    class Meta:
        db_table = "membership"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=("org", "user"), name="membership_once"),
            models.CheckConstraint(
                condition=models.Q(role__in=("admin", "member", "auditor")), name="membership_role"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user} in {self.org}"


class Invitation(models.Model):
    """An address that may join an organization in a role, by a one-time link.

    It gives no rights: accepting it makes a membership and deletes it. The link's secret is
    stored only as a hash.
    """

    id = IdPrimaryKey()
    org = models.ForeignKey(Organization, models.CASCADE, related_name="invitations")
    email = models.EmailField()
    role = models.CharField(max_length=8, choices=Membership.Role)
    invited_by = models.ForeignKey(User, models.SET_NULL, null=True, related_name="+")
    link_digest = models.CharField(max_length=64)
    link_created_at = models.DateTimeField()

    class Meta:
        db_table = "invitation"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=("org", "email"), name="invitation_once"),
            models.CheckConstraint(
                condition=models.Q(role__in=("admin", "member", "auditor")), name="invitation_role"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.email} for {self.org}"

    def link_is_valid_at(self, moment: datetime) -> bool:
        """Whether the link has not expired at `moment`."""
        return moment < self.link_created_at + timedelta(seconds=settings.PASSWORD_RESET_TIMEOUT)


class ApiKey(models.Model):
    """A program's credential: the public part in clear, the secret only as an HMAC.

    The dimensions that are set are fixed: a request made with the key cannot change them.
    """

    id = IdPrimaryKey()
    org = models.ForeignKey(Organization, models.CASCADE, related_name="api_keys")
    name = models.CharField(max_length=100)
    public = models.CharField(max_length=12, unique=True)
    digest = models.BinaryField(max_length=32)
    last_four = models.CharField(max_length=4)
    # Without its owner a key would stay valid without one: users are deactivated, not deleted.
    owner = models.ForeignKey(User, models.PROTECT, null=True, blank=True, related_name="api_keys")
    team_id = models.CharField(max_length=128, null=True, blank=True)  # noqa: DJ001  unset differs from ""
    project_id = models.CharField(max_length=128, null=True, blank=True)  # noqa: DJ001
    app_id = models.CharField(max_length=128, null=True, blank=True)  # noqa: DJ001
    client_id = models.CharField(max_length=128, null=True, blank=True)  # noqa: DJ001
    permissions = models.CharField(
        max_length=32, default=permissions.ALL, db_default=permissions.ALL
    )
    # Where the client of its calls is taken from (see `orgs.core.client_sources`); empty: nowhere.
    client_from = models.CharField(max_length=80, default="", db_default="", blank=True)
    created_at = models.DateTimeField(default=now, editable=False)
    created_by_id = IdField(null=True, blank=True, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    replaces = models.ForeignKey(
        "self", models.SET_NULL, null=True, blank=True, editable=False, related_name="replacements"
    )
    # The first key of a chain of rotations; without a value the key itself. Repeated requests are
    # recognised by it.
    lineage_id = IdField(null=True, blank=True, editable=False)
    # Whether the key's text proves that it was issued here; keys of earlier versions are looked up.
    is_sealed = models.BooleanField(default=False, db_default=False, editable=False)

    class Meta:
        db_table = "api_key"
        ordering = ("-created_at",)
        indexes: ClassVar = [
            models.Index(fields=("org", "-created_at"), name="api_key_org_newest"),
            models.Index(
                fields=("public",), condition=models.Q(is_sealed=False), name="api_key_unsealed"
            ),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(
                "org",
                Lower("name"),
                condition=models.Q(revoked_at__isnull=True, replaces__isnull=True),
                name="api_key_name_once",
                violation_error_message="A key with this name exists already.",
            ),
            models.CheckConstraint(
                condition=models.Q(permissions__in=permissions.STORED), name="api_key_permissions"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} (pulse_{self.public}_…{self.last_four})"

    def is_usable_at(self, moment: datetime) -> bool:
        """Whether the key is valid at `moment`."""
        return self.revoked_at is None and (self.expires_at is None or moment < self.expires_at)


class SignInCounter(models.Model):
    """Failed sign-ins of an address, an account or a device until `ends_at`.

    `who` is a kind and a few digits of an HMAC, so the table has a largest size.
    """

    who = models.CharField(max_length=24, primary_key=True)
    failures = models.PositiveIntegerField()
    ends_at = models.DateTimeField()

    class Meta:
        db_table = "sign_in_counter"
        indexes: ClassVar = [models.Index(fields=("ends_at",), name="sign_in_counter_ends")]

    def __str__(self) -> str:
        return f"{self.who}: {self.failures} until {self.ends_at}"


class HistoryEvent(models.Model):
    """Who did what, from where: a sign-in, or a change with the values before and after.

    Triggers in the database refuse to change or delete a row, so nothing refers to it and it
    refers to nothing: it stays when an organization or an account is deleted by hand. `org` is
    None for what concerns an account alone.
    """

    id = IdPrimaryKey()
    occurred_at = models.DateTimeField(default=now, editable=False)
    org = models.ForeignKey(
        Organization,
        models.DO_NOTHING,
        null=True,
        db_constraint=False,
        db_index=False,  # the index below begins with it
        related_name="history",
    )
    event = models.CharField(max_length=48)
    actor_kind = models.CharField(max_length=16)
    actor_id = IdField(null=True)
    actor_name = models.CharField(max_length=254)
    address = models.CharField(max_length=64)
    subject_type = models.CharField(max_length=32)
    subject_id = IdField(null=True)
    subject_name = models.CharField(max_length=254)
    before = models.JSONField(null=True, encoder=DjangoJSONEncoder)
    after = models.JSONField(null=True, encoder=DjangoJSONEncoder)

    class Meta:
        db_table = "history_event"
        indexes: ClassVar = [
            models.Index(fields=("org", "-id"), name="history_event_org_newest"),
            models.Index(fields=("subject_id", "-id"), name="history_event_subject_newest"),
        ]

    def __str__(self) -> str:
        return f"{self.event} at {self.occurred_at}"

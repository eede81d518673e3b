"""Form fields of every app: dimensions, in the spelling that is stored."""

from __future__ import annotations

from typing import Any

from django import forms

from orgs.core.spelling import normalized
from orgs.core.values import DIMENSION_MAX_CHARS, EMAIL_MAX_CHARS


class DimensionField(forms.CharField):
    """An optional dimension."""

    def __init__(self, *, label: str, max_length: int = DIMENSION_MAX_CHARS) -> None:
        super().__init__(
            label=label, required=False, max_length=max_length, validators=[check_printable]
        )

    def to_python(self, value: Any) -> str:
        return normalized(super().to_python(value) or "")


def dimension_field(column: str, *, label: str) -> DimensionField:
    """Return the field of a column's names; the user's may be an email address."""
    is_user = column == "user_id"
    return DimensionField(
        label=label, max_length=EMAIL_MAX_CHARS if is_user else DIMENSION_MAX_CHARS
    )


def check_printable(text: str) -> None:
    """Raise ValidationError unless every character can be printed."""
    if not text.isprintable():
        raise forms.ValidationError("Must contain only printable characters.")

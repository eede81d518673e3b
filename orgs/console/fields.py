"""Form fields of every app: dimensions, in the spelling that is stored."""

from __future__ import annotations

from typing import Any

from django import forms

from orgs.core.spelling import normalized
from orgs.core.values import DIMENSION_MAX_CHARS


class DimensionField(forms.CharField):
    """An optional dimension."""

    def __init__(self, *, label: str, max_length: int = DIMENSION_MAX_CHARS) -> None:
        super().__init__(
            label=label, required=False, max_length=max_length, validators=[check_printable]
        )

    def to_python(self, value: Any) -> str:
        return normalized(super().to_python(value) or "")


def check_printable(text: str) -> None:
    """Raise ValidationError unless every character can be printed."""
    if not text.isprintable():
        raise forms.ValidationError("Must contain only printable characters.")

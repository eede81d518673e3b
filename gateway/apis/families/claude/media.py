"""Fit images and files to what Anthropic accepts.

https://platform.claude.com/docs/en/build-with-claude/vision#supported-formats,
https://platform.claude.com/docs/en/build-with-claude/pdf-support
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from gateway.apis.families.changes import Changes
from gateway.core.messages import File, Image, Message, Part
from gateway.core.request_body import invalid
from orgs.core.values import quoted

_IMAGE_TYPES: Final = ("image/jpeg", "image/png", "image/gif", "image/webp")
_DOCUMENT_TYPES: Final = ("application/pdf", "text/plain")
TITLE_MAX_CHARS: Final = 500


def fit_media(changes: Changes) -> None:
    """Refuse what no model takes, and shorten titles."""
    messages = changes.call.messages
    for index, message in enumerate(messages):
        for part in message.parts:
            if isinstance(part, Image | File):
                _check(part, f"messages[{index}].content", changes.call.model)
    fitted = tuple(_with_short_titles(message) for message in messages)
    if fitted != messages:
        changes.make("Names of files were cut to 500 characters", messages=fitted)


def _check(part: Image | File, where: str, model: str) -> None:
    accepted = _IMAGE_TYPES if isinstance(part, Image) else _DOCUMENT_TYPES
    if part.data is not None and part.media_type not in accepted:
        raise invalid(
            f"{where} has {quoted(part.media_type or '')}, which is not supported by model {model} "
            f'of provider "anthropic"; it takes {", ".join(accepted)}'
        )
    if part.data == "":
        raise invalid(f"{where} has an image or a file without data")


def _with_short_titles(message: Message) -> Message:
    parts = tuple(_titled(message.parts))
    return message if parts == message.parts else replace(message, parts=parts)


def _titled(parts: Iterable[Part]) -> Iterable[Part]:
    for part in parts:
        if isinstance(part, File) and part.name is not None and len(part.name) > TITLE_MAX_CHARS:
            yield replace(part, name=part.name[:TITLE_MAX_CHARS])
        else:
            yield part

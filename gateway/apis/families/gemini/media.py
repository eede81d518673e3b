"""Check the images, documents and sound of a call to Gemini.

https://ai.google.dev/gemini-api/docs/image-understanding, /document-processing, /audio,
https://ai.google.dev/gemini-api/docs/file-input-methods (addresses)
"""

from __future__ import annotations

import mimetypes
import re
from typing import Final
from urllib.parse import urlsplit

from gateway.apis.body_rules import STORED
from gateway.apis.families.gemini import models
from gateway.core.calls import ProviderCall
from gateway.core.errors import Refused
from gateway.core.messages import File, Image
from gateway.core.request_body import invalid
from orgs.core.values import quoted

# "Unsupported MIME type: image/gif": https://github.com/Mai-with-u/MaiBot/issues/1435
IMAGE_TYPES: Final = ("image/png", "image/jpeg", "image/webp", "image/heic", "image/heif")
UNKNOWN_IMAGE: Final = "image/jpeg"
# Read with the installation's key, or as a video, which costs more than any image.
_STORED_AT: Final = "generativelanguage.googleapis.com"
_VIDEOS: Final = re.compile(r"(?:.*\.)?(?:youtube(?:-nocookie)?\.com|youtu\.be)")


def check_media(call: ProviderCall) -> None:
    """Raises Refused for a file that the model does not read."""
    for index, message in enumerate(call.messages):
        for piece in message.pieces:
            if isinstance(piece, Image | File):
                _check(piece, f"messages[{index}].content", call.model)


def image_type(image: Image) -> str:
    """Return an image's type, that of a URL by its name: always an image's, so that nothing dearer
    is read.
    """
    if image.url is None:
        return image.media_type or UNKNOWN_IMAGE
    guessed = mimetypes.guess_type(image.url.partition("?")[0])[0] or ""
    return guessed if guessed.startswith("image/") else UNKNOWN_IMAGE


def _check(piece: Image | File, where: str, model: str) -> None:
    what = "image" if isinstance(piece, Image) else "file"
    if piece.url is None and not piece.data:
        raise invalid(f"{where}: the {what} must not be empty")
    if isinstance(piece, Image) and (kind := image_type(piece)) not in IMAGE_TYPES:
        known = ", ".join(IMAGE_TYPES)
        raise _unsupported(f"{where}: an image of type {quoted(kind)}", model, f"send {known}")
    if piece.url is not None:
        _check_address(piece.url, f"{where}: an address", model)


def _check_address(url: str, where: str, model: str) -> None:
    try:
        host = (urlsplit(url).hostname or "").rstrip(".")
    except ValueError:
        host = ""
    if not host:
        raise invalid(f"{where} must have a host")
    if host == _STORED_AT or host.endswith(f".{_STORED_AT}"):
        raise invalid(STORED.format(f"{where} at Google"))
    if _VIDEOS.fullmatch(host):
        raise _unsupported(f"{where} of a video", model, "send an image or a document")
    if not models.takes_addresses(model):
        raise _unsupported(where, model, "send base64 data")


def _unsupported(what: str, model: str, instead: str) -> Refused:
    return invalid(f'{what} is not supported by model {model} of provider "google"; {instead}')

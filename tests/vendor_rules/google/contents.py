"""What Gemini takes as contents: parts, and turns in their order.

https://ai.google.dev/api/caching#Content. Turns of one role after each other are accepted:
https://github.com/google/adk-go/pull/1302
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from tests.vendor_rules.google.settings import (
    Predicate,
    anything,
    continues_model_turn,
    field_faults,
    generation,
    is_bool,
    is_name,
    is_object,
    is_objects,
    is_text,
)

Fields = Mapping[str, Any]

CONTENT: Final[Mapping[str, Predicate]] = {"role": is_text, "parts": is_objects}
_BASE64: Final = re.compile(r"[A-Za-z0-9+/_-]+={0,2}")


def _is_base64(value: object) -> bool:
    return isinstance(value, str) and _BASE64.fullmatch(value) is not None


# Exactly one of them in a part: https://ai.google.dev/api/caching#Part
_KINDS: Final[Mapping[str, Predicate]] = {
    "text": is_text,
    "inlineData": is_object,
    "functionCall": is_object,
    "functionResponse": is_object,
    "fileData": is_object,
    "executableCode": is_object,
    "codeExecutionResult": is_object,
    "toolCall": is_object,
    "toolResponse": is_object,
}
_PART: Final[Mapping[str, Predicate]] = {
    **_KINDS,
    "thought": is_bool,
    "thoughtSignature": _is_base64,
    "partMetadata": is_object,
    "videoMetadata": is_object,
    "mediaResolution": anything,
    "mediaProcessing": anything,
}
_BLOB: Final[Mapping[str, Predicate]] = {
    "mimeType": is_name,
    "data": _is_base64,
    "displayName": is_text,
}
_FILE: Final[Mapping[str, Predicate]] = {
    "mimeType": is_name,
    "fileUri": is_name,
    "displayName": is_text,
}
_CALL: Final[Mapping[str, Predicate]] = {"id": is_text, "name": is_name, "args": is_object}
_RESPONSE: Final[Mapping[str, Predicate]] = {
    "id": is_text,
    "name": is_name,
    "response": is_object,
    "parts": is_objects,
    "willContinue": is_bool,
    "scheduling": is_text,
}
# Each is documented for some model or way of input; GIF and SVG are for none:
# https://ai.google.dev/gemini-api/docs/image-understanding, /audio, /video-understanding,
# /document-processing, /file-input-methods; https://github.com/Mai-with-u/MaiBot/issues/1435 (GIF),
# https://github.com/brianpetro/obsidian-smart-connections/issues/1238 (image/jpg)
_MIME_TYPES: Final = frozenset(
    {
        *(f"image/{kind}" for kind in ("png", "jpeg", "webp", "heic", "heif")),
        *(
            f"audio/{kind}"
            for kind in ("wav", "mp3", "mpeg", "aiff", "aac", "x-aac", "ogg", "flac")
        ),
        *(f"audio/{kind}" for kind in ("m4a", "mp4", "mpga", "opus", "pcm", "webm")),
        *(f"video/{kind}" for kind in ("mp4", "mpeg", "mov", "avi", "x-flv", "flv", "mpg", "webm")),
        *(f"video/{kind}" for kind in ("wmv", "3gpp", "quicktime", "mpegps")),
        *(
            f"text/{kind}"
            for kind in ("plain", "html", "css", "md", "markdown", "csv", "xml", "rtf")
        ),
        *("text/javascript", "application/pdf", "application/json"),
    }
)
_UPLOADED: Final = re.compile(
    r"https://[a-z0-9.-]*generativelanguage\.googleapis\.com/.*"
    r"|https://(?:www\.)?(?:youtube\.com|youtu\.be)/.*"
)


def objects(given: Fields, name: str) -> list[Fields]:
    """Return the objects of a list."""
    found = given.get(name)
    return [each for each in found if isinstance(each, Mapping)] if isinstance(found, list) else []


def missing(where: str, given: Fields, *names: str) -> Iterator[str]:
    """Yield the fields that are missing."""
    yield from (f"{where}.{name} is missing" for name in names if name not in given)


def content_faults(contents: Sequence[Fields], model: str) -> Iterator[str]:
    """Yield what is wrong with the turns.

    Without any (https://github.com/NousResearch/hermes-agent/pull/57942) or without parts
    (https://github.com/vercel/ai/issues/3775) they are refused, and so are other roles
    (https://github.com/genkit-ai/genkit/pull/5780).
    """
    if not contents:
        yield "contents is not specified"
        return
    for index, content in enumerate(contents):
        where = f"contents[{index}]"
        yield from field_faults(where, content, CONTENT)
        if _role(content) not in ("user", "model"):
            yield f"{where}.role must be user or model"
        if not objects(content, "parts"):
            yield f"{where}.parts must not be empty"
        for at, part in enumerate(objects(content, "parts")):
            yield from _part_faults(f"{where}.parts[{at}]", part, model)
    yield from _order_faults(contents, needs_ids=generation(model) >= (3, 7))
    yield from _end_faults(contents[-1], model)
    if generation(model) >= (3, 0):
        yield from _signature_faults(contents)


def _role(content: Fields) -> object:
    return content.get("role") or "user"


def _of_kind(content: Fields, kind: str) -> list[Fields]:
    return [part[kind] for part in objects(content, "parts") if isinstance(part.get(kind), Mapping)]


def _part_faults(where: str, part: Fields, model: str) -> Iterator[str]:
    """Yield what is wrong with a part.

    An empty text is none (https://github.com/router-for-me/CLIProxyAPI/issues/1293), unless it has
    a signature: https://ai.google.dev/gemini-api/docs/thought-signatures
    """
    yield from field_faults(where, part, _PART)
    kinds = [name for name in _KINDS if name in part]
    if len(kinds) != 1 or (part.get("text") == "" and "thoughtSignature" not in part):
        yield f"{where} must have one initialized field of data"
    for name, check in (("inlineData", _blob_faults), ("functionCall", _call_faults)):
        if isinstance(part.get(name), Mapping):
            yield from check(f"{where}.{name}", part[name])
    for name, by_model in (("fileData", _file_faults), ("functionResponse", _response_faults)):
        if isinstance(part.get(name), Mapping):
            yield from by_model(f"{where}.{name}", part[name], model)


def _blob_faults(where: str, blob: Fields) -> Iterator[str]:
    yield from missing(where, blob, "mimeType", "data")
    yield from field_faults(where, blob, _BLOB)
    if str(blob.get("mimeType")) not in _MIME_TYPES:
        yield f"{where}.mimeType {blob.get('mimeType')} is not supported"


def _file_faults(where: str, file: Fields, model: str) -> Iterator[str]:
    """Yield what is wrong with a file: uploaded, of YouTube, or from 2.5 on at a public address.

    https://ai.google.dev/gemini-api/docs/file-input-methods,
    https://github.com/vercel/ai/pull/16757 and https://github.com/BoundaryML/baml/issues/1548 (2.0)
    """
    yield from missing(where, file, "fileUri")
    yield from field_faults(where, file, _FILE)
    uri = str(file.get("fileUri"))
    if _UPLOADED.fullmatch(uri):
        return
    if not uri.startswith(("https://", "gs://")) or (0, 0) < generation(model) < (2, 5):
        yield f"{where}.fileUri is invalid or not supported by {model}"
    if str(file.get("mimeType")) not in _MIME_TYPES:
        yield f"{where}.mimeType {file.get('mimeType')} is not supported"


def _call_faults(where: str, call: Fields) -> Iterator[str]:
    yield from missing(where, call, "name")
    yield from field_faults(where, call, _CALL)


def _response_faults(where: str, response: Fields, model: str) -> Iterator[str]:
    """Yield what is wrong with a result: a name (https://github.com/ollama/ollama/issues/14214), an
    object, and files within it from 3 on (https://ai.google.dev/gemini-api/docs/function-calling).
    """
    yield from missing(where, response, "name", "response")
    yield from field_faults(where, response, _RESPONSE)
    if "parts" in response and generation(model) < (3, 0):
        yield f"{where}.parts is not supported by {model}"
    for index, part in enumerate(objects(response, "parts")):
        if isinstance(part.get("inlineData"), Mapping):
            yield from _blob_faults(f"{where}.parts[{index}].inlineData", part["inlineData"])


def _order_faults(contents: Sequence[Fields], *, needs_ids: bool) -> Iterator[str]:
    """Yield calls and results of functions in a wrong place.

    The first turn is a user's and calls are the model's, as Google's own library requires of a
    chat (https://github.com/google-gemini/deprecated-generative-ai-js, validateChatHistory). That
    the API refuses another first turn is certain for calls
    (https://github.com/google-gemini/gemini-cli/issues/11814) and reported for texts
    (https://github.com/NousResearch/hermes-agent/issues/55427).
    """
    if _role(contents[0]) != "user":
        yield "the first turn must be a user's"
    for index, content in enumerate(contents):
        before = contents[index - 1] if index else {}
        after = contents[index + 1] if index + 1 < len(contents) else None
        calls = _of_kind(content, "functionCall")
        results = _of_kind(content, "functionResponse")
        if (calls and _role(content) != "model") or (results and _role(content) != "user"):
            yield f"contents[{index}] must be of the other role"
        # https://github.com/google-gemini/gemini-cli/issues/26486
        if calls and (not before or _role(before) != "user"):
            yield f"contents[{index}] calls, so it must come after a user's turn"
        if results:
            called = _of_kind(before, "functionCall")
            yield from _result_faults(index, called, results, needs_ids=needs_ids)
        # https://github.com/microsoft/vscode/issues/299295
        if calls and after is not None and not _of_kind(after, "functionResponse"):
            yield f"contents[{index}] calls, so the results must come after it"


def _result_faults(
    index: int, calls: Sequence[Fields], results: Sequence[Fields], *, needs_ids: bool
) -> Iterator[str]:
    """Yield results that are not those of the calls in the turn before.

    https://github.com/langchain-ai/langchain/issues/27799 (place),
    https://github.com/google-gemini/gemini-cli/issues/4217 (number),
    https://ai.google.dev/gemini-api/docs/function-calling (name and id of the call, which the
    guide of 3.7 requires: https://ai.google.dev/gemini-api/docs/whats-new-gemini-3.7)
    """
    if not calls:
        yield f"contents[{index}] has results, so it must come after their calls"
        return
    if len(calls) != len(results):
        yield f"contents[{index}] must have as many results as there are calls"
        return
    for name in ("name", "id"):
        called = sorted(str(call[name]) for call in calls if call.get(name))
        answered = sorted(str(result[name]) for result in results if result.get(name))
        is_given = len(answered) == len(called) or needs_ids or name == "name"
        if called != answered and is_given:
            yield f"contents[{index}] must have results with each {name} of the calls"


def _end_faults(last: Fields, model: str) -> Iterator[str]:
    """Yield an end that is no user's turn, for the models that do not continue their own.

    "Requests ending with a model turn are not supported" is also the answer to text after results
    in one turn, from 3 on: https://github.com/google/oss-rebuild/pull/1559
    """
    if _role(last) == "model" and not continues_model_turn(model):
        yield f"{model} does not support requests ending with a model turn"
    parts = objects(last, "parts")
    has_results = bool(_of_kind(last, "functionResponse"))
    if has_results and "functionResponse" not in parts[-1] and generation(model) >= (3, 0):
        yield "the last turn must not have other parts after results"


def _signature_faults(contents: Sequence[Fields]) -> Iterator[str]:
    """Yield calls of the current turn without a signature: the first of each step must have one.

    The turn begins with the last user's content that is no result:
    https://ai.google.dev/gemini-api/docs/thought-signatures
    """
    for index in range(len(contents) - 1, -1, -1):
        parts = objects(contents[index], "parts")
        if _role(contents[index]) == "user" and any("functionResponse" not in p for p in parts):
            return
        called = [part for part in parts if "functionCall" in part]
        if called and "thoughtSignature" not in called[0]:
            yield f"contents[{index}] is missing a thoughtSignature in its first functionCall"

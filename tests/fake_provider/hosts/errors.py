"""Bodies of errors, of which each server has its own."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

from tests.fake_provider.formats.chat import openai_error
from tests.fake_provider.formats.gemini import google_error


def by_number(status: int, message: str) -> dict[str, Any]:
    """OpenRouter's: the code is the status, a number.

    https://openrouter.ai/docs/api-reference/errors
    """
    return {"error": {"code": status, "message": message}}


def azure(status: int, message: str) -> dict[str, Any]:
    """Azure's own; what the model refuses is in OpenAI's form.

    https://learn.microsoft.com/answers/questions/1189174
    """
    codes = {401: "401", 404: "DeploymentNotFound", 429: "429"}
    if status not in codes:
        return openai_error(status, message)
    return {"error": {"code": codes[status], "message": message}}


def in_list(status: int, message: str) -> list[dict[str, Any]]:
    """Google's, which its OpenAI-compatible endpoint puts into a list.

    https://github.com/SuzumiyaAkizuki/ComfyUI-NewBie-LLM-Formatter/issues/3
    """
    return [google_error(status, message)]


def aws(_: int, message: str) -> dict[str, Any]:
    """Of AWS itself, before a model is asked."""
    return {"Message": message}


X_AI_CODES: Final = {
    400: "Client specified an invalid argument",
    404: "Some requested entity was not found",
    429: "Some resource has been exhausted",
}


def x_ai(status: int, message: str) -> dict[str, Any]:
    """xAI's: two sentences. https://github.com/yym68686/uni-api/issues/105"""
    return {"code": X_AI_CODES.get(status, "Internal error"), "error": message}


def vllm(status: int, message: str) -> dict[str, Any]:
    """vLLM's: the type is that of an exception, the code is the status.

    https://github.com/vllm-project/vllm/blob/main/vllm/entrypoints/openai/engine/protocol.py
    """
    kind = {400: "BadRequestError", 404: "NotFoundError"}.get(status, "InternalServerError")
    return {"error": {"message": message, "type": kind, "param": None, "code": status}}


def bare(_: int, message: str) -> dict[str, Any]:
    """A sentence and nothing else: vLLM's and SGLang's on a wrong key."""
    return {"error": message}


def sglang(status: int, message: str) -> dict[str, Any]:
    """SGLang's: not inside `error`."""
    kind = {400: "BadRequestError", 404: "NotFoundError"}.get(status, "InternalServerError")
    return {"object": "error", "message": message, "type": kind, "param": None, "code": status}


def tgi(status: int, message: str) -> dict[str, Any]:
    """TGI's. https://huggingface.co/docs/text-generation-inference/messages_api"""
    kind = "validation" if status < HTTPStatus.INTERNAL_SERVER_ERROR else "generation"
    return {"error": message, "error_type": kind}


def llamacpp(status: int, message: str) -> dict[str, Any]:
    """llama.cpp's, as measured by tests/real_servers: the code is the status."""
    kind = {401: "authentication_error", 400: "invalid_request_error"}.get(status, "server_error")
    return {"error": {"code": status, "message": message, "type": kind}}


def ollama(status: int, message: str) -> dict[str, Any]:
    """Ollama's. https://github.com/ollama/ollama/blob/main/openai/openai.go: NewError"""
    kinds = {400: "invalid_request_error", 404: "not_found_error"}
    kind = kinds.get(status, "api_error")
    return {"error": {"message": message, "type": kind, "param": None, "code": None}}


def litellm(status: int, message: str) -> dict[str, Any]:
    """LiteLLM's: the code is a text, and so is None."""
    kind = "auth_error" if status == HTTPStatus.UNAUTHORIZED else "None"
    return {"error": {"message": message, "type": kind, "param": "None", "code": str(status)}}

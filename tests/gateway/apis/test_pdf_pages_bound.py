"""A PDF is bounded by its pages in every API, not by the model's whole context."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from gateway.apis.chat.chat import ChatCompletions
from gateway.apis.generate.generate import GENERATE_CONTENT, Generate
from gateway.apis.messages.messages import Messages
from gateway.apis.responses.responses import Responses
from gateway.core.usage_bound import UsageBound
from tests.gateway.arrivals import read

PDF = base64.b64encode(b"%PDF-1.7\n" + b"1 0 obj\n<< /Type /Page >>\nendobj\n" * 3).decode()
URL = f"data:application/pdf;base64,{PDF}"
NAME = "a-name-of-a-file.pdf"
GENERATE = Generate(version="v1beta", method=GENERATE_CONTENT)


def chat(part: Any) -> UsageBound:
    messages = [{"role": "user", "content": [part]}]
    return read(ChatCompletions(), {"model": "gpt-4o-mini", "messages": messages}).usage_bound


def responses(part: Any) -> UsageBound:
    items = [{"type": "function_call_output", "call_id": "c", "output": [part]}]
    return read(Responses(), {"model": "gpt-5", "input": items}).usage_bound


def generate(part: Any) -> UsageBound:
    contents = [{"role": "user", "parts": [part]}]
    return read(GENERATE, {"contents": contents}, named="gemini-2.5-flash").usage_bound


def messages(block: Any) -> UsageBound:
    turns = [{"role": "user", "content": [block]}]
    body = {"model": "claude-sonnet-4-5", "max_tokens": 9, "messages": turns}
    return read(Messages(), body).usage_bound


def inline(data: str, kind: str = "application/pdf") -> dict[str, Any]:
    return {"inlineData": {"mimeType": kind, "data": data, "displayName": NAME}}


def source(data: str) -> dict[str, Any]:
    kind = {"type": "base64", "media_type": "application/pdf", "data": data}
    return {"type": "document", "title": NAME, "source": kind}


def in_function_response(data: str) -> dict[str, Any]:
    return {"functionResponse": {"name": "read", "response": {}, "parts": [inline(data)]}}


@pytest.mark.parametrize(
    "usage_bound",
    [
        chat({"type": "file", "file": {"file_data": URL, "filename": NAME}}),
        responses({"type": "input_file", "file_data": URL, "filename": NAME}),
        responses({"type": "input_file", "file_data": f"DATA{URL[4:]}", "filename": NAME}),
        generate(inline(PDF)),
        generate(inline(PDF, " Application/PDF")),
        generate(in_function_response(PDF)),
        messages(source(PDF)),
    ],
)
def test_pdf_is_bounded_by_its_pages(usage_bound: UsageBound) -> None:
    assert (usage_bound.pages, usage_bound.context_reads) == (3, 0)
    assert usage_bound.buckets == {"input_image"}
    texts = "".join(usage_bound.texts)
    assert NAME in texts
    assert PDF not in texts


@pytest.mark.parametrize(
    "usage_bound",
    [
        chat({"type": "file", "file": {"file_data": URL[:-1]}}),
        chat({"type": "file", "file": {"file_data": PDF}}),
        chat({"type": "file", "file": URL}),
        responses({"type": "input_file", "file_data": URL.replace("pdf", "msword")}),
        responses({"type": "input_file", "file_url": URL}),
        generate(inline(PDF, "audio/wav")),
        generate(inline("AAAA")),
    ],
)
def test_what_may_be_no_pdf_is_bounded_by_context(usage_bound: UsageBound) -> None:
    assert (usage_bound.pages, usage_bound.context_reads) == (0, 1)

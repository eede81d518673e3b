"""Tests of the fake provider, on which other tests rely."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fake_provider import FOREVER, FakeProvider, closed_port

CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Say hello"}]}


def post(url: str, body: Any, **headers: str) -> tuple[int, str]:
    request = urllib.request.Request(  # noqa: S310 - our own loopback address
        url,
        data=json.dumps(body).encode(),
        headers={"content-type": "application/json", "authorization": "Bearer key"} | headers,
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - as above
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as exc:
        return exc.code, exc.read().decode()


@pytest.fixture
def fake() -> Iterator[FakeProvider]:
    with FakeProvider() as server:
        yield server


def chat(fake: FakeProvider) -> tuple[int, str]:
    return post(f"{fake.base_url('openai')}/chat/completions", CHAT)


def test_last_user_message_is_repeated_and_words_counted(fake: FakeProvider) -> None:
    status, text = chat(fake)
    answer = json.loads(text)
    assert status == 200
    assert answer["choices"][0]["message"]["content"] == "Say hello"
    assert answer["usage"]["total_tokens"] == 4


def test_calls_and_billed_usage_are_recorded(fake: FakeProvider) -> None:
    fake.answers(output_tokens=70, reasoning_tokens=50)
    begun_at = time.time()
    chat(fake)
    (call,) = fake.calls
    assert (call.vendor, call.method, call.path) == (
        "openai",
        "POST",
        "/openai/v1/chat/completions",
    )
    assert call.headers["authorization"] == "Bearer key"
    assert call.body == CHAT
    assert call.billed is not None
    assert (call.billed["input_tokens"], call.billed["output_tokens"]) == (2, 70)
    assert call.disconnected_at is None
    assert begun_at <= call.received_at <= time.time()


def test_behaviours_are_used_up_in_order(fake: FakeProvider) -> None:
    fake.answers(status=500, times=2)
    fake.answers(content="last")
    assert [chat(fake)[0] for _ in range(4)] == [500, 500, 200, 200]


def test_behaviour_can_be_permanent_for_one_vendor(fake: FakeProvider) -> None:
    fake.answers(status=500, vendor="anthropic", times=FOREVER)
    assert chat(fake)[0] == 200
    messages = f"{fake.base_url('anthropic')}/v1/messages"
    assert [post(messages, CHAT | {"max_tokens": 5})[0] for _ in range(3)] == [500] * 3


def test_refusal_is_not_billed_and_missing_key_is_refused(fake: FakeProvider) -> None:
    fake.answers(status=429)
    assert chat(fake)[0] == 429
    url = f"{fake.base_url('openai')}/chat/completions"
    assert post(url, CHAT, authorization="")[0] == 401
    assert [call.billed for call in fake.calls] == [None, None]


def test_broken_connection_is_billed(fake: FakeProvider) -> None:
    fake.answers(reset="after")
    with pytest.raises(OSError, match=r"reset|closed|without response"):
        chat(fake)
    (call,) = fake.calls
    assert call.billed is not None


def test_process_takes_orders_over_http_and_records_before_answer(tmp_path: Path) -> None:
    file = tmp_path / "calls.jsonl"
    port = closed_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.fake_provider", "--port", str(port), "--record", str(file)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == f"listening on {port}\n"
        root = f"http://127.0.0.1:{port}"
        assert post(f"{root}/_control", {"answers": [{"no_such": 1}]})[0] == 400
        orders = {"reset": True, "answers": [{"content": "as ordered", "pause_s": 0.2}]}
        assert json.loads(post(f"{root}/_control", orders)[1]) == {"queued": 1}
        assert "as ordered" in post(f"{root}/openai/v1/chat/completions", CHAT)[1]
        with urllib.request.urlopen(f"{root}/_calls", timeout=60) as answer:  # noqa: S310 - ours
            (seen,) = json.load(answer)
        (line,) = file.read_text().splitlines()
        assert json.loads(line)["billed"] == seen["billed"]
        assert seen["billed"]["output_tokens"] == 2
    finally:
        process.terminate()
        process.communicate(timeout=60)

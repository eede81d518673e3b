"""Token counts with OpenAI's bundled encodings, without blocking the event loop."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from gateway.core.model_names import Model
from gateway.core.usage_bound import UsageBound
from gateway.providers import tokens

DATA = Path(tokens.__file__).parent / "data"
ENCODINGS = ("o200k_base", "cl100k_base")
SAMPLES = (
    "",
    "Hello, world!",
    "def f(x):\n    return x ** 2\n",
    "Größe, naïve, Ελληνικά, العربية, हिन्दी, 日本語, 🧑‍🚀",
    "<|endoftext|> is text here",
    "a" * 3000,
    "\ud800 alone",
)
# What tiktoken itself makes of the samples, when it finds its files in its cache.
THEIRS = """
import sys, tiktoken
from tests.gateway.providers.test_tokens import SAMPLES
encoding = tiktoken.get_encoding(sys.argv[1])
for sample in SAMPLES:
    print(len(encoding.encode_ordinary(sample)))
"""
CACHED_AS = {
    "o200k_base": "fb374d419588a4632f3f557e76b4b70aebbca790",
    "cl100k_base": "9b5ad71b2ce5302211f9c61530b329a4922fc6a4",
}


def test_hello_world_is_four_tokens() -> None:
    assert [tokens.count("Hello, world!", encoding) for encoding in ENCODINGS] == [4, 4]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_counts_are_tiktokens_own(encoding: str, tmp_path: Path) -> None:
    merges = gzip.decompress((DATA / f"{encoding}.tiktoken.gz").read_bytes())
    (tmp_path / CACHED_AS[encoding]).write_bytes(merges)
    theirs = subprocess.run(
        [sys.executable, "-c", THEIRS, encoding],
        env=os.environ | {"TIKTOKEN_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert [int(line) for line in theirs.stdout.split()] == [
        tokens.count(sample, encoding) for sample in SAMPLES
    ]


@pytest.mark.parametrize(
    ("encoding", "sha256"),
    [
        ("o200k_base", "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d"),
        ("cl100k_base", "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7"),
    ],
)
def test_packaged_merges_match_openais(encoding: str, sha256: str) -> None:
    merges = gzip.decompress((DATA / f"{encoding}.tiktoken.gz").read_bytes())
    assert hashlib.sha256(merges).hexdigest() == sha256


def test_unknown_encoding_is_error() -> None:
    with pytest.raises(KeyError):
        tokens.count("Hello", "p50k_base")


def test_long_run_of_spaces_is_counted() -> None:
    assert 0 < tokens.count(" " * 2_000_000, "o200k_base") < 2_000_000


def test_encoding_is_loaded_once() -> None:
    encodings = tokens.Encodings(DATA)
    found: list[object] = []
    ask = [
        threading.Thread(target=lambda: found.append(encodings.get("cl100k_base")))
        for _ in range(4)
    ]
    assert not encodings.is_loaded("cl100k_base")
    for thread in ask:
        thread.start()
    for thread in ask:
        thread.join()
    assert len(found) == 4
    assert len({id(encoding) for encoding in found}) == 1
    assert encodings.is_loaded("cl100k_base")


async def test_long_count_does_not_block_event_loop() -> None:
    ticks: list[float] = []

    async def tick() -> None:
        while True:
            ticks.append(time.monotonic())
            await asyncio.sleep(0.005)

    ticking = asyncio.create_task(tick())
    text = "some words and more " * 150_000
    counted = await tokens.count_tokens_async(saying(text), model(), caller=None)
    assert counted == tokens.count_tokens(saying(text), model())
    ticking.cancel()
    assert len(ticks) > 3


@pytest.mark.parametrize(
    ("text", "most", "kept"),
    [
        ("one two three", 2, "one two"),
        ("one two three", 3, "one two three"),
        ("one two three", 0, ""),
        ("", 0, ""),
        ("日本語", 1, "日本"),
    ],
)
def test_text_is_truncated_at_token_boundary(text: str, most: int, kept: str) -> None:
    assert tokens.cut(text, "o200k_base", most) == kept


def test_truncation_keeps_characters_whole() -> None:
    text = "🧑‍🚀" * 50
    for most in range(0, 60, 7):
        cut = tokens.cut(text, "o200k_base", most)
        assert text.startswith(cut)
        assert tokens.count(cut, "o200k_base") <= most


def model(*, margin: float = 1.0) -> Model:
    return Model(id="m", provider="p", tokenizer="o200k_base", token_margin=margin)


def saying(*texts: str) -> UsageBound:
    return UsageBound(texts=texts, messages=len(texts))


def test_message_count_includes_overhead() -> None:
    # What OpenAI reports for this request.
    assert tokens.count_tokens(saying("Say hello"), model()) == 9
    talk = saying("Be brief", "Say hello")
    assert tokens.count_tokens(talk, model()) == 15


def test_margin_multiplies_content_and_rounds_up() -> None:
    ten = saying(" word" * 10)
    frame = tokens.frame_tokens(1)
    assert tokens.count_tokens(ten, model(margin=1.3)) == 13 + frame
    assert tokens.count_tokens(ten, model(margin=1.5)) == 15 + frame
    assert tokens.count_tokens(ten, model(margin=1.01)) == 11 + frame


async def test_async_message_count_is_equal() -> None:
    for text in ("Say hello", "word " * 5000):
        talk = saying(text)
        counted = await tokens.count_tokens_async(talk, model(), caller=None)
        assert counted == tokens.count_tokens(talk, model())


# --- texts that were counted before -----------------------------------------------------------

LONG = "def f(x):\n    return x ** 2\n" * 40


class Counting:
    """Counts as the package does, and records which texts it was asked for."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def __call__(self, text: str, encoding: str) -> int:
        self.texts.append(text)
        return tokens.count(text, encoding)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_counts_of_recognized_texts_are_tokenizers_own(encoding: str) -> None:
    counting = Counting()
    recognized = tokens.RecognizedTexts(counting, most=100)
    samples = [*SAMPLES, LONG, LONG + " ", LONG + "?", LONG + "\ud800"]
    for _ in range(2):
        for sample in samples:
            found = recognized.count(sample, encoding, caller=None)
            assert found == tokens.count(sample, encoding)
    is_long = [sample for sample in samples if len(sample) >= tokens.RECOGNIZED_FROM_CHARS]
    assert [counting.texts.count(sample) for sample in is_long] == [1] * len(is_long)


def test_texts_of_one_caller_or_encoding_are_not_recognized_for_another() -> None:
    counting = Counting()
    recognized = tokens.RecognizedTexts(counting, most=100)
    for _ in range(2):
        for caller in ("acme", "stranger"):
            for encoding in ENCODINGS:
                recognized.count(LONG, encoding, caller=caller)
    assert len(counting.texts) == 4


def test_only_last_texts_are_recognized() -> None:
    counting = Counting()
    recognized = tokens.RecognizedTexts(counting, most=2)
    for end in (" a", " b", " a", " c", " a", " b"):
        recognized.count(LONG + end, "o200k_base", caller=None)
    assert [text[-1] for text in counting.texts] == ["a", "b", "c", "b"]

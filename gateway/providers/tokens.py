"""Count tokens with OpenAI's two encodings, read from the package and loaded at first use."""

from __future__ import annotations

import base64
import gzip
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from fractions import Fraction
from functools import partial
from hashlib import blake2b
from math import ceil
from pathlib import Path
from typing import Final
from unicodedata import normalize

import tiktoken

from gateway.core.model_names import Model
from gateway.core.usage_bound import UsageBound
from orgs.threads import TOKENS

INLINE_MAX_CHARS: Final = 4096
# A run of whitespace above about a million characters overflows the regular expression's stack
# and tiktoken panics, so long texts are counted in slices. A cut changes the count by one or two.
SLICE_CHARS: Final = 50_000
EMBEDDINGS_ENCODING: Final = "cl100k_base"
# An agent sends its whole conversation with each turn. 200,000 tokens take 54 ms of CPU to count,
# and 2 to recognize.
RECOGNIZED_FROM_CHARS: Final = 500
RECOGNIZED_MAX: Final = 20_000  # texts, 5 MB

# Three tokens around each message, one for its role, and three that prime the answer:
# https://developers.openai.com/cookbook/examples/how_to_count_tokens_with_tiktoken
MESSAGE_OVERHEAD_TOKENS: Final = 4
ANSWER_PRIMING_TOKENS: Final = 3

_DATA: Final = Path(__file__).parent / "data"
# How an encoding splits text before it merges. tiktoken has these patterns inside functions that
# also download the merges, so they are repeated here and a test compares them with tiktoken's:
# https://github.com/openai/tiktoken/blob/main/tiktoken_ext/openai_public.py
_PATTERNS: Final = {
    "o200k_base": "|".join(
        (
            r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
            r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
            r"\p{N}{1,3}",
            r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
            r"\s*[\r\n]+",
            r"\s+(?!\S)",
            r"\s+",
        )
    ),
    "cl100k_base": (
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+"
        r"| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s"
    ),
}


class Encodings:
    """tiktoken's encodings by name, each loaded once, from packaged data, never over a network.

    `tiktoken.get_encoding` would download what is not in its cache directory; building the
    encoding from the merges we ship leaves it neither a directory nor an address to use.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._loaded: dict[str, tiktoken.Encoding] = {}
        self._loading = threading.Lock()

    def is_loaded(self, name: str) -> bool:
        """Whether `get` returns without loading."""
        return name in self._loaded

    def get(self, name: str) -> tiktoken.Encoding:
        """Return the encoding. Raises KeyError for a name that is not shipped."""
        loaded = self._loaded.get(name)
        if loaded is not None:
            return loaded
        with self._loading:
            if name not in self._loaded:
                self._loaded[name] = self._load(name)
            return self._loaded[name]

    def _load(self, name: str) -> tiktoken.Encoding:
        pattern = _PATTERNS[name]
        merges: dict[bytes, int] = {}
        with gzip.open(self._directory / f"{name}.tiktoken.gz") as lines:
            for line in lines:
                token, rank = line.split()
                merges[base64.b64decode(token)] = int(rank)
        # Text is only ever encoded as ordinary text, so no special token is known.
        return tiktoken.Encoding(name, pat_str=pattern, mergeable_ranks=merges, special_tokens={})


ENCODINGS: Final = Encodings(_DATA)


def count(text: str, encoding: str) -> int:
    """Return how many tokens `text` is, special tokens counted as the text they are."""
    return sum(len(tokens) for tokens in _encoded(text, encoding))


class RecognizedTexts:
    """The counts of the last long texts, by what is hashed of them; safe to use from any thread.

    Each caller has its own: the time that counting takes does not tell what another one has sent.
    """

    def __init__(self, count: Callable[[str, str], int], *, most: int) -> None:
        self._count = count
        self._most = most
        self._known: OrderedDict[tuple[Hashable, str, bytes], int] = OrderedDict()
        self._lock = threading.Lock()

    def count(self, text: str, encoding: str, *, caller: Hashable) -> int:
        """Return how many tokens `text` is."""
        if len(text) < RECOGNIZED_FROM_CHARS:
            return self._count(text, encoding)
        hashed = blake2b(text.encode(errors="surrogatepass"), digest_size=16)
        key = (caller, encoding, hashed.digest())
        with self._lock:
            if (known := self._known.get(key)) is not None:
                self._known.move_to_end(key)
                return known
        counted = self._count(text, encoding)
        with self._lock:
            self._known[key] = counted
            if len(self._known) > self._most:
                self._known.popitem(last=False)
        return counted


RECOGNIZED: Final = RecognizedTexts(count, most=RECOGNIZED_MAX)


def cut(text: str, encoding: str, max_tokens: int) -> str:
    """Return the start of `text` that is at most `max_tokens` long, on a character's boundary."""
    if len(text.encode(errors="replace")) <= max_tokens:
        return text  # a token covers at least one byte
    kept: list[int] = []
    for tokens in _encoded(text, encoding):
        kept += tokens
        if len(kept) > max_tokens:
            whole = ENCODINGS.get(encoding).decode_bytes(kept[:max_tokens])
            return whole.decode(errors="ignore")
    return text


def text_of(tokens: Sequence[int]) -> str:
    """Return the text of tokens that a client made for embeddings; half characters are replaced.

    Raises KeyError for a token that is not one. Clients encode for OpenAI's models, all of which
    have this encoding: https://developers.openai.com/cookbook/examples/how_to_count_tokens_with_tiktoken
    """
    return ENCODINGS.get(EMBEDDINGS_ENCODING).decode_bytes(tokens).decode(errors="replace")


def count_tokens(usage_bound: UsageBound, model: Model, *, caller: Hashable = None) -> int:
    """Return the input tokens that the texts of `usage_bound` are for `model`.

    Content is multiplied by the model's margin, because other vendors' tokenizers differ from
    OpenAI's, and rounded up; the frame around each message is added. Anthropic's published one
    reads compatibility characters in their longer form.
    """
    texts = usage_bound.texts
    if model.token_margin != 1:
        texts = tuple(normalize("NFKC", text) for text in texts)
    content = sum(RECOGNIZED.count(text, model.tokenizer, caller=caller) for text in texts)
    # A fraction, so that 1.3 means 1.3 and no float error adds a token.
    margin = Fraction(str(model.token_margin))
    return -(-content * margin.numerator // margin.denominator) + frame_tokens(usage_bound.messages)


def count_at_most(usage_bound: UsageBound, model: Model, *, text_bytes: int) -> int:
    """Return a number that `count_tokens` does not exceed: a token covers at least one byte."""
    margin = Fraction(str(model.token_margin)) if model.token_margin != 1 else 1
    return ceil(text_bytes * margin) + frame_tokens(usage_bound.messages)


async def count_tokens_async(usage_bound: UsageBound, model: Model, *, caller: Hashable) -> int:
    """Count without blocking the event loop: long texts and first uses run in a thread."""
    chars = sum(map(len, usage_bound.texts))
    if chars <= INLINE_MAX_CHARS and ENCODINGS.is_loaded(model.tokenizer):
        return count_tokens(usage_bound, model, caller=caller)
    return await TOKENS.run(caller, partial(count_tokens, usage_bound, model, caller=caller))


def frame_tokens(messages: int) -> int:
    """Return the tokens around that many messages, besides their content."""
    return messages * MESSAGE_OVERHEAD_TOKENS + ANSWER_PRIMING_TOKENS


def _encoded(text: str, encoding: str) -> Iterator[list[int]]:
    encode = ENCODINGS.get(encoding).encode_ordinary
    return (encode(text[start : start + SLICE_CHARS]) for start in range(0, len(text), SLICE_CHARS))

"""The four vendors' wire formats: parsed requests and encoded answers."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from tests.fake_provider.formats.chat import OPENAI_CHAT, openai_error
from tests.fake_provider.formats.common import Format
from tests.fake_provider.formats.embeddings import (
    GOOGLE_EMBED,
    GOOGLE_EMBED_MANY,
    MISTRAL_EMBEDDINGS,
    OPENAI_EMBEDDINGS,
)
from tests.fake_provider.formats.gemini import GOOGLE_COUNT, GOOGLE_GENERATE, google_error
from tests.fake_provider.formats.messages import (
    ANTHROPIC_COUNT,
    ANTHROPIC_MESSAGES,
    anthropic_error,
)
from tests.fake_provider.formats.mistral import MISTRAL_CHAT, mistral_error
from tests.fake_provider.formats.responses import (
    OPENAI_COMPACT,
    OPENAI_COUNT,
    OPENAI_RESPONSES,
)

# By vendor and what its addresses end with, after the version; Google's after the model.
ENDPOINTS: Final[Mapping[tuple[str, str], Format]] = {
    ("openai", "chat/completions"): OPENAI_CHAT,
    ("openai", "responses"): OPENAI_RESPONSES,
    ("openai", "responses/compact"): OPENAI_COMPACT,
    ("openai", "responses/input_tokens"): OPENAI_COUNT,
    ("openai", "embeddings"): OPENAI_EMBEDDINGS,
    ("mistral", "chat/completions"): MISTRAL_CHAT,
    ("mistral", "embeddings"): MISTRAL_EMBEDDINGS,
    ("anthropic", "messages"): ANTHROPIC_MESSAGES,
    ("anthropic", "messages/count_tokens"): ANTHROPIC_COUNT,
    ("google", "generateContent"): GOOGLE_GENERATE,
    ("google", "streamGenerateContent"): GOOGLE_GENERATE,
    ("google", "countTokens"): GOOGLE_COUNT,
    ("google", "embedContent"): GOOGLE_EMBED,
    ("google", "batchEmbedContents"): GOOGLE_EMBED_MANY,
}
# An error's body, from its status and its sentence.
Errors = Callable[[int, str], Any]
ERRORS: Final[Mapping[str, Errors]] = {
    "openai": openai_error,
    "anthropic": anthropic_error,
    "google": google_error,
    "mistral": mistral_error,
}

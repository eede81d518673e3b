"""What the four vendors' requests mean, and their answers as they stand on the wire."""

from tests.fake_provider.formats.chat import MISTRAL, OPENAI
from tests.fake_provider.formats.common import Format
from tests.fake_provider.formats.gemini import GOOGLE
from tests.fake_provider.formats.messages import ANTHROPIC

FORMATS: dict[str, Format] = {
    "openai": OPENAI,
    "anthropic": ANTHROPIC,
    "google": GOOGLE,
    "mistral": MISTRAL,
}

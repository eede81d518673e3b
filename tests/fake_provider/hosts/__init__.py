"""Other vendors' and people's own servers, as strict as their documentation has them."""

from typing import Final

from tests.fake_provider.hosts.clouds import AZURE, BEDROCK, FOUNDRY, VERTEX
from tests.fake_provider.hosts.host import FakeHost
from tests.fake_provider.hosts.local import LITELLM, LLAMACPP, LMSTUDIO, OLLAMA, SGLANG, TGI, VLLM
from tests.fake_provider.hosts.vendors import (
    DEEPSEEK,
    FIREWORKS,
    GROQ,
    OPENROUTER,
    TOGETHER,
    X_AI,
)

HOSTS: Final[dict[str, FakeHost]] = {
    host.name: host
    for host in (
        *(AZURE, FOUNDRY, BEDROCK, VERTEX),
        *(GROQ, DEEPSEEK, X_AI, OPENROUTER, TOGETHER, FIREWORKS),
        *(OLLAMA, VLLM, LMSTUDIO, LLAMACPP, SGLANG, TGI, LITELLM),
    )
}

"""Ready lines for a new key: for a terminal, for the vendors' SDKs and for coding agents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

# A model of the vendor whose SDK it is, for those who have no other in mind.
OPENAI_MODEL: Final = "gpt-4o-mini"
ANTHROPIC_MODEL: Final = "claude-haiku-5-5"
SANDBOX_MODEL: Final = "sandbox-small"

_CURL: Final = """\
curl {base}/api/ai/request \\
  -H "x-pulse-key: {key}" \\
  -H "Content-Type: application/json" \\
  -d '{{"model": "{model}", "prompt": "Say hello"}}'"""
_OPENAI: Final = """\
from openai import OpenAI

client = OpenAI(base_url="{base}/v1", api_key="{key}")
answer = client.chat.completions.create(
    model="{model}",
    messages=[{{"role": "user", "content": "Say hello"}}],
)
print(answer.choices[0].message.content)"""
_ANTHROPIC: Final = """\
from anthropic import Anthropic

client = Anthropic(base_url="{base}", api_key="{key}")
answer = client.messages.create(
    model="{model}",
    max_tokens=100,
    messages=[{{"role": "user", "content": "Say hello"}}],
)
print(answer.content[0].text)"""

_CLAUDE_CODE: Final = """\
export ANTHROPIC_BASE_URL={base}
export ANTHROPIC_AUTH_TOKEN={key}
claude"""
_OPENCODE: Final = """\
{{
  "$schema": "https://opencode.ai/config.json",
  "provider": {{
    "anthropic": {{"options": {{"baseURL": "{base}/v1", "apiKey": "{key}"}}}}
  }}
}}"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snippet:
    """Some code under a title; `name` is unique on the page."""

    name: str
    title: str
    code: str


def snippets_for(*, key: str, base_url: str, sandbox: bool) -> tuple[Snippet, ...]:
    """Return the code to begin with; where there is a sandbox, it costs nothing to try."""
    model = SANDBOX_MODEL if sandbox else OPENAI_MODEL
    base = base_url.rstrip("/")
    return (
        Snippet(name="curl", title="curl", code=_CURL.format(base=base, key=key, model=model)),
        Snippet(
            name="openai",
            title="OpenAI SDK (Python)",
            code=_OPENAI.format(base=base, key=key, model=model),
        ),
        Snippet(
            name="anthropic",
            title="Anthropic SDK (Python)",
            code=_ANTHROPIC.format(base=base, key=key, model=ANTHROPIC_MODEL),
        ),
        Snippet(
            name="claude-code",
            title="Claude Code",
            code=_CLAUDE_CODE.format(base=base, key=key),
        ),
        Snippet(
            name="opencode",
            title="OpenCode (~/.config/opencode/opencode.json)",
            code=_OPENCODE.format(base=base, key=key),
        ),
    )

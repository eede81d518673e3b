"""The coding agents that are tested; to add one, describe it in a file and name it here."""

from typing import Final

from tests.coding_agents.agent import Agent
from tests.coding_agents.claude_code import CLAUDE_CODE
from tests.coding_agents.codex import CODEX, CODEX_WITH_PROVIDER
from tests.coding_agents.gemini_cli import GEMINI_CLI
from tests.coding_agents.opencode import OPENCODE

AGENTS: Final[tuple[Agent, ...]] = (
    CLAUDE_CODE,
    CODEX,
    CODEX_WITH_PROVIDER,
    GEMINI_CLI,
    OPENCODE,
)

"""Holds of coding agents' requests by size of the context: `python -m benchmarks.holds [BEFORE]`.

Recorded requests are filled up with this repository's own text, and capped at 16,000 tokens of
output. The hold is compared with the cold price: the input uncached, and the whole cap. With the
folder of another checkout its holds stand beside. CPU is that of the gateway's process.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from decimal import Decimal
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

from benchmarks.stage import HOST, ROOT, Database, Gateway, gateway, prepare
from benchmarks.usage import cpu_s
from costs.core.usage import STANDARD_TIER
from gateway.providers.tokens import count
from tests.agents import shape
from tests.fake_provider.thread import FakeProvider

Body = dict[str, Any]

SIZES: Final = (10_000, 50_000, 100_000, 200_000, 500_000)
CAP: Final = 16_000
PIECE_CHARS: Final = 6_000  # what an agent reads of a file at once
EUR: Final = 10**9
ROUNDS: Final = 10
MUCH_EUR: Final = "100000"
VENDORS: Final = ("OPENAI", "ANTHROPIC", "GOOGLE", "MISTRAL")


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent's recorded request at a model, and how its conversation grows by a piece of text.

    The vendor's tokens are those of an encoding times `times`: measured for Anthropic
    (`gateway/providers/catalog.toml`), for Google as if it had OpenAI's, which makes ratios higher.
    """

    name: str
    shape: str
    provider: str
    model: str
    path: str
    grow: Callable[[Body, str, int], None]
    encoding: str = "o200k_base"
    times: float = 1.0
    most: int = 1_000_000
    beta: str = ""

    def headers(self) -> dict[str, str]:
        """Return the headers of its request."""
        found = {**shape(self.shape).headers, "accept": "*/*"}
        betas = ",".join(filter(None, (found.get("anthropic-beta"), self.beta)))
        return found | ({"anthropic-beta": betas} if betas else {})

    def tokens(self, text: str) -> int:
        """Return the vendor's tokens of a text."""
        return round(count(text, self.encoding) * self.times)


def _claude(body: Body, text: str, number: int) -> None:
    last = body["messages"][-1]["content"]
    if isinstance(last, list):
        last[-1].pop("cache_control", None)
    call = {"type": "tool_use", "id": f"toolu_{number}", "name": "Read", "input": {"n": number}}
    result = {
        **{"type": "tool_result", "tool_use_id": f"toolu_{number}", "content": text},
        "cache_control": {"type": "ephemeral"},
    }
    body["messages"] += [
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [result]},
    ]
    body["max_tokens"] = CAP


def _codex(body: Body, text: str, number: int) -> None:
    call_id = f"call_{number}"
    given = {"call_id": call_id, "name": "exec", "arguments": json.dumps({"n": number})}
    body["input"] += [
        {"type": "function_call", **given},
        {"type": "function_call_output", "call_id": call_id, "output": text},
    ]
    body["max_output_tokens"] = CAP


def _gemini(body: Body, text: str, number: int) -> None:
    result = {"name": "read_file", "response": {"output": text}}
    body["contents"] += [
        {"role": "model", "parts": [{"functionCall": {"name": "read_file", "args": {}}}]},
        {"role": "user", "parts": [{"functionResponse": result}]},
    ]
    body["generationConfig"] = body.get("generationConfig", {}) | {"maxOutputTokens": CAP}


def _at_google(model: str) -> tuple[str, str, str]:
    return "google", model, f"/v1beta/models/{model}:streamGenerateContent?alt=sse"


def _at_anthropic(model: str) -> tuple[str, str, str]:
    return "anthropic", model, "/v1/messages"


def _at_openai(model: str) -> tuple[str, str, str]:
    return "openai", model, "/v1/responses"


_CLAUDE: Final = "claude-code-turn"
AGENTS: Final = (
    Agent(
        "Claude Code, Opus 5.5",
        _CLAUDE,
        *_at_anthropic("claude-opus-5-5"),
        _claude,
        encoding="cl100k_base",
        times=1.43,
    ),
    Agent(
        "Claude Code, Sonnet 4.5",
        _CLAUDE,
        *_at_anthropic("claude-sonnet-4-5"),
        _claude,
        encoding="cl100k_base",
        times=1.1,
        most=180_000,
    ),
    Agent(
        "the same with its beta of 1M",
        _CLAUDE,
        *_at_anthropic("claude-sonnet-4-5"),
        _claude,
        encoding="cl100k_base",
        times=1.1,
        beta="context-1m-2025-08-07",
    ),
    Agent("Codex, GPT-6.1 Sol", "codex-gpt-6.1-sol", *_at_openai("gpt-6.1-sol"), _codex),
    Agent("Codex with searches, GPT-5.4", "codex-gpt-5.4", *_at_openai("gpt-5.4"), _codex),
    Agent("Gemini CLI, 3.8 Flash", "gemini-cli-turn", *_at_google("gemini-3.8-flash"), _gemini),
    Agent("Gemini CLI, 3.1 Pro", "gemini-cli-turn", *_at_google("gemini-3.1-pro-preview"), _gemini),
)


def pieces() -> Iterator[str]:
    """Yield this repository's code and documents in pieces, without end."""
    files = sorted([*ROOT.glob("gateway/**/*.py"), *ROOT.glob("docs/**/*.md")])
    while True:
        for file in files:
            text = file.read_text()
            for start in range(0, len(text), PIECE_CHARS):
                yield text[start : start + PIECE_CHARS]


def request_of(agent: Agent, size: int, *, named: str = "") -> tuple[Body, int]:
    """Return the agent's request with a context of `size` tokens, and its exact tokens.

    All texts of a `named` conversation differ from those of others.
    """
    body = shape(agent.shape).body | ({"model": agent.model} if agent.provider != "google" else {})
    tokens = agent.tokens(json.dumps(body))
    for number, text in enumerate(pieces()):
        agent.grow(body, named + text, number)
        tokens += agent.tokens(text)
        if tokens >= size:
            return body, tokens
    raise AssertionError("there are pieces without end")


@dataclass(frozen=True, slots=True)
class Side:
    """A running gateway of a checkout, and its database."""

    gateway: Gateway
    database: Database

    def send(self, agent: Agent, body: Body) -> dict[str, Any]:
        """Send a request that its provider refuses, and return its decision trace."""
        url = f"http://{HOST}:{self.gateway.port}"
        key = {"x-pulse-key": self.gateway.key}
        headers = agent.headers() | key | {"content-type": "application/json"}
        request = urllib.request.Request(url + agent.path, json.dumps(body).encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                request_id = answer.headers["x-pulse-request-id"]
        except urllib.error.HTTPError as error:
            request_id = error.headers["x-pulse-request-id"]
        found = urllib.request.Request(f"{url}/api/ai/requests/{request_id}", headers=key)
        with urllib.request.urlopen(found, timeout=60) as answer:
            trace: dict[str, Any] = json.load(answer)["request"]["decision"]
            return trace

    def limit(self, nanoeur: int | None) -> None:
        """Set the daily limit."""
        most = MUCH_EUR if nanoeur is None else str(Decimal(nanoeur) / EUR)
        self.database.run("policies", "update", "acme", "Daily", "--max-cost-per-day", most)


@contextmanager
def side(folder: Path, root: Path, fake: FakeProvider) -> Iterator[Side]:
    """Run the gateway of a checkout, with the fake vendors."""
    folder.mkdir()
    database = Database(url=f"sqlite:///{folder}/pulse.sqlite3", root=root)
    urls = {
        "OPENAI_BASE_URL": fake.base_url("openai"),
        "ANTHROPIC_BASE_URL": fake.base_url("anthropic"),
        "GOOGLE_GEMINI_BASE_URL": fake.base_url("google"),
        "MISTRAL_BASE_URL": fake.base_url("mistral"),
    }
    keys = {f"{vendor}_API_KEY": "k" for vendor in VENDORS}
    key = prepare(database, policies=1)
    with gateway(database, key=key, vendors=urls | keys) as running:
        yield Side(running, database)


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.holds")
    parser.add_argument("before", type=Path, nargs="?", help="the folder of another checkout")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pulse-benchmark-") as name, ExitStack() as stack:
        fake, folder = stack.enter_context(FakeProvider()), Path(name)
        roots = [ROOT, *([options.before.resolve()] if options.before else [])]
        sides = [
            stack.enter_context(side(folder / str(place), root, fake))
            for place, root in enumerate(roots)
        ]
        _holds(sides, fake)
        _cpu(sides, fake)


def _holds(sides: Sequence[Side], fake: FakeProvider) -> None:
    sys.stdout.write(
        "| agent | tokens | cold | before | x | now | x | by | little room | x | by |\n"
    )
    ratios: list[float] = []
    for agent in AGENTS:
        for size in SIZES:
            if size > agent.most * 1.2:
                continue
            body, tokens = request_of(agent, min(size, agent.most))
            cold = _cold_nanoeur(sides[0].database, agent, tokens)
            traces = [_without_charge(each, fake, agent, body) for each in sides]
            now = traces[0]["bound_nanoeur"]
            before = traces[-1]["bound_nanoeur"]
            sides[0].limit(now - 1)
            if agent.provider != "openai":  # it is not asked for a count
                fake.answers(input_tokens=tokens, vendor=agent.provider)
            short = _without_charge(sides[0], fake, agent, body)
            fake.reset()
            sides[0].limit(None)
            cells = [f"{agent.name} | {tokens:,} | {cold / EUR:.2f}", _cell(before, cold)]
            cells += [f"{_cell(now, cold)} | {traces[0]['bound_by']}"]
            cells += [f"{_cell(short['bound_nanoeur'], cold)} | {short['bound_by']}"]
            sys.stdout.write(f"| {' | '.join(cells)} |\n")
            sys.stdout.flush()
            if size == 200_000:
                ratios.append(now / cold)
    sys.stdout.write(f"\nmedian at 200,000 tokens: x {statistics.median(ratios):.2f}\n\n")


def _cell(nanoeur: int, cold: int) -> str:
    return f"{nanoeur / EUR:.2f} | {nanoeur / cold:.1f}"


def _without_charge(each: Side, fake: FakeProvider, agent: Agent, body: Body) -> dict[str, Any]:
    fake.answers(status=400, vendor=agent.provider)
    return each.send(agent, body)


def _cold_nanoeur(database: Database, agent: Agent, tokens: int) -> int:
    """Return the price of the input without a cache, and of the whole cap."""
    [price] = json.loads(database.run("prices", "show", agent.model, "--format", "json"))
    bands = [band for band in price["bands"] if band["service_tier"] == STANDARD_TIER]
    band = max(
        (band for band in bands if tokens > band["above_input_tokens"]),
        key=itemgetter("above_input_tokens"),
    )
    usd = tokens * float(band["input_usd_per_mtok"]) + CAP * float(band["output_usd_per_mtok"])
    return round(usd / float(price["usd_per_eur"]) * EUR / 10**6)


def _cpu(sides: Sequence[Side], fake: FakeProvider) -> None:
    """Print the gateway's CPU for 200,000 tokens: in new conversations, and in next turns.

    The first request loads what is loaded once, and is not counted.
    """
    fake.answers(status=400, times=0)
    sys.stdout.write("| CPU a request, ms | new conversation | next turn |\n")
    for agent in AGENTS:
        new_ms, next_ms = [0.0 for _ in sides], [0.0 for _ in sides]
        for number in range(ROUNDS + 1):
            body, _ = request_of(agent, min(200_000, agent.most), named=f"{number} ")
            for ms in (new_ms, next_ms):
                for place, each in enumerate(sides):
                    began_s = cpu_s(each.gateway.pid)
                    each.send(agent, body)
                    took_ms = (cpu_s(each.gateway.pid) - began_s) * 1e3 / ROUNDS
                    ms[place] += took_ms if number else 0.0
                agent.grow(body, "next turn", 10**6)
        cells = (" -> ".join(f"{ms:.0f}" for ms in reversed(of)) for of in (new_ms, next_ms))
        sys.stdout.write(f"| {agent.name} | {' | '.join(cells)} |\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()

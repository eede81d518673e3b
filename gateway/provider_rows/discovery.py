"""Ask providers for their lists of models, which is free: whether they answer, and with what.

https://developers.openai.com/api/reference/resources/models/methods/list
https://platform.claude.com/docs/en/api/models/list
https://ai.google.dev/api/models#method:-models.list
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn

import orjson

from gateway.core.calls import Completion, RelayRequest
from gateway.core.errors import CredentialsRefused, GatewayError
from gateway.core.providers import (
    CHAT,
    EMBEDDINGS,
    GENERATE,
    GOOGLE,
    MESSAGES,
    RESPONSES,
    ProviderConfig,
)
from gateway.providers.presets import preset_of
from gateway.providers.registry import Providers, providers_from_settings
from gateway.providers.vendors import SANDBOX
from gateway.upstream import untrusted_json

CHECK_TIMEOUT_S: Final = 20.0
AT_ONCE_MAX: Final = 16
MODELS_MAX: Final = 50_000
_NAME_MAX_CHARS: Final = 200
_LISTS: Final = {
    CHAT: ("/models", {}),
    RESPONSES: ("/models", {}),
    EMBEDDINGS: ("/models", {}),
    MESSAGES: ("/v1/models?limit=1000", {"anthropic-version": "2023-06-01"}),
    GENERATE: ("/v1beta/models?pageSize=1000", {}),
}


@dataclass(frozen=True, slots=True)
class Discovered:
    """What a provider answered: its models, or why there are none.

    `answers` is None if it serves no list, so that nothing was asked.
    """

    provider: str
    answers: bool | None
    sentence: str
    models: tuple[str, ...] = ()


def discover(configs: Sequence[ProviderConfig]) -> list[Discovered]:
    """Ask each provider for its models, over connections of its own."""
    return asyncio.run(_discover(configs))


async def _discover(configs: Sequence[ProviderConfig]) -> list[Discovered]:
    providers = providers_from_settings()
    turns = asyncio.Semaphore(AT_ONCE_MAX)
    try:
        return await asyncio.gather(*(_found(providers, each, turns) for each in configs))
    finally:
        await providers.aclose()


async def _found(
    providers: Providers, config: ProviderConfig, turns: asyncio.Semaphore
) -> Discovered:
    if config.name == SANDBOX:
        return Discovered(config.name, answers=True, sentence="The sandbox answers locally")
    preset = preset_of(config.base_url)
    if preset is not None and not preset.lists_models:
        return Discovered(config.name, None, f"{preset.title} serves no list of models")
    try:
        async with turns, asyncio.timeout(CHECK_TIMEOUT_S):
            upstream = providers.upstream(config)
            completion = await providers.relay().whole(upstream, _request(config))
    except CredentialsRefused as exc:
        return Discovered(config.name, answers=False, sentence=f"{exc.message}: {exc.reported}")
    except GatewayError as exc:
        return Discovered(config.name, answers=False, sentence=exc.message)
    except TimeoutError:
        sentence = f"no answer within {CHECK_TIMEOUT_S:g} s"
        return Discovered(config.name, answers=False, sentence=sentence)
    models = models_in(completion.body or b"")
    if models is None:
        return Discovered(config.name, answers=False, sentence="The answer is no list of models")
    sentence = f"{config.title} answers and lists {len(models)} models"
    return Discovered(config.name, answers=True, sentence=sentence, models=models)


def _request(config: ProviderConfig) -> RelayRequest:
    # Google's own list is not below its compatible paths.
    dialects = [*([GENERATE] if config.family == GOOGLE else []), *_LISTS]
    dialect = next(each for each in dialects if each in config.dialects)
    path, headers = _LISTS[dialect]
    return RelayRequest(
        dialect=dialect,
        path=path,
        body=b"",
        output=None,
        headers={"accept": "application/json", **headers},
        whole=_unread,
        reading=_unstreamed,
        method="GET",
    )


def models_in(body: bytes) -> tuple[str, ...] | None:
    """Return the names of a list of models, at most MODELS_MAX; None if it is no such list.

    OpenAI, Anthropic and Mistral: `{"data": [{"id"}]}`, Google: `{"models": [{"name"}]}`, Together
    AI: the list alone.
    """
    try:
        answer: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    report: Mapping[str, Any] = untrusted_json.mapping(answer)
    listed = answer if isinstance(answer, list) else report.get("data", report.get("models"))
    if not isinstance(listed, list):
        return None
    entries = map(untrusted_json.mapping, listed[:MODELS_MAX])
    names = (untrusted_json.text(each.get("id") or each.get("name")) for each in entries)
    shown = (name.removeprefix("models/") for name in names if name.isprintable())
    return tuple(dict.fromkeys(name for name in shown if 0 < len(name) <= _NAME_MAX_CHARS))


def _unread(_: bytes) -> Completion:
    return Completion(model="", finish_reason=None, usage=None)


def _unstreamed(*_: object) -> NoReturn:
    raise AssertionError("A list of models is not streamed")

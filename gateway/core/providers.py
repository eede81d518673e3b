"""A provider as calls see it: where it is, which APIs it serves, and how its requests differ.

The four vendors are such configurations, which the environment provides; all others are rows of the
table `provider`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlencode

from costs.core.usage import STANDARD_PLACE
from orgs.core.frozen import frozen

NAME_MAX_CHARS: Final = 32
# The APIs that a server may have, by the names in `providers add --dialects`.
CHAT: Final = "chat"
RESPONSES: Final = "responses"
MESSAGES: Final = "messages"
GENERATE: Final = "generate"
EMBEDDINGS: Final = "embeddings"
DIALECTS: Final = (CHAT, RESPONSES, MESSAGES, GENERATE, EMBEDDINGS)
# The vendors whose rules of requests are known; a compatible server has none of them.
OPENAI: Final = "openai"
ANTHROPIC: Final = "anthropic"
GOOGLE: Final = "google"
MISTRAL: Final = "mistral"
COMPATIBLE: Final = ""
FAMILIES: Final = (OPENAI, ANTHROPIC, GOOGLE, MISTRAL, COMPATIBLE)
_OPENAI_PATHS: Final = frozenset({CHAT, RESPONSES, EMBEDDINGS})
_VERSIONS: Final = ("/v1", "/v1beta")


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeLimits:
    """How long a provider may take, in seconds.

    `connect_s` covers everything before a request: waiting for a free connection, DNS, the
    connection, the proxy, TLS. `first_byte_s` is from there to the beginning of the answer,
    `idle_s` from any byte of it to the next, comments included. `total_s` bounds all of them, so
    none need be below it.
    """

    connect_s: float = 10.0
    first_byte_s: float = 300.0
    idle_s: float = 300.0
    total_s: float = 3600.0


USUAL: Final = TimeLimits()


@dataclass(frozen=True, slots=True)
class Reach:
    """What may be reached beyond the public internet."""

    loopback: bool = False
    private: bool = False


@frozen
class ProviderConfig:
    """A provider: a vendor, or a row of an operator or an organization.

    `name` is the prefix of its models' names. It speaks the `dialects` at its `base_url`, or at
    those of `base_urls`. `family` is the vendor whose rules of requests apply. Each request has its
    `headers` and `query`, which contain the `secret`, and what the signer of its `auth` adds. A
    call that needs it is refused with the `fault`, if there is one. `reach` bounds its addresses;
    None checks none: they are the environment's.

    `names` are the provider's own names of models (Azure's deployments), `fixed_name` the one of
    all. Fields of `dropped` (`logprobs`, `messages[].name`) are not sent; the output cap is sent
    under `cap_name`, if only one is accepted. `standard_tier` is what is sent for the standard
    tier. `counts_input` says that the provider counts a request's tokens for free, and `keeps` that
    answers can be stored there.

    A row with a `weight` gets its share of the calls that name only one of its `models`, those of
    the lowest `order` first; a vendor gets its share of its own. It takes at most
    `concurrent_calls` of each process at once.

    `place` is where its host processes requests that do not ask for another place, in the price
    list's terms; `regions` are an operator's own tags, which policies name. `models` are those that
    it lists, as it spells them, by their folded names. One that `is_row` is no vendor of the
    environment.
    """

    name: str
    title: str
    is_row: bool = False
    dialects: frozenset[str] = frozenset()
    family: str = COMPATIBLE
    base_url: str = ""
    base_urls: Mapping[str, str] = field(default_factory=dict, hash=False)
    reach: Reach | None = None
    auth: str = ""
    secret: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)
    query: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)
    fault: str | None = None
    limits: TimeLimits = USUAL
    names: Mapping[str, str] = field(default_factory=dict, hash=False)
    fixed_name: str = ""
    dropped: tuple[str, ...] = ()
    cap_name: str = ""
    takes_stream_options: bool = True
    standard_tier: str = ""
    counts_input: bool = False
    keeps: bool = False
    place: str = STANDARD_PLACE
    regions: tuple[str, ...] = ()
    weight: int = 1
    order: int = 1
    models: Mapping[str, str] = field(default_factory=dict, hash=False)
    concurrent_calls: int | None = None
    context_tokens: int | None = None
    max_output_tokens: int | None = None

    def with_query(self, url: str) -> str:
        """Return a URL with the parameters of each request."""
        if not self.query:
            return url
        return f"{url}{'&' if '?' in url else '?'}{urlencode(self.query)}"

    def url_of(self, dialect: str, path: str) -> str:
        """Return the URL of a dialect's path: of OpenAI's below its version, of others with it.

        A base URL is given with its version or without it.
        """
        return self.with_query(self.base_of(dialect) + path)

    def base_of(self, dialect: str) -> str:
        """Return the URL before a dialect's paths."""
        base_url = self.base_urls.get(dialect, self.base_url).rstrip("/")
        if dialect not in _OPENAI_PATHS and dialect not in self.base_urls:
            for version in _VERSIONS:
                base_url = base_url.removesuffix(version)
        return base_url

    def sent_name(self, model_id: str, *, spelling: str | None = None) -> str:
        """Return the provider's own name of a model: as spelled, if no other is configured."""
        return self.fixed_name or self.names.get(model_id) or spelling or model_id


# Of a model that nothing serves.
NO_PROVIDER: Final = ProviderConfig(name="", title="")

"""The headers of OpenAI's own clients that reach OpenAI: Codex names its session and the form of
answers that it reads in them.

https://github.com/openai/codex/tree/main/codex-rs/codex-api/src
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

# Families of names are open, so that the next version of a client works as well.
_SENT: Final = re.compile(
    r"openai-.+|x-(?:openai|oai|codex|responsesapi)-.+"
    r"|originator|version|session-id|thread-id|conversation-id|x-client-request-id"
)
# But for what names an account or its credentials, or changes price, payer or address.
_KEPT_BACK: Final = re.compile(
    r"(?:^|-)(?:accounts?|actor|attestation|auth|authorization|billing|cookies?|credentials?|keys?"
    r"|orgs?|organizations?|payer|plan|priority|projects?|residency|secret|service|target|tier"
    r"|tokens?|users?|workspaces?)(?:-|$)"
)
_BETAS: Final = "openai-beta"
# Betas with a body field that is refused, since it runs any number of agents at the provider, and
# of WebSockets, which end here.
_BETAS_KEPT_BACK: Final = ("responses_multi_agent", "responses_websockets")
_VALUE: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,8190}[\x21-\x7e])?")


def sent_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return those of a request's headers, by lower-case name, that are sent on with it."""
    found = {
        name: value
        for name, value in headers.items()
        if _SENT.fullmatch(name) and not _KEPT_BACK.search(name) and _VALUE.fullmatch(value)
    }
    if _BETAS in found:
        betas = [beta.strip() for beta in found.pop(_BETAS).split(",")]
        if kept := [beta for beta in betas if beta.partition("=")[0] not in _BETAS_KEPT_BACK]:
            found[_BETAS] = ", ".join(kept)
    return found

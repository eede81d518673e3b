"""Any chat completion becomes a request that Anthropic accepts, or is refused with a sentence."""

from __future__ import annotations

from typing import Any, Final

from hypothesis import given
from hypothesis import strategies as st

from gateway.apis.chat.chat import ChatCompletions
from gateway.apis.families.fitting import fitted
from gateway.apis.messages.request import headers_from, request_from
from gateway.core.calls import ProviderCall
from gateway.core.errors import Refused
from gateway.core.usage_bound import OutputCap
from tests.gateway.arrivals import NAMES, read
from tests.gateway.translating import CATALOG, model_of
from tests.vendor_rules.anthropic.body import NEWEST_VERSION, faults
from tests.vendor_rules.requests import chat_requests

MODELS: Final = sorted(
    {model.id for model in CATALOG.by_name.values() if model.provider == "anthropic"}
)


def sent(fields: dict[str, Any]) -> tuple[dict[str, Any], str, ProviderCall]:
    """Return a request as Anthropic gets it, the version of its header, and the fitted call.

    The cap is the caller's, else one that is written.
    """
    model = model_of(fields["model"])
    call = read(ChatCompletions(), fields)
    output = call.usage_bound.output
    assert output is not None
    cap = OutputCap(output.max_tokens or model.default_output_tokens, is_written=True)
    outgoing = call.body.outgoing(model, cap, timeout_s=1, names=NAMES)
    assert isinstance(outgoing, ProviderCall)
    made = fitted(outgoing, model.provider, output_max=model.max_output_tokens)
    return request_from(made), headers_from(made).get("anthropic-version", NEWEST_VERSION), made


@given(fields=chat_requests(MODELS), stream=st.booleans())
def test_any_request_is_accepted_or_refused_with_sentence(
    fields: dict[str, Any], stream: bool
) -> None:
    try:
        body, version, call = sent(fields)
    except Refused as refused:
        assert refused.status == 400
        assert refused.message.strip()
        return
    assert faults(body | {"stream": stream}, version) == [], call.adjustments

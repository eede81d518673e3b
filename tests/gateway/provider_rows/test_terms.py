"""What the row of a provider may say, whichever way it comes."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.provider_rows.terms import ProviderTerms, checked
from orgs.core.errors import Invalid

USUAL: dict[str, Any] = {
    "name": "local",
    "title": "Local",
    "base_url": "https://models.example.org/v1",
    "dialects": ["chat"],
    "auth": "none",
}


def terms(**changes: Any) -> ProviderTerms:
    return ProviderTerms(**USUAL | changes)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"name": " Azure-EU.2_x "}, {"name": "azure-eu.2_x"}),
        ({"name": "a" * 32}, {"name": "a" * 32}),
        ({"base_url": "https://x.example.org/v1/"}, {"base_url": "https://x.example.org/v1"}),
        ({"auth": "Header:Api-Key"}, {"auth": "header:api-key"}),
        ({"dialects": ["messages", "chat"]}, {"dialects": ["chat", "messages"]}),
        ({"headers": {"X-Team": " 7 "}}, {"headers": {"x-team": "7"}}),
        ({"query": {"api-version": "1"}}, {"query": {"api-version": "1"}}),
        ({"models": ["GPT-4o", "gpt-4o", "org/x:1"]}, {"models": ["gpt-4o", "org/x:1"]}),
        ({"names": {"GPT-4o": "prod"}}, {"names": {"gpt-4o": "prod"}}),
        ({"regions": ["EU", "eu", "de-1"]}, {"regions": ["eu", "de-1"]}),
        ({"dropped": ["logprobs", "messages[].name", "a.b[].c"]}, {}),
        ({"total_s": 86_400, "connect_s": 0.1, "weight": 1000, "order": 0}, {}),
        (
            {"base_url": "http://127.0.0.1:1/v1", "allow_loopback": True},
            {"base_url": "http://127.0.0.1:1/v1"},
        ),
    ],
)
def test_valid_value_is_kept(given: dict[str, Any], kept: dict[str, Any]) -> None:
    found = checked(terms(**given))
    assert {name: getattr(found, name) for name in given} == given | kept


@pytest.mark.parametrize(
    ("changes", "field", "sentence"),
    [
        ({"name": ""}, "name", "1 to 32 letters"),
        ({"name": "a" * 33}, "name", "1 to 32 letters"),
        ({"name": "-a"}, "name", "begin with a letter"),
        ({"name": "a/b"}, "name", "letters, digits"),
        ({"name": "é"}, "name", "letters, digits"),
        *(
            ({"name": name}, "name", f'"{name.lower()}" is reserved')
            for name in ("OpenAI", "anthropic", "google", "mistral", "sandbox")
        ),
        *(
            ({"name": name}, "name", "is reserved")
            for name in ("gemini", "models", "vertex_ai", "mistralai")
        ),
        ({"title": ""}, "title", "1 to 100"),
        ({"title": 'a "b"'}, "title", "without quotes"),
        ({"title": "a\nb"}, "title", "printable"),
        ({"base_url": ""}, "base_url", "https://"),
        ({"base_url": "ftp://x.example.org"}, "base_url", "https://"),
        ({"base_url": "https://a:b@x.example.org"}, "base_url", "user or password"),
        ({"base_url": "https://x.example.org/v1?a=b"}, "base_url", "query"),
        ({"base_url": "https://x.example.org/" + "a" * 500}, "base_url", "at most 500"),
        *(
            ({"base_url": f"https://{host}/v1"}, "base_url", "")
            for host in (
                *("127.0.0.1", "localhost", "10.1.2.3", "169.254.169.254", "[::1]", "0x7f.1"),
                *("2130706433", "[::ffff:10.0.0.1]", "[64:ff9b::7f00:1]", "0.0.0.1", "fd00.1"),
                *("[fd00::1]", "100.100.100.200", "192.168.1.1", "metadata.localhost"),
            )
        ),
        (
            {"base_url": "https://169.254.169.254/v1", "allow_private": True},
            "base_url",
            "not a public address",
        ),
        (
            {"base_urls": {"chat": "https://10.0.0.1"}},
            "base_urls",
            "not a public address",
        ),
        ({"base_urls": {"messages": "https://x.example.org"}}, "base_urls", "not one of"),
        ({"dialects": []}, "dialects", "At least one"),
        ({"dialects": ["telnet"]}, "dialects", '"telnet" must be one of chat'),
        ({"family": "cohere"}, "family", '"cohere" must be one of openai'),
        ({"cap_name": "limit"}, "cap_name", '"limit" must be one of max_tokens'),
        ({"auth": "basic"}, "auth", "The authentication must be"),
        ({"auth": "header:host"}, "auth", "set by the gateway"),
        ({"headers": {"Authorization": "x"}}, "headers", "carries credentials"),
        ({"headers": {"x-api-key": "x"}}, "headers", "carries credentials"),
        ({"headers": {"k": "x"}, "auth": "header:k"}, "headers", "carries credentials"),
        ({"headers": {"x-amz-date": "x"}, "auth": "sigv4:r/s"}, "headers", "credentials"),
        ({"headers": {"content-type": "x"}}, "headers", "set by the gateway"),
        ({"headers": {"x": ""}}, "headers", '"x" must have 1 to 1000'),
        ({"headers": {"x": "a\r\nb: c"}}, "headers", "printable ASCII"),
        ({"headers": {"x": "a" * 1001}}, "headers", "1 to 1000"),
        ({"headers": {f"x{n}": "a" for n in range(21)}}, "headers", "At most 20 headers"),
        ({"query": {"a b": "x"}}, "query", "query parameter"),
        ({"query": {"key": "x"}, "auth": "query:key"}, "query", "has the secret"),
        ({"query": {f"x{n}": "a" for n in range(21)}}, "query", "At most 20"),
        ({"models": ["a b"]}, "models", "not a valid model name"),
        ({"models": [f"m{n}" for n in range(501)]}, "models", "At most 500 models"),
        ({"names": {"m": "a\n"}}, "names", "printable"),
        ({"fixed_name": "a" * 201}, "names", "at most 200"),
        ({"dropped": ["a b"]}, "dropped", "not the place of a field"),
        ({"dropped": ["messages[]"]}, "dropped", "cannot be dropped"),
        ({"dropped": ["max_tokens"]}, "dropped", "cannot be dropped"),
        ({"dropped": ["generationConfig.maxOutputTokens"]}, "dropped", "cannot be dropped"),
        ({"dropped": [f"f{n}" for n in ("a" * k for k in range(1, 52))]}, "dropped", "At most 50"),
        ({"regions": ["e u"]}, "regions", "1 to 32 letters"),
        ({"regions": ["a" * 33]}, "regions", "1 to 32 letters"),
        ({"regions": [f"r{n}" for n in range(21)]}, "regions", "At most 20"),
        ({"connect_s": 0.09}, "connect_s", "between 0.1 and 86400"),
        ({"total_s": float("nan")}, "total_s", "between 0.1 and 86400"),
        ({"weight": -1}, "weight", "between 0 and 1000"),
        ({"order": -1}, "order", "between 0 and 1000"),
        ({"concurrent_calls": 0}, "concurrent_calls", "between 1 and 100000"),
        ({"context_tokens": 0}, "context_tokens", "between 1"),
        ({"max_output_tokens": 10**9}, "max_output_tokens", "between 1"),
    ],
)
def test_invalid_value_is_named(changes: dict[str, Any], field: str, sentence: str) -> None:
    with pytest.raises(Invalid) as refusal:
        checked(terms(**changes))
    assert refusal.value.field == field
    assert sentence in refusal.value.message

"""The fields of requests that servers read, as their references list them."""

from __future__ import annotations

from typing import Final

# All that OpenAI and Anthropic themselves have, by their SDKs' types; to import those would take a
# process seconds.
CHAT: Final = frozenset(
    {
        *("audio", "frequency_penalty", "function_call", "functions", "logit_bias"),
        *("logprobs", "max_completion_tokens", "max_tokens", "messages", "metadata"),
        *("modalities", "model", "moderation", "n", "parallel_tool_calls", "prediction"),
        *("presence_penalty", "prompt_cache_key", "prompt_cache_options"),
        *("prompt_cache_retention", "reasoning_effort", "response_format"),
        *("safety_identifier", "seed", "service_tier", "stop", "store", "stream"),
        *("stream_options", "temperature", "tool_choice", "tools", "top_logprobs", "top_p"),
        *("user", "verbosity", "web_search_options"),
    }
)
RESPONSES: Final = frozenset(
    {
        *("access_programs", "background", "background_options", "context_management"),
        *("conversation", "image", "include", "input", "instructions", "max_output_tokens"),
        *("max_tool_calls", "metadata", "model", "moderation", "parallel_tool_calls"),
        *("previous_response_id", "prompt", "prompt_cache_key", "prompt_cache_options"),
        *("prompt_cache_retention", "reasoning", "safety_identifier", "service_tier"),
        *("store", "stream", "stream_options", "temperature", "text", "tool_choice"),
        *("tools", "top_logprobs", "top_p", "truncation", "user"),
    }
)
MESSAGES: Final = frozenset(
    {
        *("cache_control", "container", "diagnostics", "inference_geo", "max_tokens"),
        *("messages", "metadata", "model", "output_config", "service_tier", "speed"),
        *("stop_sequences", "stream", "system", "thinking", "tool_choice", "tools"),
        *("user_profile_id", "workspace_id"),
    }
)
EMBEDDINGS: Final = frozenset({"model", "input", "encoding_format", "dimensions", "user"})

# https://console.groq.com/docs/api-reference#chat-create; what "will result in a 400 error" is in
# https://console.groq.com/docs/openai
GROQ_CHAT: Final = frozenset(
    {
        *("citation_options", "compound_custom", "disable_tool_validation", "documents"),
        *("frequency_penalty", "function_call", "functions", "include_reasoning"),
        *("max_completion_tokens", "max_tokens", "messages", "model", "n", "parallel_tool_calls"),
        *("presence_penalty", "reasoning_effort", "reasoning_format", "response_format"),
        *("search_settings", "seed", "service_tier", "stop", "stream", "stream_options"),
        *("temperature", "tool_choice", "tools", "top_p", "user"),
    }
)
GROQ_TURN: Final = frozenset(
    {"role", "content", "tool_calls", "tool_call_id", "function_call", "reasoning"}
)

# https://api-docs.deepseek.com/api/create-chat-completion
DEEPSEEK_CHAT: Final = frozenset(
    {
        *("messages", "model", "frequency_penalty", "logprobs", "max_tokens", "presence_penalty"),
        *("reasoning_effort", "response_format", "stop", "stream", "stream_options", "temperature"),
        *("thinking", "tool_choice", "tools", "top_logprobs", "top_p", "user"),
    }
)

# https://docs.together.ai/reference/chat-completions-1
TOGETHER_CHAT: Final = frozenset(
    {
        *("messages", "model", "max_tokens", "stop", "temperature", "top_p", "top_k", "n"),
        *("context_length_exceeded_behavior", "repetition_penalty", "stream", "logprobs", "echo"),
        *("min_p", "presence_penalty", "frequency_penalty", "logit_bias", "seed", "safety_model"),
        *("function_call", "response_format", "tools", "tool_choice", "reasoning_effort"),
        *("compliance", "chat_template_kwargs", "reasoning", "stream_options"),
    }
)

# https://github.com/ollama/ollama/blob/main/openai/openai.go: ChatCompletionRequest
OLLAMA_CHAT: Final = frozenset(
    {
        *("model", "messages", "stream", "stream_options", "max_tokens", "seed", "stop"),
        *("temperature", "frequency_penalty", "presence_penalty", "top_p", "response_format"),
        *("tools", "reasoning", "reasoning_effort", "logprobs", "top_logprobs"),
    }
)
# https://docs.ollama.com/api/openai-compatibility#v1%2Fresponses
OLLAMA_RESPONSES: Final = frozenset(
    {
        *("model", "input", "instructions", "tools", "stream", "temperature", "top_p"),
        *("max_output_tokens", "reasoning", "text", "truncation", "include"),
    }
)
# https://docs.ollama.com/api/anthropic-compatibility
OLLAMA_MESSAGES: Final = frozenset(
    {
        *("model", "max_tokens", "messages", "system", "stream", "temperature", "top_p", "top_k"),
        *("stop_sequences", "tools", "tool_choice", "thinking", "metadata", "output_config"),
    }
)
OLLAMA_EMBEDDINGS: Final = frozenset({"model", "input", "encoding_format", "dimensions"})

# https://lmstudio.ai/docs/developer/openai-compat/chat-completions
LMSTUDIO_CHAT: Final = frozenset(
    {
        *("model", "top_p", "top_k", "messages", "temperature", "max_tokens", "stream", "stop"),
        *("presence_penalty", "frequency_penalty", "logit_bias", "repeat_penalty", "seed"),
        *("tools", "tool_choice", "response_format", "stream_options", "reasoning_effort"),
    }
)

# https://huggingface.co/docs/text-generation-inference/messages_api and the API's description
TGI_CHAT: Final = frozenset(
    {
        *("messages", "model", "frequency_penalty", "logit_bias", "logprobs", "top_logprobs"),
        *("max_tokens", "n", "presence_penalty", "stop", "stream", "stream_options", "seed"),
        *("temperature", "top_p", "tools", "tool_choice", "tool_prompt", "response_format"),
        "guideline",
    }
)

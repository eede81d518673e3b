"""AI requests from Django code: `from gateway.sdk import ai_request`. See `gateway/call/sdk.py`."""

from gateway.call.sdk import AiArguments, AiResponse, aai_request, aai_stream, ai_request, ai_stream

__all__ = ["AiArguments", "AiResponse", "aai_request", "aai_stream", "ai_request", "ai_stream"]

"""The rules of OpenAI."""

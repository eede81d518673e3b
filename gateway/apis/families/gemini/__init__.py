"""What Google's Gemini API and its models take of a translated call."""

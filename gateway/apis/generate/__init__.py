"""Google's `generateContent`, `streamGenerateContent` and `countTokens`."""

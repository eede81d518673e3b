"""How a provider's requests are authenticated: by a key, or by headers made for each request."""

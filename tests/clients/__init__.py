"""Real clients, each at the fake provider itself and through the gateway: the same call, twice."""

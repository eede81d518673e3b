"""Real clients, each calling the fake provider directly and through the gateway."""

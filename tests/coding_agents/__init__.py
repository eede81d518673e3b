"""Real coding agents, as npm installs them, through the real gateway to the fake provider."""

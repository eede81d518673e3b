"""Whether the gateway works, for signed-in people."""

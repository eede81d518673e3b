"""The client APIs: how each is read, bounded, sent on, answered and metered."""

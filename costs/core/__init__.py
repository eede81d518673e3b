"""Money, usage, pricing, holds and periods as plain Python."""

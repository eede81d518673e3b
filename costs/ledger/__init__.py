"""Reserve and settle: the only writer of holds, periods and cost events."""
